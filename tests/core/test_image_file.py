"""Image files of every kind: what is decoded, what is refused, and that nothing is decoded that is too large."""

import ctypes
import gc
import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from affectlens.core import image_file as module
from affectlens.core.errors import UnreadableMedia
from affectlens.core.image_file import (
    MAX_COMPRESSED_CHUNKS,
    MAX_PIXELS,
    MAX_SCANS,
    MIN_DECODED_SHARE,
    as_uint8,
    check_format,
    decode,
    format_of,
)
from affectlens.core.jpeg_scans import count_scans
from affectlens.core.reasons import Reason

BROKEN = {Reason.TRUNCATED, Reason.DAMAGED, Reason.NOT_AN_IMAGE, Reason.EMPTY_FILE, Reason.UNSUPPORTED}


def decode_image(data):
    """(H, W, 3) RGB of a complete file."""
    picture = decode(data)
    assert (picture.share, picture.incomplete) == (1, False)
    return picture.rgb


def refused(call, argument):
    with pytest.raises(UnreadableMedia) as caught:
        call(argument)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.reason


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).mean()


@pytest.fixture
def no_decoder(monkeypatch):
    """Fails where pixels are asked for."""
    for owner in (ImageFile.ImageFile, *map(module._class_of, module.FORMATS)):
        monkeypatch.setattr(owner, "load", lambda *_: pytest.fail("the decoder was asked"))


# Recognising


def test_every_format_is_recognised_by_its_first_bytes(encoded):
    name = encoded.format.rpartition("-")[2]
    expected = {"jpeg": "JPEG", "webp": "WebP", "heic": "HEIC"}.get(name, name.upper())
    assert format_of(encoded.data[:32]) == check_format(encoded.data[:32]) == expected
    assert format_of(b"?" + encoded.data[1:32]) is None or expected in ("AVIF", "HEIC")


@pytest.mark.parametrize(
    "data",
    [
        b"hello world",
        b"<svg></svg>",
        b"\0" * 100,
        b"%PDF-1.7",
        b"RIFF\0\0\0\0WAVE",
        b"\xff\xd8",
        b"P6 1 1 255 ",
        b"BMW drives past",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"\0\0\0\x14ftypqt  ",
        b"8BPS\0\1",
        b"\x00\x00\x01\x00\x01\x00",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"GIMP",
    ],
)
def test_other_first_bytes_are_not_an_image(data):
    assert refused(decode, data) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avis\0\0\0\0avisavif", "AVIF"),
        (b"isom\0\0\0\0isomiso2", None),
    ],
)
def test_brands_tell_avif_heic_and_films_apart(brands, expected):
    assert format_of(b"\0\0\0\x18ftyp" + brands) == expected


def test_no_other_format_of_pillow_is_tried(picture, encode):
    for other in ("PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000", "DDS"):
        assert refused(decode, encode(picture, other)) == Reason.NOT_AN_IMAGE


def test_nothing_is_registered_with_pillow():
    before = set(Image.OPEN)
    refused(decode, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "HEIF" not in set(Image.OPEN) - before


# Decoding


def test_every_format_decodes_to_the_pixels_that_pillow_sees(encoded):
    image = decode_image(encoded.data)
    assert image.dtype == np.uint8
    assert difference(image, encoded.pixels) < 1


def test_channels_come_as_red_green_blue(picture, encode):
    red = Image.new("RGB", picture.size, (250, 100, 5))
    assert decode_image(encode(red, "PNG"))[0, 0].tolist() == [250, 100, 5]


def test_a_gray_jpeg_becomes_three_equal_channels(picture, encode):
    image = decode_image(encode(picture, "JPEG", "L"))
    assert image.shape == (48, 64, 3)
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(encode, format):
    ramp = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    image = decode_image(encode(Image.fromarray(ramp), format))
    assert difference(image[..., 0], ramp // 257) <= 1


def test_cmyk_is_converted(picture, encode):
    assert difference(decode_image(encode(picture, "JPEG", "CMYK", quality=95)), np.asarray(picture)) < 5


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_dropped_and_the_colour_below_it_stays(picture, encode, format):
    see_through = picture.copy()
    see_through.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda level: max(level, 1)))
    options = {"lossless": True} if format == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(encode(see_through, format, **options)), np.asarray(picture))


