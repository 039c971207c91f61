"""Decoding of image files with Pillow: bytes -> (H, W) gray or (H, W, 3) RGB uint8, upright.

A file is recognised by its first bytes and opened only as that format, with Pillow's class for it, so that neither
other Pillow formats nor plug-ins of the surrounding program are tried, and size warnings do not depend on their
settings. The size in the header is compared with the limit before anything is decoded.

Pillow does not report how much of a truncated file was decoded. It leaves the memory of the missing part unchanged, so
such a file is decoded twice, over black and over white: pixels that differ are missing. JPEG has its own method
(`core.jpeg_scans`), by which a file that lacks only its end marker is complete.

A picture of which less than `MIN_DECODED_SHARE` was decoded is refused; any other is returned and marked as incomplete.
A part of a progressive JPEG counts as decoded once every coefficient has arrived at least roughly.

Pillow and its classes are imported for the first file that needs them; videos and `--help` start without them.
"""

import importlib
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import MissingExtra, UnreadableMedia
from affectlens.core.files import open_regular
from affectlens.core.jpeg_scans import count_scans, has_end, read_scans
from affectlens.core.reasons import Reason

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000
"""The largest image that is decoded, in pixels."""
MAX_BYTES = 2**30
"""The largest file that is read."""

MIN_DECODED_SHARE = 0.9
"""The least share of the pixels that must have been decoded."""

MAX_SCANS = 100
"""Of a JPEG; each is a pass over all pixels, however few bytes it has. Cameras and editors write up to about ten."""

MAX_COMPRESSED_CHUNKS = 100
"""Of text and colour profiles in a PNG; each can expand a thousandfold."""

HEAD_BYTES = 32
"""Enough of a file to recognise its format."""

Pixels = NDArray[np.uint8]

_CLASSES = {
    "JPEG": "PIL.JpegImagePlugin.JpegImageFile",  # of a multi-picture file (MPO) the first
    "PNG": "PIL.PngImagePlugin.PngImageFile",
    "GIF": "PIL.GifImagePlugin.GifImageFile",
    "BMP": "PIL.BmpImagePlugin.BmpImageFile",
    "WebP": "PIL.WebPImagePlugin.WebPImageFile",
    "TIFF": "PIL.TiffImagePlugin.TiffImageFile",
    "AVIF": "PIL.AvifImagePlugin.AvifImageFile",
    "HEIC": "pillow_heif.HeifImageFile",
}
FORMATS = tuple(_CLASSES)
"""What is recognised."""

_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_COMPRESSED = (b"zTXt", b"iTXt", b"iCCP")
_DECODED_WHOLE = ("WebP", "AVIF", "HEIC")
"""Of which nothing is there before all is."""
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_UNSUPPORTED = re.compile(r"unknown|unsupported|not supported|cannot handle|unrecognized", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"truncat|end of file|not enough data", re.IGNORECASE)
"""What Pillow says of pixel formats that it does not decode, and of files that break off."""

