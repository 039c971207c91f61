import errno
import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime import media as module
from affectlens.runtime.media import PORTRAIT, decode_image, display_name, expand, read_image, read_picture, save_image

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


# Reading


def test_an_image_is_read_from_its_path_as_text_or_from_its_bytes(portrait):
    assert np.array_equal(read_image(str(PORTRAIT)), portrait)
    assert np.array_equal(read_image(PORTRAIT.read_bytes()), portrait)
    assert refused(read_image, b"") == Reason.EMPTY_FILE


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


def test_the_portrait_is_a_large_enough_photo():
    assert read_image(PORTRAIT).shape == (512, 512, 3)


def test_a_file_that_breaks_off_late_is_read_and_called_incomplete(tmp_path):
    whole = PORTRAIT.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: int(0.96 * len(whole))])
    picture = read_picture(tmp_path / "cut.jpg")
    assert picture.incomplete
    np.testing.assert_array_equal(picture.rgb[:400], read_image(PORTRAIT)[:400])
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert refused(read_image, tmp_path / "cut.jpg") == Reason.TRUNCATED


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
    with pytest.raises(BadSetting, match=rf"70000x8 pixels is too large for the format of '{name}'"):
        save_image(tmp_path / name, wide)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_is_too_large_for_jpeg_can_be_saved_as_png(tmp_path):
    save_image(tmp_path / "wide.png", np.zeros((8, 70_000, 3), dtype=np.uint8))
    assert read_image(tmp_path / "wide.png").shape == (8, 70_000, 3)


def test_saving_into_a_folder_that_does_not_exist_is_an_os_error(tmp_path, portrait):
    with pytest.raises(OSError, match="No such file"):
        save_image(tmp_path / "no" / "copy.jpg", portrait)


def test_a_picture_that_cannot_be_written_leaves_the_one_before(tmp_path, portrait, monkeypatch):
    file, write = tmp_path / "a.png", Path.write_bytes
    save_image(file, portrait)
    before = file.read_bytes()

    def half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        save_image(file, portrait // 2)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
