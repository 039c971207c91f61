"""Analyze photos and videos into rows, with annotated copies."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.messages import describe, one_line
from affectlens.core.progress import SILENT, Progress, track
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis, Writer
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.annotate import AnnotatedCopy, CopyFolder
from affectlens.runtime.media import is_live
from affectlens.runtime.sources import Analyses, Item, analyses_of
from affectlens.runtime.stream import VideoSettings

_LOG = logging.getLogger("affectlens")


@dataclass
class Written:
    """The number of rows written so far, and of sources from which at least one frame was read."""

    rows: int = 0
    sources: int = 0


def analyze(
    analyzer: Analyzer,
    items: Sequence[Item],
    write: Writer,
    settings: VideoSettings,
    *,
    copies: CopyFolder | None = None,
    written: Written,
    progress: Progress = SILENT,
) -> None:
    """Write the rows of all sources, one source after another, and an annotated copy of each to `copies`.

    What goes wrong with one source, frame or copy is a warning in the log. `written` counts as the rows are written, so
    that it is right after an interruption too.

    Raises:
        AffectLensError: no source could be read.
    """
    advice = ""
    with closing(analyses_of(analyzer, items, settings)) as sources:
        for analyses in track(sources, progress, "analyzing", len(items)):
            last = _analyze_one(analyses, write, copies, written, progress)
            advice = f"; {last.detail}" if last.reason == Reason.MISSING_EXTRA else advice
    if not written.sources:
        raise AffectLensError(
            f"no source could be read; the last one was '{analyses.name}': {last.detail} ({last.reason})"
        )
    if unread := len(items) - written.sources:
        _LOG.warning("%d of %d sources could not be read; see the reason in their rows%s", unread, len(items), advice)


def _analyze_one(
    analyses: Analyses, write: Writer, copies: CopyFolder | None, written: Written, progress: Progress
) -> Analysis:
    """Write one source; return its last analysis."""
    name, read, failed = analyses.name, 0, 0

    def no_copy(error: Exception) -> None:
        _LOG.warning("%s: no annotated copy: %s", name, describe(error))

    with AnnotatedCopy(copies, _stem(name), analyses.file, no_copy) as copy:
        for analysis in _timed(analyses, progress):
            read += analysis.image is not None
            failed += analysis.image is None and analysis.time_s is not None
            write(analysis)
            written.rows += max(len(analysis.faces), 1)
            copy.add(analysis)
        copy.end()
    written.sources += read > 0
    if analysis.incomplete:
        _LOG.warning("%s: the file is truncated; the part that could be decoded was analyzed", name)
    if failed:
        _LOG.warning("%s: %d %s failed; see the reason in their rows", name, failed, "frames"[: 5 + (failed > 1)])
    if read and analysis.image is None and analysis.time_s is None:
        _LOG.warning(
            "%s: %s (%s); the %d frames before that were analyzed", name, analysis.detail, analysis.reason, read
        )
    return analysis


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
    """Of the annotated copy of a source; addresses of streams and cameras become one that a file can have."""
    return Path(re.sub(r"[:/?*]+", "-", name) if is_live(name) else name).stem


@contextmanager
def open_writer(format: str, out: Path | None, analyzer: Analyzer) -> Iterator[Writer]:
    """The writer of `format`, one of `runtime/writers/`, to a file or, without one, to standard output.

    Raises:
        UnknownName: there is no such format. BadSetting: the writer cannot begin, or is not a writer. OSError: the file
            cannot be opened.
    """
    made = catalog.build("runtime.writers", format, out, analyzer.schema, options={})
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