def test_a_palette_is_looked_up(picture, encode):
    palette = picture.quantize(16)
    np.testing.assert_array_equal(decode_image(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("format", "tolerance"), [("GIF", 6), ("WEBP", 8), ("PNG", 0)])
def test_of_an_animation_the_first_frame_is_taken(picture, encode, format, tolerance):
    later = [picture.rotate(180), Image.new("RGB", picture.size, "white")]
    data = encode(picture, format, save_all=True, append_images=later, duration=50)
    assert difference(decode_image(data), np.asarray(picture)) <= tolerance


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_picture(picture, encode, format, orientation):
    turns = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ]
    turn = turns[orientation - 1]
    stored = picture if turn is None else picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encode(stored, format, exif=exif))
    assert difference(image, np.asarray(picture)) < 8


def test_an_unknown_exif_orientation_is_ignored(picture, encode):
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decode_image(encode(picture, "JPEG", exif=exif)).shape == (48, 64, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_one_pixel_is_an_image(picture, encode, format):
    assert decode_image(encode(picture.resize((1, 1)), format)).shape == (1, 1, 3)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_understood_in_both_byte_orders_and_as_short_or_long(picture, encode, format, kind, order):
    layout = "<" if order == "II" else ">"
    entry = struct.pack(f"{layout}HHI", 0x0112, kind, 1) + struct.pack(
        f"{layout}{'HH' if kind == 3 else 'I'}", *((6, 0) if kind == 3 else (6,))
    )
    exif = order.encode() + struct.pack(f"{layout}HIH", 42, 8, 1) + entry + b"\0\0\0\0"
    stored = picture.transpose(Image.Transpose.ROTATE_90)
    assert difference(decode_image(encode(stored, format, exif=b"Exif\0\0" + exif)), np.asarray(picture)) < 8


def test_exif_that_is_damaged_does_not_cost_the_picture(picture, encode):
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's
            assert decode_image(encode(picture, "JPEG", exif=exif)).shape == (48, 64, 3)


def test_gray_stays_gray_until_rgb_is_asked_for(picture, encode):
    for mode, stored in (("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("L", "JPEG"), ("L", "TIFF"), ("L", "WEBP")):
        found = decode(encode(picture, stored, mode))
        assert found.pixels.ndim == (3 if stored == "WEBP" else 2)
        assert found.rgb.shape == (48, 64, 3)


def test_gray_png_is_bit_for_bit_what_was_stored(encode):
    stored = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(stored), "PNG")).pixels, stored)


