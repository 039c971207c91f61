"""`affectlens explain`: where a model looked, as a heat map next to each face."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import say
from affectlens.apps.cli.options import DetectorOption, MinFace, ModelOption, Offline
from affectlens.core.action_units import described
from affectlens.core.offline import forbid_network
from affectlens.workflows.explain import explain as workflow


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(explain)


def explain(
    photo: Annotated[Path, typer.Argument(help="Photo to explain.")],
    model: ModelOption = "bundled",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture to write.  [default: NAME-explained.png in the current folder]"),
    ] = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    offline: Offline = False,
) -> None:
    """Show where the model looked: each face crop next to a heat map of the evidence for its expression.

    Red marks the strongest evidence, scaled for each face separately. Also lists the action units (FACS) that are
    typical of the expression; these are not measured on the face.
    """
    if offline:
        forbid_network()
    target = out or Path(f"{photo.stem}-explained.png")
    analysis = workflow(photo, target, model=model, detector=detector, min_face_px=min_face)
    for number, face in enumerate(analysis.faces):
        method = face.explanation.method if face.explanation else ""
        say(f"face {number}: {face.wording} {face.percent} %, method: {method}")
        if typical := described(face.expression):
            say(f"  typical of {face.expression}: {typical}")
    say(f"picture: {target}")
