import io
import os
import socket
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime import media as module
from affectlens.runtime.media import MAX_PIXELS, PORTRAIT, decode_image, display_name, expand, read_image, save_image

BROKEN = {Reason.TRUNCATED, Reason.DAMAGED, Reason.NOT_AN_IMAGE, Reason.EMPTY_FILE}


def refused(call, argument):
    with pytest.raises(UnreadableMedia) as caught:
        call(argument)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.reason


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int)).mean()


def without_decoder(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the decoder was asked"))


def locked(path):
    """A file (by its suffix) or folder that nobody but root may open."""
    me = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    if path.suffix:
        path.write_bytes(PORTRAIT.read_bytes())
    else:
        path.mkdir()
        (path / "photo.jpg").write_bytes(PORTRAIT.read_bytes())
    path.chmod(0)
    os.seteuid(me)
    return path


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


def test_the_portrait_is_a_large_enough_photo():
    assert read_image(PORTRAIT).shape == (512, 512, 3)


# What cannot be decoded


@given(data=st.data())
def test_a_file_cut_anywhere_is_refused_with_a_reason(encoded, data):
    cut = data.draw(st.integers(0, len(encoded.data) - 1))
    assert refused(decode_image, encoded.data[:cut]) in BROKEN


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 4, 8, 11, 12, 20, 25, 26, 30])
def test_a_file_cut_within_its_header_is_refused_with_a_reason(encoded, kept):
    assert refused(decode_image, encoded.data[:kept]) in BROKEN


@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_a_file_that_lost_its_end_says_so(encoded, part):
    data = encoded.data[: int(part * len(encoded.data))]
    expected = {Reason.DAMAGED, Reason.TRUNCATED} if "tiff" in encoded.format else {Reason.TRUNCATED}
    assert refused(decode_image, data) in expected


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


@settings(max_examples=60)
@given(mutations=MUTATIONS, early=st.booleans())
def test_a_mutated_file_decodes_or_is_refused_with_a_reason(encoded, mutations, early):
    try:
        image, reason = decode_image(mutate(encoded.data, mutations, early)), None
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


def test_fifty_thousand_pixels_square_are_refused_without_decoding(boastful, announce, monkeypatch):
    without_decoder(monkeypatch)
    assert refused(decode_image, announce(boastful.data, 50_000, 50_000)) == Reason.TOO_MANY_PIXELS


def test_a_strip_of_too_many_pixels_is_refused_as_a_square_is(picture, encode, announce, monkeypatch):
    without_decoder(monkeypatch)
    assert refused(decode_image, announce(encode(picture, "PNG"), MAX_PIXELS + 1, 1)) == Reason.TOO_MANY_PIXELS


