"""`affectlens live`: a camera or a clip in a window, with the results for each face, and as ambient light."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import err, say, warn
from affectlens.apps.cli.options import DetectorOption, MinFace, ModelOption, Offline, PriorOption, Raw
from affectlens.apps.light.lamp import schemes
from affectlens.apps.light.palette import COLOURS, Palette
from affectlens.apps.live.session import AmbientLight, Recording, open_paced, show
from affectlens.apps.live.window import require as require_window
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.offline import forbid_network
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import CAMERA
from affectlens.runtime.recognizer import Prior
from affectlens.runtime.sources import Analyses
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.temporal import Smoothing


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(live)


def live(
    camera: Annotated[str, typer.Option(help="Camera number, rtsp://... URL, or a clip to play instead.")] = "0",
    model: ModelOption = "bundled",
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    prior: PriorOption = Prior.NATURAL,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record the annotated video (live.mp4) and its rows (faces.csv) in DIR."),
    ] = None,
    raw: Raw = False,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Learn how each person looks at rest, and treat that as neutral.")
    ] = False,
    light: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="AFFECTLENS_LIGHT",
            show_envvar=True,
            help=f"Drive a lamp from the expressions: {schemes()}... (docs/light.md).",
        ),
    ] = None,
    palette: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON file with the colours and timing of the light (docs/light.md)."),
    ] = None,
    no_window: Annotated[
        bool, typer.Option("--no-window", help="Do not open a window, for machines without a display.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Show a camera with live probabilities, valence and arousal of each face; q, Escape or Ctrl-C quits.

    Nothing is stored unless --record is given.
    """
    if offline:
        forbid_network()
    if raw and not record:
        raise BadSetting("--raw requires --record")
    if not no_window:
        require_window()
    colours = Palette.read(palette) if palette else Palette()
    with ExitStack() as stack:
        ambient = AmbientLight(colours, light, stack, err) if light or palette or no_window else None
        analyzer = Analyzer(model, detector, min_face, prior=prior)
        _warn_of_unused(colours, analyzer.spec.labels)
        name = f"{CAMERA}{camera}" if camera.isdecimal() else camera
        settings = VideoSettings(smoothing=Smoothing(baseline=baseline))
        analyses = stack.enter_context(Analyses(analyzer, lambda: open_paced(name), settings, name, video=True))
        recording = Recording(record, analyzer, stack, raw) if record and analyses.is_video else None
        shown, ended = show(analyses, not no_window, ambient, recording)
    if ended is not None and not shown:
        raise AffectLensError(f"'{name}': {ended.detail} ({ended.reason})")
    say(f"{shown} frames {'analyzed' if no_window else 'shown'}" + (f", recorded in {record}" if record else ""))
    if ended is not None:
        warn(f"{name}: {ended.detail} ({ended.reason})")


def _warn_of_unused(palette: Palette, labels: tuple[str, ...]) -> None:
    """Say which colours no answer of the model will have, which are slips of the pen."""
    for label in sorted(palette.colours.keys() - COLOURS.keys() - set(labels)):
        warn(
            f"the palette has a colour for '{label}', which the model does not have; its labels are {', '.join(labels)}"
        )
