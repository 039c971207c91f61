"""Limits of the service."""

import os
from dataclasses import dataclass

from affectlens.core.errors import BadSetting

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of the service; what is beyond them is refused with a status and a reason.

    Attributes:
        waiting: photos and frames taken on at once; one more is answered 503. Each waits, at worst, for all others.
        workers: processes that analyze photos and frames; 0 is one per core.
        videos: videos analyzed at once, each in a process of its own.
        streams: open streams.
        photo_bytes, video_bytes: of one upload. held_bytes: of all uploads at once until they are answered or, videos,
            opened; for a moment memory holds twice as much.
        pixels: of a photo or of a video's frame.
        video_s, video_frames: length of a video, whether its frames are analyzed or not.
        photo_s: time for a photo or frame, in a worker; what takes longer is given up.
        line_s: the same for the next line of a video. answer_s: for all its lines, with the time that the client takes.
        stall_s: how long a client may neither send nor take a byte, and an upload may rest.
        rate: bytes a second that a client has to send or take on average, beside `stall_s`.
        connections: how many are held at once; fewer where the system does not let a process have as many files.
        idle_s: how long a stream may be without a frame.

    Raises:
        BadSetting: a value below 1 (`workers` below 0).
    """

    waiting: int = 32
    workers: int = 0
    videos: int = 1
    streams: int = 32
    photo_bytes: int = 20 * MEGABYTE
    video_bytes: int = 200 * MEGABYTE
    held_bytes: int = 512 * MEGABYTE
    pixels: int = 25_000_000
    video_s: float = 600.0
    video_frames: int = 72_000
    photo_s: float = 30.0
    line_s: float = 120.0
    answer_s: float = 3600.0
    stall_s: float = 20.0
    rate: float = 16_000.0
    connections: int = 512
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "workers" else 1e-3 if name.endswith("_s") else 1):
                raise BadSetting(f"the limit '{name}' of the service is too small: {value}")

    def patience_s(self, moved: int, waited_s: float) -> float:
        """How long to wait for a client's next bytes, in seconds, after it moved so many in `waited_s`."""
        return max(0.0, min(self.stall_s, self.stall_s + moved / self.rate - waited_s))

    @property
    def threads(self) -> int:
        """`workers`, as many as there are cores where it is 0."""
        return self.workers or os.cpu_count() or 1
