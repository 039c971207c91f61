"""`affectlens analyze`: from photos and videos to rows."""

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, closing
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
from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.messages import one_line
from affectlens.core.offline import forbid_network
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis, Writer
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.annotate import AnnotatedCopy, FreeNames
from affectlens.runtime.media import is_live
from affectlens.runtime.recognizer import Prior
from affectlens.runtime.sources import Analyses, analyses_of, items_of

TABLE = "table"
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
    inputs = {item.resolve() for _, item in items if isinstance(item, Path)}
    if out and out.resolve() in inputs:
        raise BadSetting(f"--out would overwrite the source '{out}'; choose another file")
    if annotate:
        annotate.mkdir(parents=True, exist_ok=True)
    copies = FreeNames(annotate, inputs) if annotate else None
    read = rows = 0
    extra = ""
    with ExitStack() as stack:
        stack.callback(lambda: _say_where(rows, out, annotate))  # when the files are closed, also after Ctrl-C
        write = _open_writer(stack, analyzer, out, _format(format, out))
        bars = stack.enter_context(Bars())
        listed = stack.enter_context(closing(analyses_of(analyzer, items, settings)))
        for analyses in bars.over(listed, len(items), "analyzing"):
            name, frames, failed = analyses.name, 0, 0
            with AnnotatedCopy(copies, _stem(name), analyses.file, fail) as copy:
                for analysis in _under_a_bar(bars, analyses):
                    frames += analysis.image is not None
                    failed += analysis.image is None and analysis.time_s is not None
                    write(analysis)
                    rows += max(len(analysis.faces), 1)
                    copy.add(analysis)
                copy.end()
            read += frames > 0
            extra = f"; {analysis.detail}" if analysis.reason == Reason.MISSING_EXTRA else extra
            if analysis.incomplete:
                warn(f"{name}: the file is truncated; the part that could be decoded was analyzed")
            if failed:
                warn(f"{name}: {failed} {'frame' if failed == 1 else 'frames'} failed; see the reason in their rows")
            if frames and analysis.image is None and analysis.time_s is None:
                warn(f"{name}: {analysis.detail} ({analysis.reason}); the {frames} frames before that were analyzed")
    if not read:
        raise AffectLensError(
            f"no source could be read; the last one was '{name}': {analysis.detail} ({analysis.reason})"
        )
    if read < len(items):
        warn(f"{len(items) - read} of {len(items)} sources could not be read; see the reason in their rows{extra}")


def _say_where(rows: int, out: Path | None, annotated: Path | None) -> None:
    if out and rows:
        note(f"wrote {rows} {'row' if rows == 1 else 'rows'} to {out}")
    if annotated and rows:
        note(f"wrote annotated copies to {annotated}")


def _under_a_bar(bars: Bars, analyses: Analyses) -> Iterable[Analysis]:
    """The analyses of a video under a bar of its own."""
    if not analyses.is_video:
        return analyses
    return bars.along(analyses, lambda one: one.time_s, analyses.duration_s, f"seconds of {analyses.name}")


def _stem(name: str) -> str:
    """Of the annotated copy of a source; addresses of streams and cameras become one that a file can have."""
    return Path(re.sub(r"[:/?*]+", "-", name) if is_live(name) else name).stem


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


def _open_writer(stack: ExitStack, analyzer: Analyzer, out: Path | None, format: str) -> Writer:
    """The writer of `format` to the file or standard output; `stack` closes what it opens."""
    if format == TABLE:
        return stack.enter_context(table_writer(out))
    made = catalog.build("runtime.writers", format, out, analyzer.schema, options={})
    if not isinstance(made, AbstractContextManager):
        raise BadSetting(f"build of the writer '{format}' must return a context manager, got {type(made).__name__}")
    try:
        write: Writer = stack.enter_context(made)
    except (AffectLensError, OSError):
        raise
    except Exception as error:  # of code from elsewhere
        raise BadSetting(f"the writer '{format}' cannot begin: {one_line(error)}") from error
    if not callable(write):
        raise BadSetting(f"the writer '{format}' must yield a function of an Analysis, got {type(write).__name__}")
    return write