def png(width, height, depth, colour, rows):
    """A PNG of these raw rows."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_fills_the_range(depth):
    top = (1 << depth) - 1
    per_byte = 8 // depth
    values = [number % (top + 1) for number in range(16)]
    row = bytes(sum(values[at + k] << (8 - depth * (k + 1)) for k in range(per_byte)) for at in range(0, 16, per_byte))
    found = decode(png(16, 1, depth, 0, [row])).pixels[0].tolist()
    assert found == [value * 255 // top for value in values]


def test_sixteen_bits_of_colour_are_scaled():
    row = struct.pack(">6H", 0, 257 * 7, 65535, 257 * 100, 257 * 200, 257 * 255)
    assert decode(png(2, 1, 16, 2, [row])).pixels.tolist() == [[[0, 7, 255], [100, 200, 255]]]


def tiff(width, height, tags, content, big=False):
    """A little-endian TIFF with one strip; `tags` are (tag, type, value)."""
    form = {3: "HH" if not big else "H6x", 4: "I" if not big else "I4x", 16: "Q"}
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8)
    size = 20 if big else 12
    count = len(tags) + 1
    start = len(head) + (8 + size * count + 8 if big else 2 + size * count + 4)
    entries = []
    for tag, kind, value in sorted([*tags, (273, 4, start)], key=lambda entry: entry[0]):
        values = (value, 0) if form[kind] == "HH" else (value,)
        entries.append(struct.pack(f"<HH{'Q' if big else 'I'}{form[kind]}", tag, kind, 1, *values))
    counted = struct.pack("<Q" if big else "<H", count)
    return head + counted + b"".join(entries) + bytes(8 if big else 4) + content


def gray_tags(width, height, bits, size_kind=3, form=None):
    length = (width * bits + 7) // 8 * height
    tags = [(256, size_kind, width), (257, size_kind, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (277, 3, 1)]
    return [*tags, (278, 3, height), (279, 4, length), *([(339, 3, form)] if form else [])]


def test_twelve_bits_fill_the_range():
    content = bytes([0x00, 0x08, 0x00, 0xFF, 0xFF, 0xFF])  # 0, 2048, 4095, 4095
    assert decode(tiff(4, 1, gray_tags(4, 1, 12), content)).pixels.tolist() == [[0, 127, 255, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1, 0.25], [0, 128, 255, 64]),
        ([0, 127.5, 255, 64], [0, 128, 255, 64]),
        ([-1, 1.25, float("nan"), 1], [0, 255, 0, 255]),
    ],
)
def test_floats_are_taken_for_0_to_1_or_0_to_255(values, expected):
    content = struct.pack("<4f", *values)
    assert decode(tiff(4, 1, gray_tags(4, 1, 32, form=3), content)).pixels.tolist() == [expected]


def test_big_tiff_with_sizes_of_eight_bytes_is_read():
    content = bytes(range(12))
    found = decode(tiff(4, 3, gray_tags(4, 3, 8, size_kind=16), content, big=True))
    assert found.pixels.tobytes() == content


def test_pixels_that_are_not_decoded_are_unsupported_not_damaged():
    tags = [entry if entry[0] != 277 else (277, 3, 3) for entry in gray_tags(2, 2, 64, form=3)]
    assert refused(decode, tiff(2, 2, tags, bytes(200))) == Reason.UNSUPPORTED


def test_cmyk_of_adobe_is_not_inverted(encode):
    sky = Image.new("CMYK", (16, 16), (200, 60, 0, 0))
    data = encode(sky, "JPEG", quality=95)
    assert b"Adobe" in data
    red, green, blue = decode_image(data)[8, 8]
    assert red < 80 < green < 220 < blue


def test_a_transparent_palette_is_looked_up_without_a_warning(picture, encode):
    palette = picture.quantize(16)
    data = encode(palette, "PNG", transparency=bytes([0, 128] + 14 * [255]))
    np.testing.assert_array_equal(decode_image(data), np.asarray(palette.convert("RGB")))


def test_of_a_picture_with_others_behind_it_the_first_is_taken(picture, encode):
    data = encode(picture, "MPO", save_all=True, append_images=[Image.new("RGB", (300, 200), "white")], quality=95)
    assert difference(decode_image(data), np.asarray(picture)) < 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "YCbCr", "1", "LA", "I", "F", "I;16", "HSV"])
def test_a_pillow_image_of_any_mode_is_gray_or_colour(mode):
    found = as_uint8(Image.new("L", (5, 4), 9).convert(mode) if mode != "HSV" else Image.new("HSV", (5, 4)))
    assert found.dtype == np.uint8
    assert found.shape in ((4, 5), (4, 5, 3))


def test_pixels_come_out_as_pillow_gives_them():
    noise = np.random.default_rng(1).integers(0, 256, (701, 523, 3), dtype=np.uint8)
    found = as_uint8(Image.fromarray(noise))
    np.testing.assert_array_equal(found, noise)
    assert found.flags.writeable


# HEIC


def test_heic_without_its_extra_names_it(picture, encode, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableMedia, match=r"unsupported: HEIC needs the extra 'heif': pip install"):
        decode(encode(picture, "HEIF"))


# Files that break off


def noisy(side=96):
    """A picture without large even areas."""
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((4 * side, 4 * side))


STREAMED = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "BMP": {},
    "TIFF": {},
}


@pytest.mark.parametrize("format", STREAMED)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.85])
def test_a_file_of_which_much_is_missing_is_refused(encode, format, part):
    data = encode(noisy(), format, **STREAMED[format])
    assert refused(decode, data[: int(part * len(data))]) == Reason.TRUNCATED


@pytest.mark.parametrize("format", STREAMED)
@pytest.mark.parametrize("part", [0.94, 0.98])
def test_a_file_of_which_little_is_missing_is_decoded_and_called_incomplete(encode, format, part):
    whole = encode(noisy(), format, **STREAMED[format])
    found, expected = decode(whole[: int(part * len(whole))]), decode_image(whole)
    assert found.incomplete
    assert MIN_DECODED_SHARE <= found.share <= 1  # less than a row of blocks may be missing
    assert found.share == pytest.approx(part, abs=0.05)
    kept = slice(expected.shape[0] // 4, -expected.shape[0] // 4)  # of a bitmap the upper rows come last
    np.testing.assert_array_equal(found.rgb[kept], expected[kept])


def test_a_gif_that_breaks_off_is_measured_too(encode):
    whole = encode(noisy(), "GIF")
    found = decode(whole[: int(0.97 * len(whole))])
    assert found.incomplete
    assert MIN_DECODED_SHARE <= found.share < 1
    assert refused(decode, whole[: len(whole) // 2]) == Reason.TRUNCATED


def test_a_transparent_gif_that_breaks_off_is_refused(encode):
    whole = encode(noisy().quantize(64), "GIF", transparency=0)
    assert refused(decode, whole[: int(0.97 * len(whole))]) == Reason.TRUNCATED


def test_a_jpeg_without_its_end_marker_is_whole(encode):
    whole = encode(noisy(), "JPEG")
    assert whole.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(decode_image(whole[:-2]), decode_image(whole))


FRAMES = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}}


@pytest.mark.parametrize("options", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("rows", [60, 200, 384])
def test_a_jpeg_of_one_tone_at_its_end_is_whole_without_its_end_marker(encode, options, mode, tone, rows):
    """Of middle gray too, with which libjpeg fills what is missing."""
    framed = noisy()
    framed.paste((tone,) * 3, (0, 384 - rows, 384, 384))
    whole = encode(framed, "JPEG", mode, **options)
    for missing in (1, 2):
        np.testing.assert_array_equal(decode_image(whole[:-missing]), decode_image(whole))


@pytest.mark.parametrize("options", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("missing", [3, 4, 10, 50])
def test_a_jpeg_that_lacks_a_little_more_than_its_end_marker_is_incomplete(encode, options, missing):
    found = decode(encode(noisy(), "JPEG", **options)[:-missing])
    assert found.incomplete
    assert found.share > 0.98


def test_a_jpeg_that_breaks_off_right_before_a_restart_marker_is_measured(encode):
    whole = encode(noisy(), "JPEG", restart_marker_rows=1)
    last = max(at for at in range(len(whole)) if whole[at] == 0xFF and 0xD0 <= whole[at + 1] <= 0xD7)
    for cut in (last, last + 1, last + 2):
        found = decode(whole[:cut])
        assert found.incomplete
        assert found.share == pytest.approx(23 / 24)


def test_a_progressive_jpeg_is_refused_before_every_coefficient_has_come(encode):
    """Of its scans the first five of ten bring something new, the others only further bits."""
    whole = encode(noisy(), "JPEG", progressive=True)
    starts = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    assert len(starts) == 10
    for scan, start in enumerate(starts):
        if scan < 5:
            assert refused(decode, whole[: start + 200]) == Reason.TRUNCATED
        else:
            found = decode(whole[: start + 20])
            assert (found.share, found.incomplete) == (1, True)
    within = decode(whole[: starts[4] + int(0.97 * (starts[5] - starts[4]))])
    assert MIN_DECODED_SHARE <= within.share < 1


def test_a_jpeg_without_an_end_marker_may_hold_one_in_its_thumbnail(encode):
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9".encode("latin-1")
    np.testing.assert_array_equal(
        decode_image(encode(noisy(), "JPEG", exif=exif)[:-2]), decode_image(encode(noisy(), "JPEG"))
    )


def test_a_progressive_jpeg_that_breaks_off_is_incomplete_though_every_pixel_is_there(encode):
    whole = encode(noisy(), "JPEG", progressive=True)
    found = decode(whole[: int(0.9 * len(whole))])
    assert found.incomplete
    assert difference(found.rgb, decode_image(whole)) < 20
    assert refused(decode, whole[: int(0.05 * len(whole))]) == Reason.TRUNCATED


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "HEIF"])
def test_a_file_that_is_decoded_at_once_needs_all_of_it(encode, format):
    data = encode(noisy(), format)
    assert refused(decode, data[: int(0.95 * len(data))]) in {Reason.TRUNCATED, Reason.DAMAGED}


def test_threads_do_not_disturb_each_other(encode):
    """Whole files and files that break off, side by side: Pillow's switch for the latter is one for all threads."""
    whole = [encode(noisy(), name) for name in ("JPEG", "PNG", "BMP", "GIF")]
    files = [*whole, *(data[: int(0.96 * len(data))] for data in whole), *(data[: len(data) // 3] for data in whole)]

    def answer(data):
        try:
            found = decode(data)
        except UnreadableMedia as error:
            return error.reason
        return found.share, found.incomplete, found.pixels.tobytes()

    alone = [answer(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(answer, files * 10))
    assert together == alone * 10
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# What cannot be decoded


@given(data=st.data())
def test_a_file_cut_anywhere_is_incomplete_or_refused_with_a_reason(encoded, data):
    cut = data.draw(st.integers(0, len(encoded.data) - 1))
    try:
        found, reason = decode(encoded.data[:cut]), None
    except UnreadableMedia as error:
        found, reason = None, error.reason
    if found is None:
        assert reason in BROKEN
    else:
        assert found.share >= MIN_DECODED_SHARE
        assert found.rgb.shape == (48, 64, 3)


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 4, 8, 11, 12, 20, 25, 26, 30])
def test_a_file_cut_within_its_header_is_refused_with_a_reason(encoded, kept):
    assert refused(decode, encoded.data[:kept]) in BROKEN


@pytest.mark.parametrize("part", [0.3, 0.5])
def test_a_file_that_lost_half_says_so(encoded, part):
    if encoded.format == "progressive-jpeg":
        pytest.skip("half of it is the whole picture, in less detail")
    reason = refused(decode, encoded.data[: int(part * len(encoded.data))])
    assert reason in (
        {Reason.DAMAGED, Reason.TRUNCATED} if encoded.format[-4:] in ("tiff", "avif", "heic") else {Reason.TRUNCATED}
    )


@pytest.mark.parametrize(
    ("format", "appended"),
    [
        pytest.param("JPEG", b"\0\0\0\x18ftypmp42 \xff\xda a short video, as phones append it", id="jpeg"),
        pytest.param("PNG", b"x" * 5000, id="png"),
        pytest.param("GIF", b"written by a tool", id="gif"),
        pytest.param("BMP", b"more", id="bmp"),
        pytest.param("WEBP", b"more", id="webp"),
    ],
)
def test_what_follows_the_end_of_the_image_does_not_matter(picture, encode, format, appended):
    assert decode_image(encode(picture, format) + appended).shape == (48, 64, 3)


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "flip", "insert", "delete"]), st.floats(0, 1), st.binary(min_size=1, max_size=24)
    ),
    min_size=1,
    max_size=6,
)