_ORIENTATION = 0x0112
_TURNS: dict[int, Callable[[Pixels], Any]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""EXIF orientation -> what turns the image upright."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image file.

    Attributes:
        pixels: (H, W) gray or (H, W, 3) RGB uint8, upright; what is missing is black or gray.
        share: of the pixels that were decoded, from `MIN_DECODED_SHARE` to 1.
        incomplete: the file breaks off before its last pixel is known in full.
    """

    pixels: Pixels
    share: float = 1.0
    incomplete: bool = False

    @property
    def rgb(self) -> Pixels:
        """(H, W, 3) RGB uint8: gray repeated."""
        if self.pixels.ndim == 3:
            return self.pixels
        return np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def format_of(head: bytes) -> str | None:
    """The format in `FORMATS` that a file with these first bytes (`HEAD_BYTES`) has; None for another."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brands = [head[at : at + 4] for at in (8, *range(16, len(head) - 3, 4))]
        if any(brand in _AVIF for brand in brands):
            return "AVIF"
        if brands[0] in _HEIF:
            return "HEIC"
    return None


def check_format(head: bytes) -> str:
    """As `format_of`.

    Raises:
        UnreadableMedia: NOT_AN_IMAGE.
    """
    name = format_of(head)
    if name is None:
        raise UnreadableMedia(Reason.NOT_AN_IMAGE, f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file")
    return name


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """All bytes of a regular file whose beginning is that of an image.

    Raises:
        UnreadableMedia: NOT_AN_IMAGE. OSError: it is missing, unreadable, larger or not a regular file.
    """
    with open_regular(path, max_bytes) as stream:
        head = stream.read(HEAD_BYTES)
        if head:
            check_format(head)
        return head + stream.read()


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """The bytes of an image file -> its picture, of an animation the first frame.

    More bits than eight are scaled to eight: 16-bit ones, those of fewer bits by what the file says (12-bit TIFF), and
    floating-point ones, which are taken for 0 to 1, or for 0 to 255 where any is above 2. CMYK is converted without
    colour profiles. Transparency is dropped: what is below it shows.

    Raises:
        UnreadableMedia: EMPTY_FILE, NOT_AN_IMAGE, UNSUPPORTED, TOO_MANY_PIXELS or TOO_SLOW (nothing was decoded),
            TRUNCATED or DAMAGED.
    """
    if not data:
        raise UnreadableMedia(Reason.EMPTY_FILE, "the file has no bytes")
    name = check_format(data[:HEAD_BYTES])
    _check_effort(name, data)
    image = _open(name, data, max_pixels)
    share, incomplete = 1.0, False
    if name == "JPEG" and not has_end(data, image.fp.tell()):
        image, share, incomplete = _decode_in_part(name, data, max_pixels)
    else:
        try:
            _load(name, image)
            whole = not _may_hide_its_end(name, data, image)
        except UnreadableMedia as error:
            if error.reason != Reason.TRUNCATED:
                raise
            whole = False
        if not whole:
            image, share, incomplete = _decode_in_part(name, data, max_pixels)
    return DecodedImage(turned_upright(as_uint8(image), orientation_of(image)), share, incomplete)


def _check_effort(name: str, data: bytes) -> None:
    """Raises UnreadableMedia, TOO_SLOW, where a small file would take long."""
    if name == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS and (scans := count_scans(data)) > MAX_SCANS:
        raise UnreadableMedia(Reason.TOO_SLOW, f"the JPEG has {scans:,} scans; the limit is {MAX_SCANS}")
    if name == "PNG" and (chunks := _compressed_chunks(data)) > MAX_COMPRESSED_CHUNKS:
        raise UnreadableMedia(
            Reason.TOO_SLOW,
            f"the PNG has {chunks:,} compressed texts and profiles; the limit is {MAX_COMPRESSED_CHUNKS}",
        )


def _compressed_chunks(data: bytes) -> int:
    """How many chunks of a PNG hold compressed text or a colour profile."""
    if sum(data.count(kind) for kind in _COMPRESSED) <= MAX_COMPRESSED_CHUNKS:
        return 0
    count, at = 0, 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        count += kind in _COMPRESSED
        at += length + 12
        if kind == b"IEND":
            break
    return count


def as_uint8(image: "Image.Image") -> Pixels:
    """A Pillow image as (H, W) gray or (H, W, 3) RGB uint8; how values are scaled says `decode`.

    Raises:
        UnreadableMedia: UNSUPPORTED for a mode that is neither.
    """
    mode = image.mode
    if mode in ("L", "RGB", "RGBA", "RGBX"):
        return _packed(image, "L" if mode == "L" else "RGB")
    if mode in ("1", "LA"):
        return _packed(image.convert("L"), "L")
    if mode.startswith("I"):
        values = np.asarray(image)
        return _scaled(values if mode.startswith("I;16") else values.clip(0, 65535).astype(np.uint16), _bits(image))
    if mode == "F":
        return _from_floats(np.asarray(image))
    if mode in ("P", "PA"):
        image = image.copy()
        image.info.pop("transparency", None)  # of which Pillow would warn
    try:
        return _packed(image.convert("RGB"), "RGB")
    except ValueError as error:
        raise UnreadableMedia(Reason.UNSUPPORTED, f"the pixel format '{mode}' is not supported") from error


def turned_upright(pixels: Pixels, orientation: int) -> Pixels:
    """The image as its EXIF orientation (1 to 8, anything else is 1) wants it shown."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.asarray(turn(pixels), dtype=np.uint8)


def orientation_of(image: Any) -> int:
    """The EXIF orientation of a Pillow image; 1 where there is none or the EXIF is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises many types for EXIF that is damaged
        return 1


def _open(name: str, data: bytes, max_pixels: int) -> Any:
    """A Pillow image of which only the header was read, no larger than allowed."""
    from PIL import Image

    stream = io.BytesIO(data)
    try:
        image = _class_of(name)(stream, "")
    except (UnreadableMedia, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableMedia(
            Reason.TOO_MANY_PIXELS, f"the image exceeds the limit of {max_pixels:,} pixels"
        ) from error
    except Exception as error:  # Pillow raises many types for a header that does not hold
        raise _unopened(name, data, stream.tell(), error) from error
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableMedia(
            Reason.TOO_MANY_PIXELS, f"the image has {width} x {height} pixels; the limit is {max_pixels:,}"
        )
    return image


def _class_of(name: str) -> Callable[[io.BytesIO, str], Any]:
    """Pillow's class for a format."""
    home, _, attribute = _CLASSES[name].rpartition(".")
    try:
        found: Callable[[io.BytesIO, str], Any] = getattr(importlib.import_module(home), attribute)
    except ImportError as error:
        if name != "HEIC":
            raise
        raise UnreadableMedia(Reason.UNSUPPORTED, str(MissingExtra("HEIC", "heif"))) from error
    return found


def _unopened(name: str, data: bytes, read: int, error: Exception) -> UnreadableMedia:
    """Why a header cannot be read; `read` is how far Pillow came."""
    said = _first_line(error)
    if _UNSUPPORTED.search(said):
        return UnreadableMedia(Reason.UNSUPPORTED, f"this variant of {name} is not supported: {said}")
    if name == "WebP":
        over = len(data) < 12 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data)
    else:
        over = name not in _DECODED_WHOLE and read >= len(data)
    if over or _BROKEN_OFF.search(said):
        return UnreadableMedia(Reason.TRUNCATED, "the file ends before the end of the image")
    return UnreadableMedia(Reason.DAMAGED, f"cannot read the header of the {name} file: {said}")


def _load(name: str, image: Any) -> None:
    """Decode a Pillow image.

    Raises:
        UnreadableMedia: TRUNCATED; or UNSUPPORTED or DAMAGED, where what was decoded so far may be wrong.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many types for a file that is damaged
        said = _first_line(error)
        if _BROKEN_OFF.search(said):
            raise UnreadableMedia(Reason.TRUNCATED, "the file ends before the end of the image") from error
        reason = Reason.UNSUPPORTED if _UNSUPPORTED.search(said) else Reason.DAMAGED
        raise UnreadableMedia(reason, f"cannot decode the {name} file: {said}") from error


def _first_line(error: Exception) -> str:
    """What an error says of itself."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _decode_in_part(name: str, data: bytes, max_pixels: int) -> tuple[Any, float, bool]:
    """Image, share and flag of a file that breaks off.

    Raises:
        UnreadableMedia: TRUNCATED, too little of it could be decoded; or DAMAGED.
    """
    image, share, incomplete = None, 0.0, True
    if name == "JPEG":
        image, share, incomplete = _continue_jpeg(data, max_pixels)
    elif name not in _DECODED_WHOLE:
        image, second = (_decode_over(name, data, max_pixels, tone) for tone in (0, 255))
        if not _prefills_canvas(image):
            share = float(np.equal(np.asarray(image), np.asarray(second)).mean())
            incomplete = share < 1
    if share < MIN_DECODED_SHARE:
        detail = f"the file is truncated: only {share:.0%} of the image can be decoded"
        raise UnreadableMedia(Reason.TRUNCATED, detail)
    return image, share, incomplete


def _continue_jpeg(data: bytes, max_pixels: int) -> tuple[Any, float, bool]:
    """Image, share and flag of a JPEG that breaks off."""
    scans = read_scans(data)
    if scans is None:
        return None, 0.0, True

    def decoded(ended: bytes) -> Any:
        image = _open("JPEG", ended, max_pixels)
        _load("JPEG", image)
        return image

    image = decoded(scans.ended())
    return image, *scans.share(image, map(decoded, scans.continued()))


def _decode_over(name: str, data: bytes, max_pixels: int, tone: int) -> Any:
    """What can be decoded, over an image of this tone."""
    from PIL import Image

    image = _open(name, data, max_pixels)
    bands = len(image.getbands())
    image.im = Image.new(image.mode, image.size, tone if bands == 1 else (tone,) * bands).im
    try:
        image.load()
    except MemoryError:
        raise
    except Exception:  # the file breaks off, as is known
        image.tile = []
    return image


def _may_hide_its_end(name: str, data: bytes, image: Any) -> bool:
    """Whether the surrounding program told Pillow to say nothing of files that break off, and this may be one."""
    from PIL import ImageFile

    if not ImageFile.LOAD_TRUNCATED_IMAGES or name == "JPEG" or name in _DECODED_WHOLE:
        return False
    return not (_prefills_canvas(image) and data.endswith(b";"))  # the last byte of a GIF


def _prefills_canvas(image: Any) -> bool:
    """Whether Pillow fills the canvas before it decodes, so that missing pixels cannot be told from others."""
    return image.format == "GIF" and "transparency" in image.info


def _packed(image: "Image.Image", rawmode: str) -> Pixels:
    """The pixels of a decoded image, in bytes "L" or "RGB", as an array of our own.

    Does what `Image.tobytes` does without keeping all pieces beside the whole: half of the memory, an eighth of the
    time at 12 megapixels.
    """
    from PIL import Image

    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3) if rawmode == "RGB" else (height, width), dtype=np.uint8)
    encoder = Image._getencoder(image.mode, "raw", (rawmode,))
    encoder.setimage(image.im, (0, 0, width, height))
    target, at, done = pixels.reshape(-1).data, 0, 0
    while not done:
        _, done, piece = encoder.encode(max(1 << 18, 4 * width))
        target[at : at + len(piece)] = piece
        at += len(piece)
    if done < 0:
        raise UnreadableMedia(Reason.UNSUPPORTED, f"the pixel format '{image.mode}' is not supported")
    return pixels


def _bits(image: "Image.Image") -> int:
    """Bits of a sample of 16-bit storage."""
    found = getattr(image, "tag_v2", {}).get(258, (16,))
    bits = found[0] if isinstance(found, tuple) else found
    return bits if bits in range(9, 16) else 16


def _scaled(values: NDArray[np.generic], bits: int) -> Pixels:
    """Whole numbers of so many bits -> eight."""
    top = (1 << bits) - 1
    if top == 65535:
        return (values.astype(np.uint16) // 257).astype(np.uint8)
    return (values.astype(np.uint32).clip(0, top) * 255 // top).astype(np.uint8)


def _from_floats(values: NDArray[np.generic]) -> Pixels:
    """(H, W) floats of 0 to 1, or of 0 to 255 where any is above 2; what is no number is black."""
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    scale = 255.0 if finite.max(initial=0.0) <= 2 else 1.0
    return (finite * scale).clip(0, 255).round().astype(np.uint8)
