"""From sources of any kind to their analyses; the one error policy.

An error that concerns one source (an unreadable file, a missing extra that only it needs, a decoder that fails) becomes
an analysis with a `reason`, the last one of that source. A frame whose analysis fails gets one in its place, and the
video continues. An error that would affect every source (a bad setting, a bad model file, an unknown name, forbidden
network use) is raised. `reason_of` decides which is which, for `Analyzer.analyze` and `Analyzer.video`, streams, the
commands and batches.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.arrays import ArrayFrames, ChannelOrder, TimedArrays
from affectlens.runtime.media import display_name, expand, is_video
from affectlens.runtime.pipeline import analyze_frames
from affectlens.runtime.protocol import FaceAnalyzer
from affectlens.runtime.stream import OnEvent, VideoSettings
from affectlens.runtime.video import Frames, open_video

Media: TypeAlias = (
    "str | os.PathLike[str] | bytes | NDArray[np.uint8] | BinaryIO | TimedArrays | Frames | UnreadableMedia"
)
"""What a source is read from; an error stands for what cannot be."""
Item: TypeAlias = "tuple[str, Path | str | UnreadableMedia]"
"""Name of a source, and its file, its address, or why it cannot be listed."""
Sources: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Item]"
"""A file, folder, glob, "rtsp://..." or "camera:N", or several of them; also items that were listed already."""


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
    """Iterator over the analyses of one source: one for a photo, one per frame for a video. Iterate once; a context
    manager.

    The source is opened on construction. An error that concerns the source becomes its last analysis, by the error
    policy of this module.

    Args:
        analyzer: analyzer to use.
        media: path, "rtsp://..." or "camera:N", bytes or array of a photo, binary stream of a video, iterable of pairs
            of an array and its time, opened frames, an UnreadableMedia, or a callable that returns one of these.
        settings: settings for videos.
        name: name of the source in the results; by default the path.
        video: whether the source is a video; by default inferred from its type, and for paths from their names.
        on_event: for videos, called with each `StreamEvent`, in the iterating thread.

    Attributes:
        name: name of the source in the results.
        file: path of a photo or video file; None for other sources.
        duration_s: length of a video in seconds according to its header, or None.

    Raises:
        AffectLensError: an error that would affect every source.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
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
        """Whether the source is a video that could be opened; its analyses then have frame numbers."""
        return self._frames is not None

    def __iter__(self) -> Iterator[Analysis]:
        """At least one analysis.

        Raises:
            BadSetting: they were iterated already, or closed. AffectLensError: an error that would affect every source.
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
        """Close the source, at any point."""
        self._closed = True
        self._found.close()
        if self._frames is not None:
            self._frames.close()


@dataclass
class Tally:
    """What became of one source, from its analyses as they come.

    Attributes:
        frames: photos or frames that could be read. failed: frames whose analysis failed. faces: faces in all of them.
        last: the latest analysis.
    """

    frames: int = 0
    failed: int = 0
    faces: int = 0
    last: Analysis | None = None

    def add(self, analysis: Analysis) -> None:
        """Count one analysis."""
        self.frames += analysis.image is not None
        self.failed += analysis.image is None and analysis.time_s is not None
        self.faces += len(analysis.faces)
        self.last = analysis

    @property
    def error(self) -> Analysis | None:
        """The analysis with the error that ended the source, or None."""
        last = self.last
        return last if last is not None and last.image is None and last.time_s is None else None

    def warnings(self) -> list[str]:
        """What a user should know of a source although it could be read."""
        found = []
        if self.last is not None and self.last.incomplete:
            found.append("the file is truncated; the part that could be decoded was analyzed")
        if self.failed and self.frames:
            frames = "frame" if self.failed == 1 else "frames"
            found.append(f"{self.failed} {frames} failed; see the reason in their rows")
        return found


def analyses_of(
    analyzer: FaceAnalyzer, sources: "Sources", settings: VideoSettings | None = None
) -> Generator[Analyses, None, None]:
    """Analyze all photos and videos in one or several sources, one after another.

    Args:
        analyzer: reads them.
        sources: files, folders (searched recursively), globs, "rtsp://..." or "camera:N".
        settings: settings for videos.

    Yields:
        The analyses of each photo or video. Iterate over them before taking the next, which closes them. A source that
            cannot be listed or read has one analysis with a `reason`.

    Raises:
        BadSetting: a source is not a path. AffectLensError: an error that would affect every source.
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