def mutate(data, mutations, early):
    """Bytes replaced, flipped, inserted or deleted; `early` concentrates them in the first 200."""
    data = bytearray(data)
    for kind, place, noise in mutations:
        at = int(place * (min(len(data), 200) if early else len(data)))
        if kind == "replace":
            data[at : at + len(noise)] = noise
        elif kind == "flip":
            data[at : at + 1] = bytes(byte ^ noise[0] for byte in data[at : at + 1])
        elif kind == "insert":
            data[at:at] = noise
        else:
            del data[at : at + len(noise)]
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of metadata
@settings(max_examples=60)
@given(mutations=MUTATIONS, early=st.booleans())
def test_a_mutated_file_decodes_or_is_refused_with_a_reason(encoded, mutations, early):
    try:
        image, reason = decode(mutate(encoded.data, mutations, early)).rgb, None
    except UnreadableMedia as error:
        image, reason = None, error.reason
    if image is None:
        assert reason in BROKEN | {Reason.TOO_MANY_PIXELS}
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.size > 0


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_with_a_reason(data):
    assert refused(decode_image, data) in BROKEN | {Reason.TOO_MANY_PIXELS}


# Bombs, made here and never stored


def test_fifty_thousand_pixels_square_are_refused_without_decoding(boastful, announce, no_decoder):
    assert refused(decode, announce(boastful.data, 50_000, 50_000)) == Reason.TOO_MANY_PIXELS


