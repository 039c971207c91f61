"""`affectlens explain`: where a model looked, as a heat map beside each face."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import out as console
from affectlens.apps.cli.options import DetectorOption, MinFace, ModelOption, Offline
from affectlens.core.action_units import described
from affectlens.core.offline import forbid_network
from affectlens.workflows.explain import explain as workflow


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(explain)


def explain(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    model: ModelOption = "bundled",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture to write.  [default: NAME-explained.png, here]")
    ] = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    offline: Offline = False,
) -> None:
    """Show where the model looked: each face as it was cut, beside it with a heat map of what made its expression.

    Red is where most of it lies, of each face for itself. Names what a typical face of that expression does (action
    units of FACS), which is not measured here.
    """
    if offline:
        forbid_network()
    target = out or Path(f"{photo.stem}-explained.png")
    analysis = workflow(photo, target, model=model, detector=detector, min_face_px=min_face)
    for number, face in enumerate(analysis.faces):
        method = face.explanation.method if face.explanation else ""
        console.print(f"face {number}: {face.wording} {face.percent} %, shown by {method}")
        if typical := described(face.expression):
            console.print(f"  typical of {face.expression}: {typical}")
    console.print(f"picture: {target}")
