"""`affectlens analyze`: from photos and videos to rows."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, note
from affectlens.apps.cli.options import (
    Baseline,
    DetectorOption,
    Every,
    Fps,
    MinFace,
    ModelOption,
    Offline,
    PriorOption,
    Raw,
    Smooth,
    video_settings,
)
from affectlens.apps.cli.tables import table_writer
from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.core.files import real_path
from affectlens.core.offline import forbid_network
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.recognizer import Prior
from affectlens.runtime.sources import items_of
from affectlens.workflows.analyze import Written, open_writer
from affectlens.workflows.analyze import analyze as workflow

TABLE = "table"
CSV = "csv"
FORMATS = (TABLE, *catalog.available("runtime.writers"))
"""What `--format` takes: a table for people, and the files of `runtime/writers/`, each named by its suffix."""


def _known_format(name: str) -> str:
    """One of `FORMATS`, in any case.  Raises BadParameter."""
    if name.lower() not in FORMATS:
        raise typer.BadParameter(catalog.unknown("format", name, list(FORMATS)))
    return name.lower()


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(analyze)


def analyze(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE", help="Photos, videos, folders (searched recursively), globs, camera:0 or rtsp://..."
        ),
    ],
    model: ModelOption = "bundled",
    out: Annotated[Path | None, typer.Option(help="Write the rows to this file instead of the terminal.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            parser=_known_format,
            metavar=f"[{'|'.join(FORMATS)}]",
            help="Output format.  [default: from the suffix of --out, otherwise table]",
        ),
    ] = None,
    raw: Raw = False,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write an annotated copy of each photo and video into DIR; small pictures are enlarged."
        ),
    ] = None,
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    prior: PriorOption = Prior.NATURAL,
    every: Every = 1,
    fps: Fps = None,
    smooth: Smooth = True,
    baseline: Baseline = False,
    offline: Offline = False,
) -> None:
    """Analyze the faces in photos and videos: expression, valence and arousal.

    Writes one row per face (for videos, per face and frame); a photo or frame without a usable face has one row with a
    reason code. On the terminal, a video is summarised with one line per person. Exits with 1 if nothing could be read.
    """
    if offline:
        forbid_network()
    analyzer = Analyzer(model, detector, min_face, prior=prior)
    settings = video_settings(every, fps, smooth, baseline)
    items = items_of(sources)
    inputs = {real_path(item) for _, item in items if isinstance(item, Path)}
    if out and real_path(out) in inputs:
        raise BadSetting(f"--out would overwrite the source '{out}'; choose another file")
    written = Written()
    chosen = _format(format, out)
    if raw and chosen != CSV:
        raise BadSetting(f"--raw requires --format {CSV}, got {chosen}")
    options = {"raw": True} if raw else {}
    with ExitStack() as stack:
        stack.callback(lambda: _say_where(written, out, annotate))  # when the files are closed, also after Ctrl-C
        writer = table_writer(out) if chosen == TABLE else open_writer(chosen, out, analyzer, options)
        write = stack.enter_context(writer)
        workflow(items, write, analyzer, settings=settings, annotate=annotate, written=written, progress=TERMINAL)


def _say_where(written: Written, out: Path | None, annotated: Path | None) -> None:
    if out and written.rows:
        note(f"wrote {written.rows} {'row' if written.rows == 1 else 'rows'} to {out}")
    if written.copies:
        note(f"wrote {written.copies} annotated {'copy' if written.copies == 1 else 'copies'} to {annotated}")


def _format(wanted: str | None, out: Path | None) -> str:
    """The format asked for, or the one that the file name asks for.  Raises BadSetting."""
    if wanted or out is None:
        return wanted or TABLE
    suffix = out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        files = [f".{name}" for name in FORMATS if name != TABLE]
        known = f"{', '.join(files[:-1])} or {files[-1]}"
        raise BadSetting(
            f"cannot infer a format from the file name '{out.name}'; use the suffix {known}, or set --format"
        )
    return suffix
