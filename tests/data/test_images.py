import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data.images import Images, Stored, cut, decoded, in_chunks, to_gray

RAMP = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOUR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def box(*corners):
    return np.array(corners, dtype=np.float32)


@pytest.fixture
def stored(tmp_path):
    """A file that OpenCV writes as it is given (so colours are blue, green, red)."""

    def write(pixels, name="a.png"):
        assert cv2.imwrite(str(tmp_path / name), pixels)
        return Stored(tmp_path / name)

    return write


def test_a_gray_file_stays_gray(stored):
    pixels = stored(RAMP).decode()
    np.testing.assert_array_equal(pixels, RAMP)
    assert pixels.dtype == np.uint8


def test_a_colour_file_becomes_red_green_blue(stored):
    np.testing.assert_array_equal(stored(COLOUR[..., ::-1]).decode(), COLOUR)


def test_transparency_is_left_out(stored):
    alpha = np.full((20, 30, 1), 7, dtype=np.uint8)
    np.testing.assert_array_equal(stored(np.concatenate([COLOUR[..., ::-1], alpha], axis=2)).decode(), COLOUR)


def test_sixteen_bits_become_eight(stored):
    deep = RAMP.astype(np.uint16) * 257
    pixels = stored(deep).decode()
    np.testing.assert_array_equal(pixels, RAMP)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(stored(COLOUR[..., ::-1].astype(np.uint16) * 257).decode(), COLOUR)


