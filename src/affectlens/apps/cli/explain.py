"""`affectlens explain`: where a model looked, as a heat map beside each face."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import out as console
from affectlens.apps.cli.tables import worded
from affectlens.core.action_units import described
from affectlens.core.errors import AffectLensError
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.draw import draw_explanations
from affectlens.runtime.media import save_image


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(explain)


def explain(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    model: Annotated[
        str, typer.Option(help="Expression model: 'bundled', a run folder, or an ONNX file exported by affectlens.")
    ] = "bundled",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture to write.  [default: NAME-explained.png]")
    ] = None,
    detector: Annotated[str, typer.Option(help="mtcnn, whole (the image is the face) or yunet:FILE.")] = "mtcnn",
) -> None:
    """Show where the model looked: each face as it was cut, beside it with a heat map of what made its expression.

    Names what a typical face of that expression does (action units of FACS), which is not measured here.
    """
    analysis = Analyzer(model, detector, explain=True).analyze(photo)
    if not analysis.faces:
        raise AffectLensError(f"no face to explain in '{photo}': {analysis.detail} ({analysis.reason})")
    for number, face in enumerate(analysis.faces, start=1):
        method = face.explanation.method if face.explanation else ""
        console.print(f"face {number}: {worded(face)} {face.percent} %, shown by {method}")
        if typical := described(face.expression):
            console.print(f"  typical of {face.expression}: {typical}")
    target = out or photo.with_name(f"{photo.stem}-explained.png")
    save_image(target, draw_explanations(analysis.faces))
    console.print(f"picture: {target}")
