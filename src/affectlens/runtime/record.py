"""Write pictures with their times to a video file, with the sound of another."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import AffectLensError
from affectlens.runtime.video import open_container, require_av

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
        stem: path of the file without suffix. sound_of: the video file whose sound is copied.

    Raises:
        MissingExtra: the extra "video" is not installed.
    """

    def __init__(self, stem: Path, sound_of: Path | None = None) -> None:
        self._av = require_av()
        self._sound = _Sound(sound_of) if sound_of is not None else None
        audio = self._sound.stream if self._sound else None
        suffix = ".mp4" if audio is None or audio.codec.canonical_name in _IN_MP4 else ".mkv"
        self.file = stem.with_name(f"{stem.name}{suffix}")
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
        if self._container is None:
            self._open(image.shape[1], image.shape[0])
        for packet in self._sound.until(time_s) if self._sound else ():
            packet.stream = self._audio
            self._container.mux(packet)
        frame = self._av.VideoFrame.from_ndarray(_even(image, self._video.width, self._video.height), format="rgb24")
        self._last = max(round(time_s * _TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(frame))

    def close(self) -> None:
        """Finish the file; does nothing where nothing was written, or the second time."""
        container, self._container = self._container, None
        if container is not None:
            container.mux(self._video.encode(None))
            container.close()
        if self._sound:
            self._sound.close()

    def _open(self, width: int, height: int) -> None:
        self._container = self._av.open(str(self.file), "w")
        try:
            self._video = self._container.add_stream("libx264", rate=30, options=_QUALITY)
        except self._av.FFmpegError as error:
            raise AffectLensError(f"this build of PyAV cannot write H.264: {error}") from error
        self._video.width, self._video.height = max(width - width % 2, 2), max(height - height % 2, 2)
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = self._video.time_base = Fraction(1, _TICKS)
        if self._sound and self._sound.stream is not None:
            self._audio = self._container.add_stream_from_template(self._sound.stream)


class _Sound:
    """The sound of a video file, packet by packet, with times from its first picture."""

    def __init__(self, file: Path) -> None:
        self._container = open_container(str(file))
        self.stream: AudioStream | None = next(iter(self._container.streams.audio), None)
        pictures = self._container.streams.video[0]
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


def _even(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture in the size of the file, which is even: cut or widened at right and bottom."""
    image = image[:height, :width]
    short = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.ascontiguousarray(np.pad(image, short, mode="edge"))
