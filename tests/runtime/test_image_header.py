import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.image_header import announced_size, check_format, is_cut_short


def reason_of(data):
    with pytest.raises(UnreadableMedia) as caught:
        announced_size(data)
    return caught.value.reason


def test_the_size_of_every_format_is_read_from_its_header(encoded):
    assert announced_size(encoded.data) == (64, 48)


def test_the_first_bytes_tell_an_image_from_anything_else(encoded):
    check_format(encoded.data[:12])
    with pytest.raises(UnreadableMedia) as caught:
        check_format(b"?" + encoded.data[1:12])
    assert caught.value.reason == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (3, 700), (9999, 2)])
def test_a_changed_header_announces_the_changed_size(boastful, announce, size):
    assert announced_size(announce(boastful.data, *size)) == size


def test_a_whole_file_is_not_cut_short(encoded):
    assert not is_cut_short(encoded.data)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_palettes_and_bitmaps_have_their_size_in_the_same_place(picture, encode, format, mode):
    assert announced_size(encode(picture.resize((17, 5)), format, mode)) == (17, 5)


def test_a_bitmap_stored_top_down_has_a_positive_height(picture, encode, announce):
    assert announced_size(announce(encode(picture, "BMP"), 64, -48)) == (64, 48)


def test_the_old_bitmap_header_of_os2_is_understood():
    assert announced_size(b"BM" + struct.pack("<IHHI", 26, 0, 0, 26) + struct.pack("<IHHHH", 12, 70, 30, 1, 24)) == (
        70,
        30,
    )


def test_a_thumbnail_inside_a_jpeg_is_not_taken_for_the_image(picture, encode):
    photo, thumbnail = encode(picture, "JPEG"), encode(picture.resize((16, 12)), "JPEG")
    block = b"Exif\0\0" + thumbnail
    whole = photo[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + photo[2:]
    assert announced_size(whole) == (64, 48)
    assert not is_cut_short(whole)
    assert is_cut_short(whole[:-200])


def test_fill_bytes_between_jpeg_segments_are_skipped(picture, encode):
    photo = encode(picture, "JPEG")
    padded = photo[:2] + b"\xff\xff\xff" + photo[2:]
    assert announced_size(padded) == (64, 48)
    assert not is_cut_short(padded)
    assert is_cut_short(padded[:-100])


def test_a_jpeg_of_very_many_segments_is_walked_quickly(picture, encode):
    photo = encode(picture, "JPEG")
    scan = photo.index(b"\xff\xda")
    crowded = photo[:scan] + b"\xff\xe0\0\2" * 400_000 + photo[scan:]
    start = time.process_time()
    assert not is_cut_short(crowded)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "data", [b"hello world", b"<svg></svg>", b"\0" * 100, b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\xff\xd8", b"P6 1 1 255 "]
)
def test_other_first_bytes_are_not_an_image(data):
    assert reason_of(data) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(0, 48), (64, 0)])
def test_a_side_of_no_pixels_is_damaged(picture, encode, announce, format, size):
    assert reason_of(announce(encode(picture, format), *size)) == Reason.DAMAGED


def test_a_tiff_without_a_size_is_damaged():
    assert reason_of(b"II*\0" + struct.pack("<IHI", 8, 0, 0)) == Reason.DAMAGED


def test_a_jpeg_whose_segments_do_not_hold_is_damaged(picture, encode):
    assert reason_of(encode(picture, "JPEG")[:2] + b"\xff\xe0\0\x04ab" + b"no marker") == Reason.DAMAGED


@given(
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"BM\x46\0\0\0\0\0\0\0",
            b"RIFF\0\0\0\0WEBP",
            b"II*\0",
            b"MM\0*",
        ]
    ),
    st.binary(max_size=200),
)
def test_any_bytes_after_a_known_beginning_give_a_size_or_a_reason(beginning, rest):
    try:
        found = *announced_size(beginning + rest), is_cut_short(beginning + rest)
    except UnreadableMedia as error:
        found = error.reason
    if isinstance(found, tuple):
        width, height, cut_short = found
        assert min(width, height) > 0
        assert cut_short in (True, False)
    else:
        assert found in (Reason.TRUNCATED, Reason.DAMAGED)