def test_as_many_pixels_as_allowed_reach_the_decoder(picture, encode, announce, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert refused(decode_image, announce(encode(picture, "PNG"), 10_000, 10_000)) == Reason.DAMAGED


def test_a_png_chunk_that_claims_gigabytes_is_refused_without_decoding(picture, encode, monkeypatch):
    data = encode(picture, "PNG")
    at = data.index(b"IDAT") - 4
    without_decoder(monkeypatch)
    assert refused(decode_image, data[:at] + struct.pack(">I", 0x7FFFFFF0) + data[at + 4 :]) in BROKEN


def test_an_error_of_the_decoder_is_damage(picture, encode, monkeypatch):
    def fail(*_):
        raise cv2.error("broken")

    monkeypatch.setattr(cv2, "imdecode", fail)
    assert refused(decode_image, encode(picture, "PNG")) == Reason.DAMAGED


# Reading


def test_text_with_the_name_of_a_photo_is_not_an_image(tmp_path):
    file = tmp_path / "notes.jpg"
    file.write_text("Dear diary")
    assert refused(read_image, file) == Reason.NOT_AN_IMAGE


def test_what_is_no_image_is_refused_by_its_first_bytes(tmp_path, monkeypatch):
    class Stream(io.BytesIO):
        def close(self):
            self.end = self.tell()

    stream = Stream(b"\0\0\0\x18ftypmp42" + bytes(100_000))
    (tmp_path / "video.jpg").write_bytes(stream.getvalue())
    monkeypatch.setattr(Path, "open", lambda path, mode: stream)
    assert refused(read_image, tmp_path / "video.jpg") == Reason.NOT_AN_IMAGE
    assert stream.end == 32


def test_a_file_of_every_format_is_read_whole(encoded, tmp_path):
    (tmp_path / "photo").write_bytes(encoded.data)
    np.testing.assert_array_equal(read_image(tmp_path / "photo"), decode_image(encoded.data))


def test_a_file_of_more_bytes_than_allowed_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    file = tmp_path / "large.jpg"
    with file.open("wb") as stream:
        stream.write(PORTRAIT.read_bytes())
        stream.truncate(1_000_001)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was opened"))
    assert refused(read_image, file) == Reason.TOO_LARGE


def test_a_file_of_as_many_bytes_as_allowed_is_read(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", PORTRAIT.stat().st_size)
    assert read_image(PORTRAIT).shape == (512, 512, 3)


def test_a_photo_with_any_other_name_is_read(tmp_path):
    file = tmp_path / "photo.txt"
    file.write_bytes(PORTRAIT.read_bytes())
    assert read_image(file).shape == (512, 512, 3)


def test_no_bytes_are_an_empty_file(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert refused(read_image, tmp_path / "empty.jpg") == Reason.EMPTY_FILE


def test_what_does_not_exist_is_missing(tmp_path):
    assert refused(read_image, tmp_path / "nowhere.jpg") == Reason.MISSING
    assert refused(read_image, tmp_path / "no" / "where.jpg") == Reason.MISSING


def test_a_broken_link_is_missing(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert refused(read_image, tmp_path / "link.jpg") == Reason.MISSING


def test_a_link_in_a_circle_is_not_a_file(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "link.jpg")
    assert refused(read_image, tmp_path / "link.jpg") == Reason.NOT_A_FILE


def test_a_path_through_a_file_is_not_a_file(tmp_path):
    (tmp_path / "file").touch()
    assert refused(read_image, tmp_path / "file" / "photo.jpg") in (Reason.NOT_A_FILE, Reason.MISSING)


def test_a_folder_is_not_a_file(tmp_path):
    assert refused(read_image, tmp_path) == Reason.NOT_A_FILE


def test_a_pipe_is_not_a_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refused(read_image, tmp_path / "pipe.jpg") == Reason.NOT_A_FILE


def test_a_socket_is_not_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert refused(read_image, Path("socket.jpg")) == Reason.NOT_A_FILE


def test_a_device_is_not_a_file():
    assert refused(read_image, Path("/dev/zero")) == Reason.NOT_A_FILE


def test_a_name_that_is_too_long_is_refused_with_a_reason(tmp_path):
    assert refused(read_image, tmp_path / ("x" * 300)) in (Reason.NOT_A_FILE, Reason.MISSING)


def test_a_name_with_a_nul_is_refused_with_a_reason():
    assert refused(read_image, Path("a\0b.jpg")) in (Reason.NOT_A_FILE, Reason.MISSING)


def test_a_file_that_may_not_be_read_has_no_permission(open_folder, without_privileges):
    assert refused(read_image, locked(open_folder / "photo.jpg")) == Reason.NO_PERMISSION


def test_a_file_in_a_folder_that_may_not_be_entered_has_no_permission(open_folder, without_privileges):
    assert refused(read_image, locked(open_folder / "private") / "photo.jpg") == Reason.NO_PERMISSION


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), Reason.NO_PERMISSION),
        (FileNotFoundError(2, "deleted meanwhile"), Reason.MISSING),
        (OSError(5, "Input/output error"), Reason.NOT_A_FILE),
        (OSError("an error without a number"), Reason.NOT_A_FILE),
    ],
)
@pytest.mark.parametrize("step", ["stat", "open"])
def test_an_error_of_the_file_system_becomes_its_reason(monkeypatch, step, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Path, step, fail)
    assert refused(read_image, PORTRAIT) == reason


