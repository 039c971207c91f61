"""Analyze photos and videos into rows, with annotated copies."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.files import real_path
from affectlens.core.messages import describe, one_line
from affectlens.core.progress import SILENT, Progress, track
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis, Writer
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.annotate import AnnotatedCopy, CopyFolder, UniqueNames
from affectlens.runtime.media import is_live
from affectlens.runtime.sources import Analyses, Sources, Tally, analyses_of, items_of
from affectlens.runtime.stream import VideoSettings

_LOG = logging.getLogger("affectlens")


@dataclass
class Written:
    """What has been written so far: `rows`, annotated `copies`, and `sources` of which at least one frame was read."""

    rows: int = 0
    copies: int = 0
    sources: int = 0


def analyze(
    sources: Sources,
    write: Writer,
    analyzer: Analyzer,
    *,
    settings: VideoSettings | None = None,
    annotate: str | Path | None = None,
    written: Written | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Write the rows of all sources, one source after another, and annotated copies.

    What goes wrong with one source, frame or copy is a row with a reason or a warning in the log.

    Args:
        sources: files, folders (searched recursively), globs, "rtsp://..." or "camera:N".
        write: receives every analysis, see `open_writer`.
        analyzer: analyzer to use.
        settings: settings for videos.
        annotate: folder for an annotated copy of each photo and video, made if need be; by default none are written.
        written: counts up as rows are written, so that it is right after an interruption too.
        progress: receives the progress.

    Returns:
        What was written.

    Raises:
        AffectLensError: there is no source, or none could be read. OSError: what `write` raises.
    """
    items, written = items_of(sources), written or Written()
    inputs = {real_path(media) for _, media in items if isinstance(media, Path)}
    copies = None
    if annotate is not None:
        folder = Path(annotate).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        copies = UniqueNames(folder, inputs)
    tally, read, advice = Tally(), 0, ""
    with closing(analyses_of(analyzer, items, settings)) as found:
        for analyses in track(found, progress, "analyzing", len(items)):
            tally = _analyze_one(analyses, write, copies, written, progress)
            read += tally.frames > 0
            if tally.error and tally.error.reason == Reason.MISSING_EXTRA:
                advice = f"; {tally.error.detail}"
    if not read:
        last = tally.last
        why = f"the last one was '{last.source}': {last.detail} ({last.reason})" if last else "there are none"
        raise AffectLensError(f"no source could be read; {why}")
    if unread := len(items) - read:
        _LOG.warning("%d of %d sources could not be read; see the reason in their rows%s", unread, len(items), advice)
    return written


def _analyze_one(
    analyses: Analyses, write: Writer, copies: CopyFolder | None, written: Written, progress: Progress
) -> Tally:
    """Write one source."""
    name, tally = analyses.name, Tally()

    def copy_failed(error: Exception) -> None:
        _LOG.warning("%s: the annotated copy is missing or incomplete: %s", name, describe(error))

    with AnnotatedCopy(copies, _stem(name), analyses.file, copy_failed) as copy:
        for analysis in _timed(analyses, progress):
            write(analysis)
            tally.add(analysis)
            written.rows += max(len(analysis.faces), 1)
            copy.add(analysis)
        copy.end()
    written.copies += copy.is_whole
    written.sources += tally.frames > 0
    for text in tally.warnings():
        _LOG.warning("%s: %s", name, text)
    if tally.frames and (error := tally.error):
        before = "one frame before that was" if tally.frames == 1 else f"the {tally.frames} frames before that were"
        _LOG.warning("%s: %s (%s); %s analyzed", name, error.detail, error.reason, before)
    return tally


def _timed(analyses: Analyses, progress: Progress) -> Iterator[Analysis]:
    """The analyses of one source; those of a video as a task whose steps are its seconds."""
    if not analyses.is_video:
        yield from analyses
        return
    with progress.task(f"seconds of {analyses.name}", analyses.duration_s) as advance:
        before_s = 0.0
        for analysis in analyses:
            yield analysis
            if analysis.time_s is not None:
                advance(analysis.time_s - before_s)
                before_s = analysis.time_s


def _stem(name: str) -> str:
    """File stem for the annotated copy of a source, also where that is the address of a stream or a camera."""
    return Path(re.sub(r"[:/?*]+", "-", name) if is_live(name) else name).stem


@contextmanager
def open_writer(
    format: str, out: Path | None, analyzer: Analyzer, options: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Writer]:
    """The writer of `format`, one of `runtime/writers/`, to a file or, without one, to standard output, with its
    `options`, `raw` for example.

    Raises:
        UnknownName: there is no such format. BadSetting: there is no such option, the writer cannot begin, or is not a
            writer. OSError: the file cannot be opened.
    """
    made = catalog.build("runtime.writers", format, out, analyzer.schema, options=options)
    if not isinstance(made, AbstractContextManager):
        raise BadSetting(f"build of the writer '{format}' must return a context manager, got {type(made).__name__}")
    with ExitStack() as stack:
        try:
            write: Writer = stack.enter_context(made)
        except (AffectLensError, OSError):
            raise
        except Exception as error:  # of code from elsewhere
            raise BadSetting(f"the writer '{format}' cannot begin: {one_line(error)}") from error
        if not callable(write):
            raise BadSetting(f"the writer '{format}' must yield a function of an Analysis, got {type(write).__name__}")
        yield write