def test_encoded_bytes_are_read_instead_of_the_file():
    content = cv2.imencode(".png", COLOUR[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(Stored(Path("none.parquet"), content).decode(), COLOUR)


def test_the_box_is_cut_out_after_decoding(stored):
    path = stored(COLOUR[..., ::-1]).path
    np.testing.assert_array_equal(Stored(path, None, box(3, 2, 13, 9)).decode(), COLOUR[2:9, 3:13])


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_bad_data(content):
    with pytest.raises(BadData, match=r"cannot decode '.*x\.parquet' as an image"):
        Stored(Path("x.parquet"), content).decode()


def test_a_file_that_is_no_image_is_named(tmp_path):
    for name, content in (("empty.png", b""), ("text.png", b"no image")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=rf"cannot decode '.*{name}' as an image"):
            Stored(tmp_path / name).decode()


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("none.png", "folder.png"):
        with pytest.raises(BadData, match=rf"cannot read '.*{name}'"):
            Stored(tmp_path / name).decode()


@pytest.mark.parametrize("kind", ["pipe", "endless", "text", "huge"])
def test_a_file_that_is_no_picture_is_refused_before_it_is_read(tmp_path, deadline, kind):
    file = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    elif kind == "text":
        file.write_bytes(b"not a picture")
    else:
        with file.open("wb") as stream:
            stream.truncate((1 << 30) + 1)
    for read in (Stored(file).encoded, Stored(file).decode):
        with pytest.raises(BadData, match=r"a\.png'.*: ") as error:
            read()
        assert len(str(error.value).splitlines()) == 1


def test_a_file_that_breaks_off_at_its_end_is_taken_and_named_once(tmp_path, caplog):
    file = tmp_path / "late.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file.write_bytes(cv2.imencode(".png", noise)[1].tobytes()[:-700])
    images = [Stored(file, None, None).decode() for _ in range(2)]
    assert all(image.shape == (64, 64, 3) for image in images)
    np.testing.assert_array_equal(images[0][:57], noise[:57, :, ::-1])
    assert caplog.messages == [f"'{file}' is truncated in its last tenth; the decoded part is used"]


def test_a_sample_tells_where_its_image_is(tmp_path):
    corners = box(1, 2, 3, 4)
    of_file = Stored.of(Sample("a", tmp_path / "a.png", "train", box_xyxy=corners))
    assert (of_file.path, of_file.content, of_file.box_xyxy) == (tmp_path / "a.png", None, corners)
    of_bytes = Stored.of(Sample("a", tmp_path / "a.parquet", "train", content=b"bytes"))
    assert of_bytes.content == b"bytes"
    np.testing.assert_array_equal(Stored.of(Sample("a", tmp_path, "train", content=RAMP)), RAMP)
    np.testing.assert_array_equal(
        Stored.of(Sample("a", tmp_path, "train", content=RAMP, box_xyxy=corners)), RAMP[2:4, 1:3]
    )


def test_what_was_dropped_tells_where_its_image_is_if_it_has_one(tmp_path):
    assert Stored.of(Dropped("a", "no label")) is None
    assert Stored.of(Dropped("a", "no label", tmp_path / "a.png")).path == tmp_path / "a.png"
    assert Stored.of(Dropped("a", "no label", content=RAMP)) is RAMP


@pytest.mark.parametrize(
    ("corners", "rows", "columns"),
    [
        ((0, 0, 30, 20), slice(0, 20), slice(0, 30)),
        ((3, 2, 13, 9), slice(2, 9), slice(3, 13)),
        ((2.6, 1.6, 13.4, 9.4), slice(2, 9), slice(3, 13)),
        ((-5, -4, 10, 8), slice(0, 8), slice(0, 10)),
        ((20, 15, 99, 99), slice(15, 20), slice(20, 30)),
        ((-9, -9, 99, 99), slice(0, 20), slice(0, 30)),
    ],
)
def test_a_box_is_rounded_and_held_to_the_image(corners, rows, columns):
    np.testing.assert_array_equal(cut(RAMP, box(*corners), Path("a.png")), RAMP[rows, columns])
    np.testing.assert_array_equal(cut(COLOUR, box(*corners), Path("a.png")), COLOUR[rows, columns])


@pytest.mark.parametrize("corners", [(30, 0, 40, 10), (-20, 0, -1, 10), (0, 20, 5, 25), (5, 5, 5, 9), (9, 9, 5, 12)])
def test_a_box_with_nothing_of_the_image_is_named(corners):
    with pytest.raises(BadData, match=r"a\.png': the face box .* is outside the image of 30x20 pixels"):
        cut(RAMP, box(*corners), Path("a.png"))


def test_gray_is_the_luma_of_the_colours():
    naive = COLOUR @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(to_gray(COLOUR), naive, atol=0.51)
    assert to_gray(COLOUR).dtype == np.uint8
    assert to_gray(RAMP) is RAMP


def test_images_are_found_by_row_whether_kept_or_stored(stored):
    images = Images([RAMP, stored(COLOUR[..., ::-1])])
    assert len(images) == 2
    assert [image.shape for image in images] == [(20, 30), (20, 30, 3)]
    np.testing.assert_array_equal(images[0], RAMP)
    np.testing.assert_array_equal(images[1], COLOUR)
    np.testing.assert_array_equal(images[-1], COLOUR)
    with pytest.raises(IndexError):
        images[2]


def test_a_mask_or_row_numbers_select_images():
    flats = [np.full((2, 2), tone, dtype=np.uint8) for tone in range(4)]
    images = Images(flats)
    assert [int(image[0, 0]) for image in images[np.array([True, False, False, True])]] == [0, 3]
    assert [int(image[0, 0]) for image in images[np.array([3, 1, 1])]] == [3, 1, 1]
    assert len(images[np.array([], dtype=np.int64)]) == 0


def test_selecting_rows_decodes_nothing(tmp_path):
    images = Images([Stored(tmp_path / "none.png"), RAMP])
    part = images[np.array([0, 1])]
    with pytest.raises(BadData, match="cannot read"):
        part[0]
    np.testing.assert_array_equal(part[1], RAMP)


def test_a_photo_that_the_camera_held_sideways_stands_as_the_runtime_reads_it(tmp_path):
    from PIL import Image

    from affectlens.runtime.media import read_image

    file = tmp_path / "sideways.jpg"
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:10] = (200, 30, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(pixels).save(file, exif=exif, quality=95)
    upright = Stored(file).decode()
    assert upright.shape == (40, 20, 3)
    np.testing.assert_array_equal(upright, read_image(file))


def test_stored_images_are_decoded_side_by_side_in_their_order(tmp_path, caplog):
    entries = []
    for number in range(40):
        if number % 10 == 3:
            (tmp_path / f"{number}.png").write_bytes(b"no picture")
        else:
            cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((9, 7), number, dtype=np.uint8))
        entries.append(Stored(tmp_path / f"{number}.png") if number % 4 else np.full((9, 7), number, dtype=np.uint8))
    images = Images(entries)
    rows = list(range(39, -1, -1))
    bad = [number for number in range(40) if number % 10 == 3 and number % 4]
    for _ in range(2):
        found, places = decoded(images, rows)
        assert [int(image[0, 0]) for image in found] == [row for row in rows if row not in bad]
        assert [rows[place] for place in places] == [row for row in rows if row not in bad]
    assert len(caplog.records) == len(bad)
    chunks = list(in_chunks(images, 16))
    assert [len(rows) for _, rows in chunks] == [14, 15, 7]
    assert [int(image[0, 0]) for chunk, _ in chunks for image in chunk] == [i for i in range(40) if i not in bad]
