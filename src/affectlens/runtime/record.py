"""Write pictures with their times to a video file, with the sound of another file."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import AffectLensError
from affectlens.runtime.video import moving_pictures, open_container, require_av

if TYPE_CHECKING:
    from av import Packet
    from av.audio import AudioStream

_TICKS = 90_000
"""Time base of the video, per second."""
_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_QUALITY = {"crf": "21", "preset": "veryfast"}


class Recorder:
    """A video file (H.264) that grows picture by picture; sound is copied as it is.

    The file is MP4, or Matroska where MP4 cannot hold the sound. A context manager, which finishes the file.

    Args:
        file: named .mp4 or .mkv, as `suffix_for` says. sound_of: the video file whose sound is copied.

    Raises:
        MissingExtra: the extra "video" is not installed. UnreadableMedia: the sound cannot be read.
    """

    def __init__(self, file: Path, sound_of: Path | None = None) -> None:
        self._av = require_av()
        self.file = file
        self._sound = _Sound(sound_of) if sound_of is not None else None
        self._container: Any = None
        self._last = -1

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, image: NDArray[np.uint8], time_s: float) -> None:
        """(H, W, 3) RGB uint8, shown from `time_s` on; the size of the first is that of all.

        Raises:
            OSError: the file cannot be written. AffectLensError: the encoder refuses the picture.
        """
        with self._one_line():
            if self._container is None:
                self._open(image.shape[1], image.shape[0])
            self._copy_sound(time_s)
            fitted = _fitted(image, self._video.width, self._video.height)
            frame = self._av.VideoFrame.from_ndarray(fitted, format="rgb24")
            self._last = max(round(time_s * _TICKS), self._last + 1)
            frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
            self._container.mux(self._video.encode(frame))

    def close(self, rest_of_sound: bool = False) -> None:
        """Finish the file, if asked to with all sound behind the last picture; does nothing where nothing was written.

        Raises:
            OSError, AffectLensError: as `write`.
        """
        container, self._container = self._container, None
        try:
            if container is not None:
                with self._one_line():
                    container.mux(self._video.encode(None))
                    if rest_of_sound:
                        self._copy_sound(math.inf, container)
        finally:
            if container is not None:
                with self._one_line():
                    container.close()
            if self._sound:
                self._sound.close()

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Convert FFmpeg errors about a picture or a file to errors of this package."""
        try:
            yield
        except (self._av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise
            raise AffectLensError(f"cannot write '{self.file}': {error}") from error

    def _open(self, width: int, height: int) -> None:
        container = self._av.open(str(self.file), "w")
        try:
            self._video = container.add_stream("libx264", rate=30, options=_QUALITY)
            self._video.width, self._video.height = max(width - width % 2, 2), max(height - height % 2, 2)
            self._video.pix_fmt = "yuv420p"
            self._video.codec_context.time_base = self._video.time_base = Fraction(1, _TICKS)
            if self._sound and self._sound.stream is not None:
                self._audio = container.add_stream_from_template(self._sound.stream)
        except (self._av.FFmpegError, ValueError):
            container.close()
            raise
        self._container = container

    def _copy_sound(self, until_s: float, container: Any = None) -> None:
        for packet in self._sound.until(until_s) if self._sound else ():
            packet.stream = self._audio
            (container or self._container).mux(packet)


def suffix_for(sound_of: Path | None) -> str:
    """MP4's, or Matroska's where MP4 cannot hold the sound of a video.  Raises UnreadableMedia, MissingExtra."""
    if sound_of is None:
        return ".mp4"
    with open_container(str(sound_of.absolute())) as container:
        audio = container.streams.audio
        return ".mp4" if not audio or audio[0].codec.canonical_name in _IN_MP4 else ".mkv"


class _Sound:
    """The sound of a video file, packet by packet, with times from its first picture."""

    def __init__(self, file: Path) -> None:
        self._container = open_container(str(file.absolute()))
        self.stream: AudioStream | None = next(iter(self._container.streams.audio), None)
        pictures = moving_pictures(self._container)
        start = Fraction((pictures.start_time or 0) * (pictures.time_base or 0))
        self._packets = self._shifted(start) if self.stream is not None else iter(())
        self._next = next(self._packets, None)

    def _shifted(self, start: Fraction) -> Iterator["Packet[Any]"]:
        for packet in self._container.demux(self.stream):
            if packet.dts is None or packet.pts is None:
                continue  # the last one is empty
            shift = round(start / Fraction(packet.time_base))
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                yield packet

    def until(self, time_s: float) -> Iterator["Packet[Any]"]:
        """Those up to a time that were not given yet."""
        while self._next is not None and (self._next.pts or 0) * Fraction(self._next.time_base) <= time_s:
            packet, self._next = self._next, next(self._packets, None)
            yield packet

    def close(self) -> None:
        self._container.close()


def _fitted(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture in the size of the file, which is even: a row or column less, or as large as it fits, on black."""
    if 0 <= image.shape[0] - height <= 1 and 0 <= image.shape[1] - width <= 1:
        return np.ascontiguousarray(image[:height, :width])
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    fitted = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    fitted[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return fitted
