"""How much of a JPEG without an end marker is present.

libjpeg fills the missing part with middle gray, which can also occur in a photo. The file is therefore decoded once
with an end marker added at its end, and once with additional bits before it. If data are missing, the pictures differ
from the first missing block on; if only the end marker is missing, the additional bits are skipped and the pictures are
equal.

A progressive JPEG sends every block several times: first roughly, in parts (scans), then bit by bit. A block counts as
decoded once all of its coefficients have arrived at least roughly. docs/limits.md describes the effect of the missing
bits.

Source: ITU-T T.81, annexes B (markers), F (sequential) and G (progressive).
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARKER = re.compile(rb"\xff+[^\0\xff]")
_END_OF_SCAN = re.compile(rb"\xff+[^\0\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
_FRAMES = tuple(code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC))
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_NOTHING = 255
"""Stands for the lowest known bit of a coefficient of which nothing has arrived."""

_FILLS = (b"\x55" * 64, b"\xaa" * 64)
"""What stands for missing bits; each has the opposite of the other's, and no byte 255, which would begin a marker."""


def has_end(data: bytes, scan: int) -> bool:
    """Whether an end marker follows the first scan header, which ends at the byte `scan`: libjpeg fails without one."""
    return data.rfind(b"\xff\xd9", scan) >= 0


@dataclass(frozen=True, eq=False)
class Scans:
    """What of a JPEG has come.

    Attributes:
        data: the file as far as the last scan goes.
        restarts: restart markers in the last scan.
        before, now: (components, 64) the lowest known bit of each coefficient, before the last scan and with it.
    """

    data: bytes
    restarts: int
    before: NDArray[np.uint8]
    now: NDArray[np.uint8]

    def ended(self) -> bytes:
        """The file with its end marker."""
        return self.data + b"\xff\xd9"

    def continued(self) -> Iterator[bytes]:
        """The file with other bits before its end marker, in two ways: by chance one may give what is missing anyway.

        Where the file breaks off right before a restart marker, decoders skip everything up to it, so it comes too.
        """
        restart = bytes([0xFF, 0xD0 + self.restarts % 8])
        for fill in _FILLS:
            yield self.data + fill + restart + fill + b"\xff\xd9"

    def share(self, picture: Any, others: Iterable[Any]) -> tuple[float, bool]:
        """Share of the decoded pixels, and whether anything is missing.

        `picture` is the Pillow image of the file that `ended` gives, `others` those that `continued` does.
        """
        from PIL import ImageChops

        if (self.now == _NOTHING).any():
            return 0.0, True
        differences = (ImageChops.difference(picture, other) for other in others)
        difference, box = next(((image, box) for image in differences if (box := image.getbbox())), (None, None))
        if difference is None or box is None or (self.before != _NOTHING).all():
            return 1.0, difference is not None or bool(self.now.any())
        width, height = picture.size
        block = 8 * max(layer[2] for layer in picture.layer)
        top = (box[1] + 1) // block * block  # colour is smoothed into the row above a block
        bottom = min(top + block, height)
        inside = difference.crop((0, top, width, bottom)).getbbox()
        known = top * width + (bottom - top) * (inside[0] if inside else 0)
        return known / (width * height), True


def count_scans(data: bytes) -> int:
    """How many scans a JPEG has before its end marker."""
    return sum(code == _START_OF_SCAN for code, *_ in _segments(data))


def read_scans(data: bytes) -> Scans | None:
    """The scans of a JPEG; None where not even the first has begun."""
    found: Scans | None = None
    now, components, progressive = np.empty((0, 64), dtype=np.uint8), b"", False
    for code, content, begin, end in _segments(data):
        if code in _FRAMES:
            components, progressive = content[6::3], code in _PROGRESSIVE
            now = np.full((len(components), 64), _NOTHING, dtype=np.uint8)
        elif code == _START_OF_SCAN:
            body = data[begin:end].rstrip(b"\xff")
            before, now = now, _with_scan(now, components, content, progressive)
            found = Scans(data[:begin] + body, len(_RESTART.findall(body)), before, now)
    return found


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Marker and content of each segment before the end marker, and where the scan begins and ends that follows it."""
    at = 2
    while marker := _MARKER.search(data, at):
        at, code = marker.end(), data[marker.end() - 1]
        if code == _END_OF_IMAGE:
            return
        if code in _WITHOUT_LENGTH:
            continue
        begin = at + struct.unpack(">H", data[at : at + 2].rjust(2, b"\xff"))[0]
        if begin > len(data):
            return
        end = begin
        if code == _START_OF_SCAN:
            following = _END_OF_SCAN.search(data, begin)
            end = following.start() if following else len(data)
        yield code, data[at + 2 : begin], begin, end
        at = end


def _with_scan(known: NDArray[np.uint8], components: bytes, header: bytes, progressive: bool) -> NDArray[np.uint8]:
    """What is known with the scan of this header (without marker and length)."""
    known = known.copy()
    count = header[0] if header else 0
    first, last, bits = header[1 + 2 * count : 4 + 2 * count].ljust(3, b"\0") if progressive else (0, 63, 0)
    for component in header[1 : 1 + 2 * count : 2]:
        if component in components:
            known[components.index(component), first : last + 1] = bits & 15
    return known
