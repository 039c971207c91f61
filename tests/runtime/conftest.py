"""Image files of every format, made from the portrait."""

import io
import shutil
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin


class Encoded(NamedTuple):
    """One image file: its format, its bytes, and what Pillow makes of them."""

    format: str
    data: bytes
    pixels: np.ndarray


FILES = {
    "jpeg": ("JPEG", {}),
    "progressive-jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gray-png": ("PNG", {"mode": "L"}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "lossless-webp": ("WEBP", {"lossless": True}),
    "extended-webp": ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"}),
    "tiff": ("TIFF", {}),
    "lzw-tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "big-endian-tiff": ("TIFF", {"big_endian": True}),
}


def encode(picture, format, mode=None, big_endian=False, **options):
    """The bytes of an image file."""
    stream = io.BytesIO()
    picture = picture.convert(mode) if mode else picture
    if big_endian:
        options["tiffinfo"] = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"MM")
        picture = Image.fromarray((np.asarray(picture.convert("L")).astype(">u2")) << 8)
    picture.save(stream, format, **options)
    return stream.getvalue()


@pytest.fixture(scope="session", name="encode")
def encode_fixture():
    return encode


@pytest.fixture(scope="session")
def picture(portrait):
    """The portrait as a small PIL image, 64 wide and 48 high."""
    return Image.fromarray(portrait).resize((64, 48))


def encode_named(name, picture):
    """One of `FILES`."""
    kind, options = FILES[name]
    data = encode(picture, kind, **options)
    opened = Image.open(io.BytesIO(data))
    deep = opened.mode.startswith("I;16")
    pixels = np.stack([np.asarray(opened) >> 8] * 3, axis=-1) if deep else np.asarray(opened.convert("RGB"))
    return Encoded(name, data, pixels)


@pytest.fixture(scope="session", params=FILES)
def encoded(request, picture):
    """A small file of each format in turn."""
    return encode_named(request.param, picture)


@pytest.fixture(scope="session", params=[name for name in FILES if name not in ("webp", "lossless-webp")])
def boastful(request, picture):
    """A small file of each format whose header has room for 50,000 x 50,000 pixels."""
    return encode_named(request.param, picture)


@pytest.fixture(scope="session")
def announce():
    """An image file with another width and height written into its header."""

    def patch(data, width, height):
        def put(at, layout, *values):
            new = struct.pack(layout, *values)
            return data[:at] + new + data[at + len(new) :]

        if data.startswith(b"\xff\xd8"):
            frame = max(data.find(b"\xff\xc0\0\x11"), data.find(b"\xff\xc2\0\x11"))
            return put(frame + 5, ">HH", height, width)
        if data.startswith(b"\x89PNG"):
            return put(16, ">II", width, height)
        if data.startswith(b"GIF"):
            return put(6, "<HH", width, height)
        if data.startswith(b"BM"):
            return put(18, "<ii", width, height)
        if data.startswith(b"RIFF"):
            return put(24, "<HBHB", width - 1 & 0xFFFF, width - 1 >> 16, height - 1 & 0xFFFF, height - 1 >> 16)
        order = "<" if data.startswith(b"II") else ">"
        for tag, value in ((256, width), (257, height)):
            for kind in (3, 4):
                at = data.find(struct.pack(f"{order}HHI", tag, kind, 1))
                if at >= 0:
                    data = put(at, f"{order}HHII", tag, 4, 1, value)
        return data

    return patch


@pytest.fixture
def open_folder():
    """A new folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)