def test_a_strip_of_too_many_pixels_is_refused_as_a_square_is(picture, encode, announce, no_decoder):
    assert refused(decode, announce(encode(picture, "PNG"), MAX_PIXELS + 1, 1)) == Reason.TOO_MANY_PIXELS


def test_as_many_pixels_as_allowed_reach_the_decoder_without_a_warning(picture, encode, announce, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of the surrounding program, for itself

    def load(image):
        asked.append(image.size)
        raise OSError("image file is truncated")

    asked = []
    monkeypatch.setattr(module._class_of("PNG"), "load", load)
    monkeypatch.setattr(module, "_decode_in_part", lambda *_: (Image.new("L", (1, 1)), 1.0, True))
    assert decode(announce(encode(picture, "PNG"), 10_000, 10_000)).incomplete
    assert asked == [(10_000, 10_000)]


def test_fewer_pixels_may_be_allowed(picture, encode):
    assert decode(encode(picture, "PNG"), 64 * 48).pixels.shape == (48, 64, 3)
    with pytest.raises(UnreadableMedia, match="the image has 64 x 48 pixels; the limit is 3,071"):
        decode(encode(picture, "PNG"), 64 * 48 - 1)


def bare_marker_jpeg(picture, encode, marker):
    """A progressive JPEG of 32,000 x 32,000 pixels whose true frame header stands behind a marker without a length; who
    takes the two bytes after it for one skips to a header of 64 x 48.
    """
    data = encode(picture, "JPEG", progressive=True)
    at = data.index(b"\xff\xc2")
    small = data[at : at + 19]
    large = small[:5] + struct.pack(">HH", 32_000, 32_000) + small[9:]
    return data[:at] + b"\xff" + bytes([marker]) + b"\xff\xe0" + struct.pack(">H", 2) + large + data[at + 19 :]


@pytest.mark.parametrize("marker", [*range(0xD0, 0xD8), 0xD8, 0x01])
def test_a_jpeg_with_a_marker_without_a_length_is_no_way_around_the_limit(picture, encode, marker, no_decoder):
    reason = refused(decode, bare_marker_jpeg(picture, encode, marker))
    assert reason in {Reason.TOO_MANY_PIXELS, Reason.DAMAGED, Reason.TRUNCATED}
    assert reason == Reason.TOO_MANY_PIXELS or marker == 0x01


HIDERS = {"DAC": 0xCC, "JPG0": 0xF0, "JPG": 0xC8, "DHP": 0xDE, "EXP": 0xDF, "APP5": 0xE5, "COM": 0xFE, "DNL": 0xDC}


@pytest.mark.parametrize("hider", HIDERS.values(), ids=HIDERS)
@pytest.mark.parametrize("order", ["large first", "small first"])
def test_a_jpeg_with_a_second_frame_header_takes_no_memory(picture, encode, hider, order, peak_growth_mib):
    """Pillow reads the header by itself before libjpeg does: what one skips the other may not take for the size."""
    data = encode(picture, "JPEG", progressive=True)
    at = data.index(b"\xff\xc2")
    small = data[at : at + 19]
    large = small[:5] + struct.pack(">HH", 30_000, 30_000) + small[9:]
    first, second = (large, small) if order == "large first" else (small, large)
    hidden = b"\xff" + bytes([hider]) + struct.pack(">H", len(second) + 2) + second
    for middle in (first + hidden, hidden + first, first + second):
        assert peak_growth_mib(data[:at] + middle + data[at + 19 :]) < 100


def peak_kib():
    """The most memory that this process has had since `decode` was about to begin."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


@pytest.fixture(scope="module")
def peak_growth_mib():
    """How much memory decoding takes at most."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak of memory is read and reset as Linux does it")
    gc.collect()  # once: it takes half a second where torch is loaded

    def measure(data):
        with suppress(AttributeError):  # what earlier tests have freed, where glibc keeps it
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = peak_kib()
        with suppress(UnreadableMedia):
            decode(data)
        return (peak_kib() - before) / 1024

    return measure


