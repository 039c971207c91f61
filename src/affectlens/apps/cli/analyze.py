"""`affectlens analyze`: photos and videos in, rows out."""

import re
import sys
from collections.abc import Generator
from contextlib import ExitStack, closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import Bars, fail, note, warn
from affectlens.apps.cli.options import (
    Baseline,
    DetectorOption,
    Every,
    Fps,
    MinFace,
    ModelOption,
    Offline,
    PriorOption,
    Smooth,
    video_settings,
)
from affectlens.apps.cli.tables import table_writer
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.offline import forbid_network
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis, columns
from affectlens.runtime.analyzer import Analyzer, Prior
from affectlens.runtime.media import ANNOTATED, expand, is_live, is_video
from affectlens.runtime.pipeline import VideoSettings, analyze_frames
from affectlens.runtime.record import AnnotatedCopy
from affectlens.runtime.video import open_video
from affectlens.runtime.writers import FORMATS, Writer, parquet_writer


class Format(StrEnum):
    """Forms of the output."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


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
    format: Annotated[Format | None, typer.Option(help="Default: by the suffix of --out, else table.")] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write each photo and video with its faces drawn into DIR, small ones enlarged."
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
    """Find the faces in photos and videos and read their expression, valence and arousal.

    One row per face (of a video: in each frame); a photo or frame without a usable face gives one row with a reason.
    Exits 1 if nothing could be read. On the terminal a video is summed up, a line per person.
    """
    if offline:
        forbid_network()
    analyzer = Analyzer(model, detector, min_face, prior=prior)
    settings = video_settings(every, fps, smooth, baseline)
    items = list(dict.fromkeys(item for source in sources for item in expand(source)))
    inputs = {item.resolve() for _, item in items if isinstance(item, Path)}
    if out and out.resolve() in inputs:
        raise BadSetting(f"--out would overwrite the source '{out}'")
    if annotate:
        annotate.mkdir(parents=True, exist_ok=True)
    read = rows = 0
    extra = ""
    with ExitStack() as stack:
        stack.callback(lambda: _say_where(rows, out, annotate))  # when the files are closed, also after Ctrl-C
        write = _open_writer(stack, analyzer, out, _format(format, out))
        drawn = stack.enter_context(_Drawn(annotate, set(inputs)))
        bars = stack.enter_context(Bars())
        for name, item in bars.over(items, len(items), "analyzing"):
            frames = 0
            with closing(_analyses(analyzer, name, item, settings, bars)) as analyses:
                for analysis in analyses:
                    frames += analysis.image is not None
                    write(analysis)
                    rows += max(len(analysis.faces), 1)
                    drawn.add(analysis, item)
            drawn.end(whole=True)
            read += frames > 0
            extra = f"; {analysis.detail}" if analysis.reason == Reason.MISSING_EXTRA else extra
            if analysis.incomplete:
                warn(f"{name}: the file breaks off; what there is of it was analyzed")
            if frames and analysis.image is None:
                warn(f"{name}: {analysis.detail} ({analysis.reason}); the {frames} frames before have their rows")
    if not read:
        raise AffectLensError(f"nothing could be read; the last was '{name}': {analysis.detail} ({analysis.reason})")
    if read < len(items):
        warn(f"{len(items) - read} of {len(items)} have no answer; their rows say why{extra}")


def _say_where(rows: int, out: Path | None, annotated: Path | None) -> None:
    if out and rows:
        note(f"{rows} {'row' if rows == 1 else 'rows'} in {out}")
    if annotated and rows:
        note(f"annotated copies in {annotated}")


def _analyses(
    analyzer: Analyzer, name: str, item: Path | str | UnreadableMedia, settings: VideoSettings, bars: Bars
) -> Generator[Analysis, None, None]:
    """The one analysis of a photo, or those of the frames of a video."""
    if isinstance(item, UnreadableMedia):
        yield analyzer.failed(name, item)
    elif not is_video(item):
        yield analyzer.analyze(item)
    else:
        try:
            frames = open_video(item)
        except MissingExtra as error:
            yield analyzer.failed(name, UnreadableMedia(Reason.MISSING_EXTRA, str(error)))
        except UnreadableMedia as error:
            yield analyzer.failed(name, error)
        else:
            analyses = analyze_frames(analyzer, frames, name, settings)
            yield from bars.along(analyses, lambda analysis: analysis.time_s, frames.duration_s, f"seconds of {name}")


def _format(wanted: Format | None, out: Path | None) -> Format:
    """The format asked for, or the one that the file name asks for."""
    if wanted:
        return wanted
    if out is None:
        return Format.TABLE
    try:
        return Format(out.suffix.lower().removeprefix("."))
    except ValueError as error:
        raise BadSetting(
            f"cannot tell a format from '{out.name}'; name it .csv, .jsonl or .parquet, or give --format"
        ) from error


def _open_writer(stack: ExitStack, analyzer: Analyzer, out: Path | None, format: Format) -> Writer:
    """The writer of `format` to the file or standard output; `stack` closes what it opens."""
    if format is Format.TABLE:
        return stack.enter_context(table_writer(out))
    if format is Format.PARQUET:
        if out is None:
            raise BadSetting("Parquet goes to a file; name it with --out")
        return stack.enter_context(parquet_writer(out, columns(analyzer.spec.labels)))
    stream = sys.stdout if out is None else stack.enter_context(out.open("w", newline="", encoding="utf-8"))
    return FORMATS[format](stream, columns(analyzer.spec.labels))


class _Drawn:
    """Annotated copies in a folder, if there is one: a JPEG of each photo, a video of each video; numbered where a name
    is taken.
    """

    def __init__(self, folder: Path | None, taken: set[Path]) -> None:
        self._folder, self._taken = folder, taken
        self._copy: AnnotatedCopy | None = None
        self._failed = ""

    def __enter__(self) -> "_Drawn":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def add(self, analysis: Analysis, item: Path | str | UnreadableMedia) -> None:
        """Draw one; what cannot be written costs a line, and the rows go on."""
        if not self._folder or analysis.source == self._failed:
            return
        try:
            if self._copy is None:
                name = re.sub(r"[:/?*]+", "-", analysis.source) if is_live(analysis.source) else analysis.source
                self._copy = AnnotatedCopy(
                    partial(self._free, Path(name).stem), item if isinstance(item, Path) else None
                )
            self._copy.add(analysis)
        except (AffectLensError, OSError) as error:
            fail(error)
            self._failed = analysis.source
            self.end()

    def end(self, whole: bool = False) -> None:
        """Finish the copy of a source; `whole` where all of it was seen."""
        copy, self._copy = self._copy, None
        if copy is None:
            return
        try:
            copy.close(whole)
        except (AffectLensError, OSError) as error:
            fail(error)

    def _free(self, stem: str, suffix: str) -> Path:
        """A file that is neither a source nor one of this run."""
        folder = (self._folder or Path()).resolve()
        file, count = folder / f"{stem}{ANNOTATED}{suffix}", 1
        while file in self._taken:
            count += 1
            file = file.with_name(f"{stem}-{count}{ANNOTATED}{suffix}")
        self._taken.add(file)
        return file
