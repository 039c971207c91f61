"""What the bytes of an image file promise, read before anything is decoded.

Six formats are known: JPEG, PNG, GIF, BMP, WebP and TIFF. The size in the header keeps a small file from claiming
gigabytes of memory, and the end marker tells a file that was cut off from one that is whole.
"""

import re
import struct
from collections.abc import Callable

from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason

Size = tuple[int, int]

_JPEG_FILL = re.compile(rb"\xff+")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker in entropy-coded data: not a stuffed byte, not a restart, not a fill byte."""


def announced_size(data: bytes) -> Size:
    """(width, height) in pixels as the header says.

    Raises:
        UnreadableMedia: NOT_AN_IMAGE for unknown first bytes, TRUNCATED or DAMAGED for a header that does not hold.
    """
    read_size, _ = _format(data)
    try:
        width, height = read_size(data)
    except (struct.error, IndexError) as error:
        raise UnreadableMedia(Reason.TRUNCATED, "the file ends within its header") from error
    if width < 1 or height < 1:
        raise UnreadableMedia(Reason.DAMAGED, f"the header announces {width} x {height} pixels")
    return width, height


def check_format(head: bytes) -> None:
    """See whether the first bytes (12 or more) are those of a known format.

    Raises:
        UnreadableMedia: NOT_AN_IMAGE.
    """
    _format(head)


def is_cut_short(data: bytes) -> bool:
    """The end that the format prescribes is missing."""
    _, cut_short = _format(data)
    try:
        return cut_short(data)
    except (struct.error, IndexError):
        return True


def _format(data: bytes) -> tuple[Callable[[bytes], Size], Callable[[bytes], bool]]:
    """How to read the size, and how to see that the end is missing."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_size, _jpeg_is_cut_short
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_size, _png_is_cut_short
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif_size, _gif_is_cut_short
    if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0":
        return _bmp_size, lambda d: struct.unpack_from("<I", d, 2)[0] > len(d)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size, lambda d: struct.unpack_from("<I", d, 4)[0] + 8 > len(d)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff_size, lambda _: False
    raise UnreadableMedia(Reason.NOT_AN_IMAGE, "not a JPEG, PNG, GIF, BMP, WebP or TIFF file")


def _jpeg_size(data: bytes) -> Size:
    """Walk the segments to the frame header (SOF0 to SOF15, without DHT, JPG and DAC)."""
    at = 2
    while True:
        at = _skip_fill(data, at)
        marker, length = struct.unpack_from(">HH", data, at)
        if marker < 0xFF01:
            raise UnreadableMedia(Reason.DAMAGED, "a JPEG segment does not begin with a marker")
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length


def _skip_fill(data: bytes, at: int) -> int:
    """The place of the next marker: any number of FF bytes may stand before it."""
    fill = _JPEG_FILL.match(data, at)
    return fill.end() - 1 if fill else at


def _jpeg_is_cut_short(data: bytes) -> bool:
    """Walk segments and scans to the end-of-image marker; what follows it does not matter."""
    at = 2
    while True:
        at = _skip_fill(data, at)
        if data[at + 1] == 0xD9:
            return False
        marker, length = struct.unpack_from(">HH", data, at)
        at += 2 + length
        if marker == 0xFFDA:
            following = _JPEG_MARKER.search(data, at)
            if following is None:
                return True
            at = following.start()


def _png_size(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _png_is_cut_short(data: bytes) -> bool:
    """Walk the chunks to IEND."""
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if at > len(data):
            return True
        if kind == b"IEND":
            return False


def _gif_size(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _gif_is_cut_short(data: bytes) -> bool:
    """Walk the blocks to the trailer."""
    at = 13 + _gif_palette_bytes(data[10])
    while data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        elif data[at] == 0x2C:
            at += 11 + _gif_palette_bytes(data[at + 9])
        else:
            raise UnreadableMedia(Reason.DAMAGED, "a GIF block has an unknown type")
        while data[at]:
            at += 1 + data[at]
        at += 1
    return False


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp_size(data: bytes) -> Size:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp_size(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width, height


def _tiff_size(data: bytes) -> Size:
    """Tags 256 and 257 of the first directory."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    size = {}
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257):
            (size[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
    return size.get(256, 0), size.get(257, 0)