def test_the_measure_of_memory_sees_a_large_picture(encode, peak_growth_mib):
    assert peak_growth_mib(encode(Image.new("RGB", (6000, 5000)), "PNG")) > 100


def doubled(tag):
    """Tags of a gray TIFF of 64 x 48 with a second, enormous one."""
    return sorted([*gray_tags(64, 48, 8), (tag, 4, 40_000_000)], key=lambda entry: entry[0])


@pytest.mark.parametrize("tag", [256, 257])
@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("last", [True, False])
def test_a_tiff_with_two_sizes_takes_no_memory(tag, compression, last, peak_growth_mib):
    tags = [entry if entry[0] != 259 else (259, 3, compression) for entry in doubled(tag)]
    if not last:
        tags = [*((tag, 4, 40_000_000),), *(entry for entry in tags if entry != (tag, 4, 40_000_000))]
    assert peak_growth_mib(tiff(64, 48, tags, bytes(64 * 48))) < 100


@pytest.mark.parametrize("big", [True, False])
def test_a_tiff_with_sizes_of_eight_bytes_is_measured(big, no_decoder):
    tags = gray_tags(40_000, 40_000, 8, size_kind=16 if big else 4)
    assert refused(decode, tiff(0, 0, tags, bytes(100), big=big)) == Reason.TOO_MANY_PIXELS