def test_a_name_that_is_not_utf8_is_read_and_shown_with_a_replacement(tmp_path):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    try:
        file.write_bytes(PORTRAIT.read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert read_image(file).shape == (512, 512, 3)
    assert display_name(file) == f"{tmp_path}/caf\\xe9.jpg"
    assert [name for name, _ in expand(str(tmp_path))] == [display_name(file)]


def test_a_name_in_any_script_is_shown_as_it_is(tmp_path):
    assert display_name(tmp_path / "été 笑顔 😀.jpg") == f"{tmp_path}/été 笑顔 😀.jpg"


# Expanding


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder of (empty) images and other files; the current directory."""
    for name in ("b.jpg", "a.PNG", "c.txt", "z/1.tiff", "z/y/2.webp", "k/3.JPEG", "none/readme.md"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(source):
    return [name for name, _ in expand(source)]


def only_reason(source):
    ((name, error),) = expand(source)
    assert name == source
    return error.reason


def test_a_file_is_itself(album):
    assert list(expand("b.jpg")) == [("b.jpg", Path("b.jpg"))]


def test_a_file_that_does_not_exist_is_itself_so_that_it_gets_a_row(album):
    assert list(expand("nowhere.jpg")) == [("nowhere.jpg", Path("nowhere.jpg"))]


def test_a_folder_gives_its_images_and_those_below_sorted(album):
    assert names(".") == ["a.PNG", "b.jpg", "k/3.JPEG", "z/1.tiff", "z/y/2.webp"]
    assert names("z/") == ["z/1.tiff", "z/y/2.webp"]


def test_annotated_pictures_in_a_folder_are_left_out(album):
    for name in ("b.faces.jpg", "z/1-2.faces.jpg", "surfaces.jpg"):
        (album / name).touch()
    assert names(".") == ["a.PNG", "b.jpg", "surfaces.jpg", "k/3.JPEG", "z/1.tiff", "z/y/2.webp"]


def test_an_annotated_picture_that_is_named_is_itself(album):
    (album / "b.faces.jpg").touch()
    assert list(expand("b.faces.jpg")) == [("b.faces.jpg", Path("b.faces.jpg"))]


def test_a_folder_of_nothing_but_annotated_pictures_has_no_images(album):
    (album / "none" / "b.faces.jpg").touch()
    assert only_reason("none") == Reason.NO_IMAGES


def test_a_folder_without_images_says_so(album):
    assert only_reason("none") == Reason.NO_IMAGES


def test_a_glob_gives_what_it_matches_sorted(album):
    assert names("*.[jP]*") == ["a.PNG", "b.jpg"]


def test_a_glob_reaches_below_with_two_stars(album):
    assert names("**/*.tiff") == ["z/1.tiff"]


def test_a_glob_that_matches_a_folder_searches_it(album):
    assert names("[z]*") == ["z/1.tiff", "z/y/2.webp"]


def test_a_glob_without_match_is_missing(album):
    assert only_reason("*.heic") == Reason.MISSING


def test_a_file_whose_name_looks_like_a_glob_is_itself(album):
    (album / "a[1].jpg").touch()
    (album / "a1.jpg").touch()
    assert list(expand("a[1].jpg")) == [("a[1].jpg", Path("a[1].jpg"))]


def test_a_name_that_is_too_long_is_itself_so_that_the_others_are_not_lost(album):
    assert names("x" * 300) == ["x" * 300]
    assert len(names("*" * 300)) >= 1


def test_a_folder_that_may_not_be_listed_gives_a_reason_and_the_rest_is_found(open_folder, without_privileges):
    private = locked(open_folder / "private")
    public = locked(open_folder / "public.jpg")
    items = dict(expand(str(open_folder)))
    assert items[str(private)].reason == Reason.NO_PERMISSION
    assert items[str(public)] == public


def test_a_file_in_a_folder_that_may_not_be_entered_is_itself(open_folder, without_privileges):
    file = locked(open_folder / "private") / "photo.jpg"
    assert names(str(file)) == [str(file)]


@pytest.mark.parametrize("suffix", sorted(module.SUFFIXES))
def test_every_known_suffix_is_found_in_any_case(tmp_path, suffix):
    (tmp_path / f"photo{suffix}").touch()
    (tmp_path / f"PHOTO2{suffix.upper()}").touch()
    assert len(names(str(tmp_path))) == 2


# Saving


def test_a_saved_jpeg_reads_back_nearly_the_same(tmp_path, portrait):
    save_image(tmp_path / "copy.jpg", portrait)
    assert difference(read_image(tmp_path / "copy.jpg"), portrait) < 3


def test_a_saved_jpeg_carries_no_metadata(tmp_path, portrait):
    save_image(tmp_path / "copy.jpg", portrait)
    with Image.open(tmp_path / "copy.jpg") as copy:
        assert not copy.getexif()


@pytest.mark.parametrize(
    ("name", "format", "exact"),
    [
        ("copy.png", "PNG", True),
        ("copy.PNG", "PNG", True),
        ("copy.bmp", "BMP", True),
        ("copy.tiff", "TIFF", True),
        ("copy.webp", "WEBP", False),
        ("copy.jpeg", "JPEG", False),
        ("copy.png.faces.jpg", "JPEG", False),
    ],
)
def test_the_suffix_decides_the_format(tmp_path, portrait, name, format, exact):
    save_image(tmp_path / name, portrait)
    with Image.open(tmp_path / name) as copy:
        assert copy.format == format
    assert difference(read_image(tmp_path / name), portrait) < (1e-9 if exact else 4)


@pytest.mark.parametrize("name", ["copy.xyz", "copy", "copy.", ".jpg"])
def test_a_name_that_says_no_format_is_refused_and_nothing_written(tmp_path, portrait, name):
    with pytest.raises(BadSetting, match=r"cannot write pictures .*\.jpg or \.png"):
        save_image(tmp_path / name, portrait)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wide.jpg", "wide.webp"])
def test_a_picture_that_is_too_large_for_its_format_is_refused_and_nothing_written(tmp_path, name):
    wide = np.zeros((8, 70_000, 3), dtype=np.uint8)
    with pytest.raises(BadSetting, match=rf"70000x8 pixels does not fit into '{name}'"):
        save_image(tmp_path / name, wide)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_is_too_large_for_jpeg_can_be_saved_as_png(tmp_path):
    save_image(tmp_path / "wide.png", np.zeros((8, 70_000, 3), dtype=np.uint8))
    assert read_image(tmp_path / "wide.png").shape == (8, 70_000, 3)


def test_saving_into_a_folder_that_does_not_exist_is_an_os_error(tmp_path, portrait):
    with pytest.raises(OSError, match="No such file"):
        save_image(tmp_path / "no" / "copy.jpg", portrait)
