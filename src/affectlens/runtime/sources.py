"""Sources, whatever they are, to their analyses, and the one policy on what goes wrong with them.

What fails with one source (a file that cannot be read, an extra that only it needs, a decoder that breaks off) becomes
an analysis with a `reason`, the last one of that source, and a frame whose analysis fails one in its place, after which
the video goes on; what would fail with every source alike (a bad setting, a bad model file, an unknown name, a network
that is forbidden) is raised.  `reason_of` decides which is which; `Analyzer.analyze` and `Analyzer.video`, streams, the
commands and batches all go by it.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.messages import one_line
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.arrays import ArrayFrames, ChannelOrder, TimedArrays
from affectlens.runtime.media import display_name, expand, is_video
from affectlens.runtime.pipeline import VideoSettings, analyze_frames
from affectlens.runtime.stream import OnEvent
from affectlens.runtime.video import Frames, open_video

if TYPE_CHECKING:
    from affectlens.runtime.analyzer import Analyzer

Media: TypeAlias = (
    "str | os.PathLike[str] | bytes | NDArray[np.uint8] | BinaryIO | TimedArrays | Frames | UnreadableMedia"
)
"""What a source is read from; an error stands for what cannot be."""
Item: TypeAlias = "tuple[str, Path | str | UnreadableMedia]"
"""Name of a source, and its file, its address, or why it cannot be listed."""
Sources: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Item]"
"""A file, folder, glob, "rtsp://..." or "camera:N", or several of them; also items that were listed already."""


def reason_of(error: Exception) -> tuple[Reason, str]:
    """Reason code and detail, in one line, of what went wrong with one source.

    Raises:
        AffectLensError: `error` itself, where every other source would fail in the same way.
    """
    if isinstance(error, UnreadableMedia):
        return Reason(error.reason), error.detail
    if isinstance(error, MissingExtra):
        return Reason.MISSING_EXTRA, str(error)
    if isinstance(error, AffectLensError):
        raise error
    # of OpenCV, onnxruntime or memory: one picture must not cost the results of others
    return Reason.FAILED, one_line(error)


def items_of(sources: "Sources") -> list[Item]:
    """The photos and videos behind files, folders (searched recursively), globs, streams and cameras, each once, in
    order; what cannot be listed stands in its place with its error.

    Raises:
        BadSetting: one is no path.
    """
    names: Iterable[Any] = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    items: dict[Item, None] = {}
    for name in names:
        if not isinstance(name, (str, os.PathLike, tuple)):
            raise BadSetting(f"expected paths, folders, globs, streams or cameras, got {type(name).__name__}")
        items |= dict.fromkeys([name] if isinstance(name, tuple) else expand(os.fspath(name)))
    return list(items)


class Analyses:
    """The analyses of one source: the one of a photo, or those of a video's frames. Iterate once; a context manager.

    The source is opened when this is made. What goes wrong with it is its last analysis, by the policy of this module.

    Args:
        analyzer: reads it.
        media: path, "rtsp://..." or "camera:N", bytes or array of a photo, binary stream of a video, iterable of pairs
            of an array and its time, frames that are open, an UnreadableMedia, or a callable that gives one of these.
        settings: of videos.
        name: what the results call it; default the path.
        video: whether it is one; default by what it is, and for paths by their names.
        on_event: of videos: called with each `StreamEvent`, in the thread that iterates.

    Attributes:
        name: what the results call it.
        file: path of a photo or video file; None where it comes from elsewhere.
        duration_s: announced seconds of a video, or None.

    Raises:
        AffectLensError: every source would fail alike.
    """

    def __init__(
        self,
        analyzer: "Analyzer",
        media: "Media | Callable[[], Media]",
        settings: VideoSettings | None = None,
        name: str = "",
        video: bool | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.name = name or (display_name(media) if isinstance(media, (str, os.PathLike)) else "")
        self.file = media if isinstance(media, Path) else None
        self.duration_s: float | None = None
        self._frames: Frames | None = None
        self._closed = False
        try:
            given: Any = media() if callable(media) else media
            if isinstance(given, Exception):
                raise given
            if _is_video_source(given) if video is None else video:
                self._frames = given if isinstance(given, Frames) else open_frames(given)
        except Exception as error:
            failed = analyzer.recognizer.failed(self.name, error)
            self._found = _once(lambda: failed)
            return
        if self._frames is None:
            self._found = _once(partial(analyzer.analyze, given, self.name))
        else:
            self.duration_s = self._frames.duration_s
            self._found = analyze_frames(analyzer, self._frames, self.name, settings or VideoSettings(), on_event)

    @property
    def is_video(self) -> bool:
        """Whether it is a video that could be opened: its analyses then have the number of a frame."""
        return self._frames is not None

    def __iter__(self) -> Iterator[Analysis]:
        """At least one analysis.

        Raises:
            BadSetting: they were iterated already, or closed. AffectLensError: every source would fail alike.
            Exception: what `on_event` raises.
        """
        if self._closed:
            raise BadSetting(
                f"the analyses of '{self.name}' are closed; iterate over them once, before taking the next source"
            )
        with closing(self):
            yield from self._found

    def __enter__(self) -> "Analyses":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the source go, wherever it stands."""
        self._closed = True
        self._found.close()
        if self._frames is not None:
            self._frames.close()


def analyses_of(
    analyzer: "Analyzer", sources: "Sources", settings: VideoSettings | None = None
) -> Generator[Analyses, None, None]:
    """The photos and videos behind one or several sources, one after the other.

    Args:
        analyzer: reads them.
        sources: files, folders (searched recursively), globs, "rtsp://..." or "camera:N".
        settings: of videos.

    Yields:
        The analyses of each photo or video, to be iterated before the next are taken, which lets it go; what cannot be
        listed or read has one analysis, with a `reason`.

    Raises:
        BadSetting: a source is no path. AffectLensError: every source would fail alike.
    """
    for name, media in items_of(sources):
        with Analyses(analyzer, media, settings, name) as analyses:
            yield analyses


def open_frames(media: Any, frame_rate: float | None = None, colour: str = ChannelOrder.RGB) -> Frames:
    """Frames of a video file (path or binary stream), a network stream, a camera, or an iterable of arrays.

    Raises:
        UnreadableMedia, MissingExtra: it cannot be opened. BadSetting: it is none of these, as `ArrayFrames` has it, or
            `frame_rate` or `colour` is given for what has its own.
    """
    if not isinstance(media, (str, os.PathLike)) and not hasattr(media, "read"):
        return ArrayFrames(media, frame_rate, colour)
    if frame_rate is not None or colour != ChannelOrder.RGB:
        raise BadSetting("frame_rate and colour apply only to arrays; files and cameras define their own")
    return open_video(media)


def _is_video_source(media: Any) -> bool:
    """Whether it is read as a video: paths by their names, streams and iterables of arrays."""
    if isinstance(media, (str, os.PathLike)):
        return is_video(media)
    return hasattr(media, "read") or (isinstance(media, Iterable) and not isinstance(media, (bytes, np.ndarray)))


def _once(make: Callable[[], Analysis]) -> Generator[Analysis, None, None]:
    yield make()
