"""Frames of video files, network streams and cameras, upright, with timestamps.

Files and streams are decoded by FFmpeg's libraries in the package `av` (extra "video"), cameras by OpenCV. Containers
must be in an allow-list, and a file may not open other files: a playlist in disguise is refused.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra, NetworkRefused, UnreadableMedia
from affectlens.core.files import open_regular, regular_size
from affectlens.core.image_file import MAX_PIXELS
from affectlens.core.messages import one_line
from affectlens.core.offline import network_forbidden
from affectlens.core.reasons import Reason
from affectlens.runtime.media import CAMERA, STREAMS, display_name, file_reasons

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"
_STREAM_OPTIONS = {"rtsp_transport": "tcp", "timeout": "10000000"}
"""Over TCP; a stream that says nothing for ten seconds is lost."""
_CLOSE_TIMEOUT_S = 1.0
"""How long the end of a decoder waits for who uses it."""
_MISSING_S, _MISSING_SHARE = 1.0, 0.02
"""What may be missing at the end of a whole file, in seconds and as a share of its length."""
_CODED_BEYOND = 1 << 21
"""Pixels beyond the limit that a decoder accepts, since it counts whole blocks of up to 64 pixels."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        number: place in the video, from 0; frames that are not analyzed count.
        time_s: seconds since the first frame, by the time stamps of the file or the clock of the camera.
        image: (H, W, 3) RGB uint8, upright.
    """

    number: int
    time_s: float
    image: NDArray[np.uint8]


@runtime_checkable
class Frames(Protocol):
    """Where frames come from; iterating raises UnreadableMedia where they end before their time."""

    duration_s: float | None
    """Announced length; None where it is not known."""
    live: bool
    """They come at their own pace; who is late has missed them."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let the file or the camera go."""
        ...


def open_video(source: "str | os.PathLike[str] | BinaryIO", max_pixels: int = MAX_PIXELS) -> Frames:
    """Frames of a file (path or binary stream), "rtsp://..." or "camera:N"; of a file, at most so large.

    Raises:
        UnreadableMedia: it cannot be opened or holds no video. BadSetting: N is no number.
        MissingExtra: the extra "video" is not installed.
    """
    if isinstance(source, (str, os.PathLike)) and os.fspath(source).startswith(CAMERA):
        return Camera(os.fspath(source).removeprefix(CAMERA))
    return VideoFile(source, max_pixels)


