"""What the service computes of an upload, in a worker process (`apps.server.workers`).

Each task is a generator that takes the worker's analyzer and the limits before its own arguments.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

from affectlens.apps.server.limits import Limits
from affectlens.apps.server.schemas import to_wire
from affectlens.core.affect import Face
from affectlens.core.errors import UnreadableMedia
from affectlens.core.image_file import decode
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.sources import Analyses
from affectlens.runtime.stream import FaceLocator, TrackedFrame, VideoSettings
from affectlens.runtime.video import Frame, Frames, open_video

Size = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """What is sent of a photo or of a frame of a video.

    Attributes:
        text: the `Result` as JSON. faces: how many are in it. frame: number of the frame; None for a photo.
    """

    text: str
    faces: int = 0
    frame: int | None = None

    @classmethod
    def of(cls, analysis: Analysis, size: Size = (0, 0), duration_s: float | None = None) -> "Line":
        """Of the analysis of a picture of (width, height) pixels, or of what ended a video."""
        return cls(to_wire(analysis, size, duration_s).model_dump_json(), len(analysis.faces), analysis.frame)


@dataclass(frozen=True, eq=False)
class ReadFrame:
    """A frame of a stream whose faces were read.

    Attributes:
        tracked: where they are. faces: what was read of them. size: (width, height) of the frame in pixels.
        incomplete: the file is truncated.
        locator: finds the faces of the next frame.
    """

    tracked: TrackedFrame
    faces: tuple[Face, ...]
    size: Size
    incomplete: bool
    locator: FaceLocator


def photo(analyzer: Analyzer, limits: Limits, data: bytes, explain: bool) -> Iterator[Line]:
    """The bytes of a photo -> its line.  Raises UnreadableMedia."""
    picture = decode(data, limits.pixels)
    image, engine = picture.rgb, analyzer.explaining() if explain else analyzer
    (faces,) = engine.recognizer.read([(image, engine.detector(image))])
    analysis = replace(engine.recognizer.analysis("", None, faces), incomplete=picture.incomplete)
    yield Line.of(analysis, (image.shape[1], image.shape[0]))


def frame(
    analyzer: Analyzer, limits: Limits, data: bytes, number: int, time_s: float, locator: FaceLocator
) -> Iterator[ReadFrame]:
    """The bytes of a stream's next picture -> its faces.  Raises UnreadableMedia."""
    picture = decode(data, limits.pixels)
    image = picture.rgb
    tracked = locator.locate(analyzer.detector, Frame(number, time_s, image))
    (faces,) = analyzer.recognizer.read([(image, tracked.found)])
    yield ReadFrame(tracked, faces, (image.shape[1], image.shape[0]), picture.incomplete, locator)


def video(analyzer: Analyzer, limits: Limits, data: bytes, settings: VideoSettings) -> Iterator[Line]:
    """The bytes of a video -> the line of each frame.

    Raises:
        UnreadableMedia: it cannot be opened, is too long, or breaks off; the frames before were yielded.
    """
    frames = open_video(io.BytesIO(data), limits.pixels)
    _check_length(frames.duration_s or 0.0, 0, limits)
    for analysis in Analyses(analyzer, _Bounded(frames, limits), settings):
        image = analysis.image
        if image is None and analysis.time_s is None and analysis.reason is not None:
            raise UnreadableMedia(analysis.reason, analysis.detail)
        yield Line.of(analysis, (0, 0) if image is None else (image.shape[1], image.shape[0]), frames.duration_s)


class _Bounded:
    """Frames up to a length; they end there with an error."""

    live = False

    def __init__(self, frames: Frames, limits: Limits) -> None:
        self._frames, self._limits = frames, limits
        self.duration_s = frames.duration_s

    def __iter__(self) -> Iterator[Frame]:
        for one in self._frames:
            _check_length(one.time_s, one.number, self._limits)
            yield one

    def close(self) -> None:
        self._frames.close()


def _check_length(time_s: float, frames: int, limits: Limits) -> None:
    if time_s > limits.video_s:
        raise UnreadableMedia(Reason.TOO_LARGE, f"the video is longer than the limit of {limits.video_s:g} s")
    if frames >= limits.video_frames:
        raise UnreadableMedia(Reason.TOO_LARGE, f"the video has more frames than the limit of {limits.video_frames:,}")
