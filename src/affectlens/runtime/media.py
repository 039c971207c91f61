"""Reading of sources on disk as RGB arrays; every failure is an `UnreadableMedia` with a reason code."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic, iglob
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.files import output_file
from affectlens.core.image_file import MAX_BYTES, MAX_PIXELS, DecodedImage, decode, read_file
from affectlens.core.reasons import Reason

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
"""File names that a folder is searched for, in any case; a file that is named directly may have any name."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv",
     ".3gp"}
)  # fmt: skip
"""File names that are taken for videos, in any case, here and in folders."""

STREAMS = ("rtsp://", "rtsps://")
CAMERA = "camera:"
"""How the names of network streams and cameras begin."""

_MAX_NAME = 4096
"""The longest name of a file, as Linux has it; looking for what matches a longer pattern could take hours."""

ANNOTATED = ".faces"
"""How the stems of annotated pictures and videos end; a folder search leaves them out."""

PORTRAIT = Path(__file__).parent.parent / "weights" / "portrait.jpg"
"""Official NASA portrait of Eileen Collins (public domain), for the demo, the benchmark and the README."""


def display_name(path: os.PathLike[str] | str) -> str:
    """The path as text that can always be encoded: bytes that are not UTF-8 are written with a backslash, x and two
    digits. A stream's user and password are left out.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return re.sub(r"(?<=://)[^/@]*@", "", text) if text.startswith(STREAMS) else text


def is_video(source: str | os.PathLike[str]) -> bool:
    """Whether a source is named like a video file, a stream or a camera."""
    return is_live(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_live(source: str | os.PathLike[str]) -> bool:
    """Whether a source is named like a stream or a camera."""
    return os.fspath(source).startswith((*STREAMS, CAMERA))


def expand(source: str) -> Iterator[tuple[str, Path | str | UnreadableMedia]]:
    """(name, image or video file) behind a source: a file, a folder (searched recursively) or a glob; sorted. A stream
    or a camera is itself.

    What cannot be listed comes as (name, error) in its place.
    """
    if not source:
        yield source, UnreadableMedia(Reason.MISSING, "the name is empty")
        return
    if is_live(source):
        yield display_name(source), source
        return
    if re.match(r"(https?|ftp|s3|gs)://", source, re.IGNORECASE):
        yield source, UnreadableMedia(Reason.MISSING, "URLs are not downloaded; download the file first")
        return
    if len(source) > _MAX_NAME:
        yield display_name(source), UnreadableMedia(Reason.NOT_A_FILE, "the name is too long")
        return
    path = Path(os.path.expanduser(source))
    if not has_magic(source) or os.path.lexists(path):
        yield from _files(path)
        return
    try:
        matches = sorted(iglob(str(path), recursive=True))
    except (RecursionError, re.error):  # a pattern in each of a thousand folders
        matches = []
    if not matches:
        yield source, UnreadableMedia(Reason.MISSING, "no file matches")
    for match in matches:
        yield from _files(Path(match))


def _files(path: Path) -> Iterator[tuple[str, Path | UnreadableMedia]]:
    """The file itself, or the images and videos in a folder and below."""
    if not os.path.isdir(path):
        yield display_name(path), path
        return
    refused: list[OSError] = []
    found = 0
    for folder, folders, names in os.walk(path, onerror=refused.append):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES | VIDEO_SUFFIXES and not stem.endswith(ANNOTATED):
                found += 1
                yield display_name(Path(folder, name)), Path(folder, name)
    for error in refused:
        yield display_name(error.filename), UnreadableMedia(Reason.NO_PERMISSION, "no permission to list the folder")
    if not found and not refused:
        yield display_name(path), UnreadableMedia(Reason.NO_IMAGES, "the folder contains no images or videos")


def read_image(source: "str | os.PathLike[str] | bytes") -> NDArray[np.uint8]:
    """An image file as an array, decoded as `Analyzer.analyze` decodes it.

    Args:
        source: path of the file, or the bytes of one: JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, or HEIC (extra `heif`).

    Returns:
        (H, W, 3) RGB uint8, upright by its EXIF orientation; gray is repeated. Where the file breaks off after nine
        tenths of the picture, the rest is black or gray.

    Raises:
        UnreadableMedia: it cannot be read; its `reason` is one of `Reason`.
    """
    if isinstance(source, bytes):
        return decode(source).rgb
    return read_picture(Path(os.path.expanduser(source))).rgb


def read_picture(path: Path) -> DecodedImage:
    """As `read_image`, and whether the file was complete."""
    with file_reasons():
        data = read_file(path, MAX_BYTES)
    return decode(data)


@contextmanager
def file_reasons() -> Iterator[None]:
    """Convert file system errors to UnreadableMedia."""
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableMedia(Reason.MISSING, "no such file or folder") from error
    except PermissionError as error:
        raise UnreadableMedia(Reason.NO_PERMISSION, "no permission to read the file") from error
    except IsADirectoryError as error:
        raise UnreadableMedia(Reason.NOT_A_FILE, "a folder") from error
    except (OSError, ValueError) as error:
        too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        said = getattr(error, "strerror", None) or str(error)
        raise UnreadableMedia(Reason.TOO_LARGE if too_large else Reason.NOT_A_FILE, said) from error


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The bytes of an image file -> (H, W, 3) RGB uint8; as `read_image`."""
    return decode(data, max_pixels).rgb


def check_picture(path: Path) -> None:
    """Raises BadSetting where `save_image` could not write a picture of this name."""
    if path.is_dir():
        raise BadSetting(f"'{path}' is a folder; expected the name of a picture file")
    if not path.suffix or not cv2.haveImageWriter(f"x{path.suffix}"):
        raise BadSetting(f"cannot write pictures with the suffix '{path.suffix}'; use .jpg or .png")


def save_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB uint8 without metadata, in the format that the file name asks for; JPEG in quality 92.

    Raises:
        OSError: the file cannot be written.
        BadSetting: the name asks for a format that cannot be written, or that cannot hold a picture of this size.
    """
    try:
        jpeg = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") else []
        done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), jpeg)
    except cv2.error as error:
        raise BadSetting(f"cannot write pictures with the suffix '{path.suffix}'; use .jpg or .png") from error
    if not done:
        height, width = image.shape[:2]
        raise BadSetting(f"a picture of {width}x{height} pixels is too large for the format of '{path.name}'")
    with output_file(path, durable=False) as unfinished:
        unfinished.write_bytes(data.tobytes())