@pytest.mark.slow
def test_a_webp_and_an_avif_of_too_many_pixels_take_no_memory(encode, peak_growth_mib):
    """Their own decoders may not allocate what is never decoded."""
    webp = encode(Image.new("RGB", (16_000, 8_000)), "WEBP", quality=1, method=0)
    avif = encode(Image.new("L", (12_000, 9_000)), "AVIF", quality=1, speed=10)
    for data in (webp, avif):
        assert len(data) < 500_000
        assert refused(decode, data) == Reason.TOO_MANY_PIXELS
        assert peak_growth_mib(data) < 60


def test_a_gif_whose_frame_is_larger_than_its_screen_is_measured(picture, encode, no_decoder):
    data = bytearray(encode(picture, "GIF"))
    at = data.index(b",\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    assert refused(decode, bytes(data)) == Reason.TOO_MANY_PIXELS


@pytest.mark.slow
@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_a_png_whose_text_or_profile_unpacks_to_gigabytes_takes_no_memory(picture, encode, kind, peak_growth_mib):
    data = encode(picture, "PNG")
    packed = zlib.compress(bytes(300_000_000), 9)
    body = b"a\0\1\0\0\0" + packed if kind == b"iTXt" else b"a\0\0" + packed
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    whole = data[:33] + chunk + data[33:]
    del packed, body, chunk
    assert peak_growth_mib(whole) < 100


def test_a_png_chunk_that_claims_gigabytes_takes_no_memory(picture, encode, peak_growth_mib):
    data = encode(picture, "PNG")
    at = data.index(b"IDAT") - 4
    claiming = data[:at] + struct.pack(">I", 0x7FFFFFF0) + data[at + 4 :]
    assert peak_growth_mib(claiming) < 100
    np.testing.assert_array_equal(decode(claiming).pixels, np.asarray(picture))


def with_scans(jpeg, count):
    """A progressive JPEG with its last scan again and again."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (count - count_scans(jpeg)) + b"\xff\xd9"


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(picture, encode, no_decoder):
    jpeg = with_scans(encode(picture, "JPEG", progressive=True), MAX_SCANS + 1)
    assert count_scans(jpeg) == MAX_SCANS + 1
    assert refused(decode, jpeg) == Reason.TOO_SLOW
    assert refused(decode, jpeg[:-2]) == Reason.TOO_SLOW  # without its end marker, too


def test_a_jpeg_of_some_scans_is_decoded_whatever_follows_it(picture, encode):
    jpeg = encode(picture, "JPEG", progressive=True)
    film = b"\xff\xda\0\2" * (2 * MAX_SCANS)  # which looks like scans
    assert decode_image(with_scans(jpeg, MAX_SCANS) + film).shape == decode_image(jpeg).shape


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_of_very_many_compressed_chunks_is_refused_before_it_is_decoded(picture, encode, kind, no_decoder):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    png = encode(picture, "PNG")
    begin, end = png[:33], png[33:]
    text = chunk(kind, b"x\0\0" + zlib.compress(bytes(1000)))
    assert refused(decode, begin + text * (MAX_COMPRESSED_CHUNKS + 1) + end) == Reason.TOO_SLOW


def test_a_png_of_some_compressed_texts_is_decoded_whatever_its_pixels_say(picture, encode):
    png = encode(picture, "PNG") + b"zTXt" * (2 * MAX_COMPRESSED_CHUNKS)
    assert np.array_equal(decode_image(png), decode_image(encode(picture, "PNG")))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_program_that_wants_no_word_of_broken_off_files_still_gets_one(
    portrait, encode, monkeypatch, format, transparent
):
    image = Image.fromarray(portrait).resize((160, 120))
    options = {}
    if format == "GIF" and transparent:
        image, options = image.convert("P"), {"transparency": 3}
    data = encode(image, format, **options)
    expected = decode(data).pixels
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = decode(data)
    assert not whole.incomplete
    np.testing.assert_array_equal(whole.pixels, expected)
    assert refused(decode, data[: len(data) // 3]) == Reason.TRUNCATED


def test_an_error_of_the_decoder_is_damage(picture, encode, monkeypatch):
    def fail(*_):
        raise ValueError("broken")

    monkeypatch.setattr(module._class_of("PNG"), "load", fail)
    assert refused(decode, encode(picture, "PNG")) == Reason.DAMAGED


def test_want_of_memory_is_not_the_fault_of_the_file(picture, encode, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(module._class_of("PNG"), "load", fail)
    with pytest.raises(MemoryError):
        decode(encode(picture, "PNG"))


# Files that other readers get wrong


@pytest.fixture(scope="session")
def case():
    """Name -> bytes of a sample that earlier versions refused or turned wrongly; skips where they are not at hand."""
    default = Path(__file__).parents[3] / "shared" / "data" / "cases"
    folder = Path(os.environ.get("AFFECTLENS_CASES", default))

    def find(name):
        if not (folder / name).is_file():
            pytest.skip(f"no '{name}' in {folder}; set AFFECTLENS_CASES to the folder of difficult files")
        return (folder / name).read_bytes()

    return find


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("exif_orientation_long_bigendian.jpg", (320, 320, 3)),
        ("exif_webp_prefix.webp", (320, 320, 3)),
        ("jpeg_3_bytes_between_segments.jpg", (240, 240, 3)),
        ("jpeg_no_eoi.jpg", (240, 240, 3)),
        ("tiff_big.tif", (160, 160, 3)),
        ("tiff_float_0_1.tif", (160, 160)),
    ],
)
def test_what_every_viewer_shows_is_decoded(case, analyzer, name, shape):
    data = case(name)
    assert decode(data).pixels.shape == shape
    (face,) = analyzer.analyze(data).faces
    assert face.expression == "happiness"