class VideoFile:
    """A video file or network stream; iterate once.

    Attributes:
        duration_s: announced seconds, or None.
        live: it is a network stream.

    Raises:
        UnreadableMedia, MissingExtra: as `open_video`.
    """

    def __init__(self, source: "str | os.PathLike[str] | BinaryIO", max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
        self.live = name.startswith(STREAMS)
        if self.live and network_forbidden():
            raise NetworkRefused(f"offline mode: '{display_name(name)}' was refused")
        if name and not self.live:
            name = os.path.abspath(os.path.expanduser(name))  # FFmpeg takes what stands before a colon for a protocol
            _check_file(Path(name))
        self._container = open_container(name or source, self.live, max_pixels)
        self._turn = _DecoderLock(self._container.close)
        try:
            self._stream = moving_pictures(self._container)
            self._check_size(self._stream.width, self._stream.height)
            self._stream.codec_context.options = _decoder_options(max_pixels)
            self._stream.thread_type = "AUTO"
            self.duration_s = None if self.live else self._announced_s()
        except BaseException as error:
            self.close()
            if isinstance(error, Exception) and not isinstance(error, AffectLensError):
                raise UnreadableMedia(Reason.DAMAGED, one_line(error)) from error
            raise

    def _announced_s(self) -> float | None:
        """Length of the video; None where only that of the whole file is told, and it holds sound too."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        length = self._container.duration
        return length / 1_000_000 if length and len(self._container.streams) == 1 else None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that can be decoded.

        Raises:
            UnreadableMedia: after the last one, if the file ends before it should or holds none.
        """
        import av

        first_s, last_s, number, damaged = None, 0.0, 0, 0
        packets = self._container.demux(self._stream)
        while True:
            with self._turn as usable:
                if not usable:
                    return
                try:
                    packet = next(packets, None)
                except av.FFmpegError as error:
                    detail = f"the video is truncated after {number} frames ({error.strerror})"
                    raise UnreadableMedia(Reason.TRUNCATED, detail) from error
                try:
                    pictures = packet.decode() if packet is not None else None
                except av.FFmpegError as error:
                    self._check_refused(error)
                    damaged += 1
                    continue
            if pictures is None:
                break
            for picture in pictures:
                at_s = picture.time if picture.time is not None else last_s
                first_s = at_s if first_s is None else first_s
                last_s = max(at_s - first_s, last_s)
                self._check_size(picture.width, picture.height)
                yield Frame(number, last_s, _upright(picture, self._width(picture.width)))
                number += 1
        rate = self._stream.average_rate
        self._check_end(number, (first_s or 0.0) + last_s + (float(1 / rate) if rate else 0.0), damaged)

    def _width(self, coded: int) -> int:
        """Of a picture with square pixels."""
        return max(round(coded * (self._stream.sample_aspect_ratio or 1)), 1)

    def _check_size(self, width: int, height: int) -> None:
        width = max(width, self._width(width))
        if width * height > self._max_pixels:
            what = f"a frame has {width} x {height} pixels; the limit is {self._max_pixels:,}"
            raise UnreadableMedia(Reason.TOO_MANY_PIXELS, what)

    def _check_refused(self, error: Exception) -> None:
        """Raise UnreadableMedia where the decoder refused a frame for its size, which some decoders then forget."""
        context = self._stream.codec_context
        self._check_size(context.width, context.height)
        if isinstance(error, ValueError) and not context.width:
            what = f"a frame has more pixels than the limit of {self._max_pixels:,}"
            raise UnreadableMedia(Reason.TOO_MANY_PIXELS, what) from error

    def _check_end(self, frames: int, end_s: float, damaged: int) -> None:
        """Raise what is to be said of how the file ended, at `end_s` of its own time."""
        if not frames and damaged:
            raise UnreadableMedia(Reason.DAMAGED, "no frame could be decoded")
        if not frames:
            raise UnreadableMedia(Reason.NO_FRAMES, "the video has no frames")
        if self.duration_s and self.duration_s - end_s > _MISSING_S + _MISSING_SHARE * self.duration_s:
            raise UnreadableMedia(
                Reason.TRUNCATED, f"the video ends at {end_s:.1f} s, but its header states {self.duration_s:.1f} s"
            )
        if self.live:
            raise UnreadableMedia(Reason.STREAM_LOST, f"the stream ended after {end_s:.1f} s")
        if damaged:
            logger.warning("skipped %d damaged parts of the video", damaged)

    def close(self) -> None:
        """Let the file go; from any thread."""
        self._turn.end()


class Camera:
    """A camera of this machine by its number, through OpenCV.

    Raises:
        UnreadableMedia: there is no such camera. BadSetting: `number` is none.
    """

    live = True
    duration_s: float | None = None

    def __init__(self, number: str) -> None:
        if not number.isdecimal():
            raise BadSetting(f"expected the number of a camera, for example camera:0, got 'camera:{number}'")
        none = UnreadableMedia(Reason.NO_CAMERA, f"there is no camera {number}, or access to it is denied")
        try:
            self._capture = cv2.VideoCapture(int(number))
        except cv2.error as error:
            raise none from error
        if not self._capture.isOpened():
            raise none
        self._turn = _DecoderLock(self._capture.release)

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera stops giving them.

        Raises:
            UnreadableMedia: then.
        """
        start_s, number = None, 0
        while True:
            with self._turn as usable:
                if not usable:
                    return
                good, image = self._capture.read()
            if not good:
                raise UnreadableMedia(
                    Reason.STREAM_LOST, f"the camera stopped delivering pictures after {number} frames"
                )
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            now_s = time.monotonic()
            start_s = now_s if start_s is None else start_s
            yield Frame(number, now_s - start_s, rgb)
            number += 1

    def close(self) -> None:
        """Let the camera go; from any thread."""
        self._turn.end()


class _DecoderLock:
    """One thread at a time uses a decoder, and its end waits for that one; where that takes long, it ends the decoder
    itself when it is done.  A context manager: whether the decoder may still be used.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release
        self._lock, self._ended = threading.Lock(), False

    def __enter__(self) -> bool:
        self._lock.acquire()
        return not self._ended

    def __exit__(self, *_: object) -> None:
        self._finish()
        self._lock.release()

    def end(self) -> None:
        """Let the decoder go, now or when the thread that uses it is done."""
        self._ended = True
        if self._lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            self._finish()
            self._lock.release()

    def _finish(self) -> None:
        release = self._release
        if self._ended and release is not None:
            self._release = None
            release()


def require_av() -> Any:
    """The package `av`.  Raises MissingExtra."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("reading videos", "video") from error
    return av


def _check_file(path: Path) -> None:
    with file_reasons():
        if not regular_size(path):
            raise UnreadableMedia(Reason.EMPTY_FILE, "the file has no bytes")
        open_regular(path).close()


def moving_pictures(container: "InputContainer") -> "VideoStream":
    """The first video that is not a cover of the sound.  Raises UnreadableMedia: there is none, or it has an unknown
    codec.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise UnreadableMedia(Reason.UNSUPPORTED, "the codec of the video is unknown")
            return stream
    raise UnreadableMedia(Reason.NO_VIDEO, "the file has no video stream")


def _decoder_options(max_pixels: int) -> dict[str, str]:
    """What makes FFmpeg's decoders refuse a larger frame before they allocate it."""
    return {"max_pixels": str(max_pixels + _CODED_BEYOND)}


def open_container(
    source: "str | os.PathLike[str] | BinaryIO", live: bool = False, max_pixels: int = MAX_PIXELS
) -> "InputContainer":
    """What `av` opens, of the kinds that are read; FFmpeg decodes the first frames, up to so many pixels.

    Raises:
        UnreadableMedia: it cannot be opened. MissingExtra: the extra "video" is not installed.
    """
    av = require_av()
    protocols = "file" if isinstance(source, (str, os.PathLike)) else "none"
    options = _STREAM_OPTIONS if live else {"format_whitelist": _CONTAINERS, "protocol_whitelist": protocols}
    options = options | _decoder_options(max_pixels)
    try:
        container: InputContainer = av.open(source, options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if live:
            raise UnreadableMedia(Reason.STREAM_LOST, f"cannot open the stream: {error.strerror}") from error
        if _breaks_off(source):
            raise UnreadableMedia(
                Reason.TRUNCATED, "the video is truncated before its index, which is at the end"
            ) from error
        raise UnreadableMedia(Reason.NOT_A_VIDEO, f"not a readable video ({error.strerror})") from error
    return container


def _breaks_off(source: "str | os.PathLike[str] | BinaryIO") -> bool:
    """Whether a file is made of the boxes of MP4 and MOV, and the last of them is longer than what is left of it."""
    with ExitStack() as stack:
        file = stack.enter_context(open(source, "rb")) if isinstance(source, (str, os.PathLike)) else source
        end, start, first = file.seek(0, os.SEEK_END), 0, True
        while start < end:
            file.seek(start)
            head = file.read(16)
            if len(head) < 8 or (first and head[4:8] != b"ftyp"):
                return not first
            size, first = int.from_bytes(head[:4], "big"), False
            if size == 1:  # the next eight bytes say it
                size = int.from_bytes(head[8:], "big")
            if size < 8:  # to the end of the file, or damaged
                return False
            start += size
        return start > end


def _upright(picture: "VideoFrame", width: int) -> NDArray[np.uint8]:
    """As RGB of this width, turned by the display matrix, which says how many degrees against the clock."""
    image = np.asarray(picture.to_ndarray(format="rgb24", width=width, height=picture.height), dtype=np.uint8)
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
