"""Frames of video files, network streams and cameras, upright, with their times.

Files and streams are decoded by FFmpeg's libraries in the package `av` (extra "video"), cameras by OpenCV. Containers
are those of an allow-list, and a file may open no other: a playlist in disguise is refused.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.media import CAMERA, MAX_PIXELS, STREAMS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

logger = logging.getLogger(__name__)

_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg"
_STREAM_OPTIONS = {"rtsp_transport": "tcp"}
_PATIENCE_S = 10.0
_MISSING_S, _MISSING_SHARE = 1.0, 0.02
"""What may be missing at the end of a whole file, in seconds and as a share of its length."""


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


def open_video(source: "str | os.PathLike[str] | BinaryIO") -> Frames:
    """Frames of a file (path or binary stream), "rtsp://..." or "camera:N".

    Raises:
        UnreadableMedia: it cannot be opened or holds no video. BadSetting: N is no number.
        MissingExtra: the extra "video" is not installed.
    """
    if isinstance(source, (str, os.PathLike)) and os.fspath(source).startswith(CAMERA):
        return Camera(os.fspath(source).removeprefix(CAMERA))
    return VideoFile(source)


class VideoFile:
    """A video file or network stream; iterate once.

    Attributes:
        duration_s: announced seconds, or None.
        live: it is a network stream.

    Raises:
        UnreadableMedia, MissingExtra: as `open_video`.
    """

    def __init__(self, source: "str | os.PathLike[str] | BinaryIO") -> None:
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
        self.live = name.startswith(STREAMS)
        if name and not self.live:
            _check_file(Path(os.path.expanduser(name)))
            name = os.path.expanduser(name)
        self._lock, self._closed = threading.Lock(), False
        self._container = open_container(name or source, self.live)
        if not self._container.streams.video:
            self.close()
            raise UnreadableMedia(Reason.NO_VIDEO, "the file has no video in it, only other streams")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        if self._stream.width * self._stream.height > MAX_PIXELS:
            size = f"{self._stream.width} x {self._stream.height}"
            self.close()
            raise UnreadableMedia(Reason.TOO_MANY_PIXELS, f"{size} pixels a frame, at most {MAX_PIXELS:,} are read")
        length = self._container.duration
        self.duration_s = length / 1_000_000 if length and not self.live else None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that can be decoded.

        Raises:
            UnreadableMedia: after the last one, if the file ends before it should or holds none.
        """
        import av

        first_s, last_s, number, damaged = None, 0.0, 0, 0
        packets = self._container.demux(self._stream)
        while True:
            with self._lock:  # who closes the file from another thread waits until the decoder stands still
                if self._closed:
                    return
                try:
                    packet = next(packets, None)
                except av.FFmpegError as error:
                    detail = f"it breaks off after {number} frames ({error.strerror})"
                    raise UnreadableMedia(Reason.TRUNCATED, detail) from error
                try:
                    pictures = packet.decode() if packet is not None else None
                except av.FFmpegError:
                    damaged += 1
                    continue
            if pictures is None:
                break
            for picture in pictures:
                at_s = picture.time if picture.time is not None else last_s
                first_s = at_s if first_s is None else first_s
                last_s = max(at_s - first_s, last_s)
                yield Frame(number, last_s, _upright(picture))
                number += 1
        self._check_end(number, (first_s or 0.0) + last_s, damaged)

    def _check_end(self, frames: int, last_s: float, damaged: int) -> None:
        if not frames and damaged:
            raise UnreadableMedia(Reason.DAMAGED, "no frame could be decoded")
        if not frames:
            raise UnreadableMedia(Reason.NO_FRAMES, "the video has no frames")
        if self.duration_s and self.duration_s - last_s > _MISSING_S + _MISSING_SHARE * self.duration_s:
            raise UnreadableMedia(Reason.TRUNCATED, f"it ends at {last_s:.1f} s, announced are {self.duration_s:.1f} s")
        if self.live:
            raise UnreadableMedia(Reason.STREAM_LOST, f"the stream ended after {last_s:.1f} s")
        if damaged:
            logger.warning("%d damaged pieces of the video were left out", damaged)

    def close(self) -> None:
        """Let the file go; from any thread."""
        with self._lock:
            self._closed = True
            self._container.close()


class Camera:
    """A camera of this machine by its number, through OpenCV.

    Raises:
        UnreadableMedia: there is no such camera. BadSetting: `number` is none.
    """

    live = True
    duration_s: float | None = None

    def __init__(self, number: str) -> None:
        if not number.isdecimal():
            raise BadSetting(f"a camera is named by its number, for example camera:0; got 'camera:{number}'")
        self._capture = cv2.VideoCapture(int(number))
        if not self._capture.isOpened():
            raise UnreadableMedia(Reason.NO_CAMERA, f"there is no camera {number}, or it may not be used")

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera stops giving them.

        Raises:
            UnreadableMedia: then.
        """
        start_s, number = time.monotonic(), 0
        while True:
            good, image = self._capture.read()
            if not good:
                raise UnreadableMedia(Reason.STREAM_LOST, f"the camera gave no more pictures after {number} frames")
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            yield Frame(number, time.monotonic() - start_s, rgb)
            number += 1

    def close(self) -> None:
        """Let the camera go."""
        self._capture.release()


def require_av() -> Any:
    """The package `av`.  Raises MissingExtra."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("reading videos", "video") from error
    return av


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UnreadableMedia(Reason.NOT_A_FILE, "a folder")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise UnreadableMedia(Reason.EMPTY_FILE, "the file has no bytes")
    except FileNotFoundError as error:
        raise UnreadableMedia(Reason.MISSING, "no such file or folder") from error
    except PermissionError as error:
        raise UnreadableMedia(Reason.NO_PERMISSION, "the file may not be read") from error


def open_container(source: "str | os.PathLike[str] | BinaryIO", live: bool = False) -> "InputContainer":
    """What `av` opens, of the kinds that are read.

    Raises:
        UnreadableMedia: it cannot be opened. MissingExtra: the extra "video" is not installed.
    """
    av = require_av()
    options = _STREAM_OPTIONS if live else {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        container: InputContainer = av.open(source, options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if live:
            raise UnreadableMedia(Reason.STREAM_LOST, f"the stream cannot be opened: {error.strerror}") from error
        raise UnreadableMedia(Reason.NOT_A_VIDEO, f"not a video that can be read ({error.strerror})") from error
    return container


def _upright(picture: "VideoFrame") -> NDArray[np.uint8]:
    """As RGB, turned by the display matrix, which says how many degrees against the clock."""
    image = np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
