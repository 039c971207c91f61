"""`affectlens demo`: analysis of the bundled portrait."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import say
from affectlens.apps.cli.tables import table_writer
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import PORTRAIT


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(demo)


def demo(
    annotate: Annotated[Path, typer.Option(metavar="FILE", help="File for the annotated portrait.")] = Path(
        "affectlens-demo.jpg"
    ),
) -> None:
    """Analyze the bundled portrait (NASA, public domain) and write an annotated copy."""
    analysis = replace(Analyzer().analyze(PORTRAIT), source=PORTRAIT.name)
    with table_writer(None) as write:
        write(analysis)
    for face in analysis.faces:
        for label, probability in face.probabilities.items():
            say(f"  {label:<10} {int(100 * probability):>3} %  {'█' * round(40 * probability)}".rstrip())
    analysis.save(annotate)
    say(f"annotated picture: {annotate}")
