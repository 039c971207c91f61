import errno
import os
import re
import shutil
from pathlib import Path

import pytest

import affectlens
from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.files import (
    atomic_copy,
    atomic_write,
    limited_lines,
    open_regular,
    open_text,
    output_file,
    own_folder,
    partial,
    read_bytes,
    read_json,
    read_text,
    real_path,
    remove_own,
)


@pytest.fixture
def full_disk(monkeypatch):
    """The disk takes half of what is written to it."""
    write = Path.write_bytes

    def half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)


@pytest.mark.parametrize(
    ("content", "written"), [("naïve\n", b"na\xc3\xafve\n"), (b"\x00\xff\r\n", b"\x00\xff\r\n"), ("", b"")]
)
def test_text_is_written_as_utf8_and_bytes_as_they_are(tmp_path, content, written):
    atomic_write(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_there_before_is_replaced(tmp_path):
    (tmp_path / "file").write_text("a longer text from before")
    atomic_write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"


def test_on_a_full_disk_what_was_there_before_stays_whole(tmp_path, full_disk):
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="No space left") as error:
        atomic_write(tmp_path / "file", "something new")
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / "file").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_on_a_full_disk_no_part_of_a_new_file_appears(tmp_path, full_disk):
    with pytest.raises(OSError, match="No space left"):
        atomic_write(tmp_path / "file", b"something new")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_no_part_either(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_until_the_file_is_whole_readers_see_the_old_one(tmp_path, monkeypatch):
    seen = []
    replace = Path.replace

    def look(path, target):
        seen.append((target.read_text(), path.read_text(), path.parent == target.parent))
        return replace(path, target)

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(Path, "replace", look)
    atomic_write(tmp_path / "file", "new")
    assert seen == [("old", "new", True)]


def test_files_of_one_stem_do_not_meet_under_their_temporary_names(tmp_path, monkeypatch):
    names = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: names.append(path.name) or replace(path, target))
    atomic_write(tmp_path / "report.json", "1")
    atomic_write(tmp_path / "report.html", "2")
    assert len(set(names)) == 2


def test_a_folder_that_does_not_exist_is_an_os_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        atomic_write(tmp_path / "nowhere" / "file", "new")


def test_a_folder_for_temporary_files_is_made_and_found_again(tmp_path):
    assert own_folder(tmp_path / "a" / "b").is_dir()
    assert own_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"


@pytest.mark.parametrize("kind", ["link", "broken link", "file"])
def test_what_is_no_folder_of_its_own_is_refused(tmp_path, kind):
    (tmp_path / "target").mkdir()
    if kind == "file":
        (tmp_path / "own").write_text("mine")
    else:
        (tmp_path / "own").symlink_to(tmp_path / ("target" if kind == "link" else "nowhere"))
    with pytest.raises(BadSetting, match="must be a folder, not a link or a file"):
        own_folder(tmp_path / "own")


def test_only_regular_files_with_such_names_are_deleted(tmp_path):
    (tmp_path / "target").write_text("mine")
    own = own_folder(tmp_path / "own")
    (own / "1.tmp").write_text("")
    (own / "2.tmp").mkdir()
    (own / "3.tmp").symlink_to(tmp_path / "target")
    (own / "4.tmp.txt").write_text("")
    remove_own(own, r"\d\.tmp")
    assert sorted(file.name for file in own.iterdir()) == ["2.tmp", "3.tmp", "4.tmp.txt"]
    assert (tmp_path / "target").read_text() == "mine"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with partial(tmp_path / "file") as first, partial(tmp_path / "file") as second:
        first.write_text("first")
        second.write_text("second")
        atomic_write(tmp_path / "file", "third")
    assert (tmp_path / "file").read_text() == "first"  # it ended last
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_with_a_likely_name_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "file.partial").symlink_to(tmp_path / "victim")
    atomic_write(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda to: steps.append(os.readlink(f"/proc/self/fd/{to}")) or fsync(to))
    monkeypatch.setattr(Path, "replace", lambda path, target: steps.append("replace") or replace(path, target))
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell what is synchronised")
    atomic_write(tmp_path / "file", "new")
    written, renamed, folder = steps
    assert (Path(written).parent, Path(written).suffix) == (tmp_path, ".partial")
    assert (renamed, folder) == ("replace", str(tmp_path))


def test_the_longest_names_can_be_written(tmp_path):
    name = "名" * 85  # 255 bytes
    atomic_write(tmp_path / name, "new")
    assert (tmp_path / name).read_text() == "new"


def test_a_copy_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "source").write_text("new")
    (tmp_path / "file").write_text("before")

    def half(source, target):
        target.write_text("n")
        raise OSError(errno.EIO, "Input/output error", str(source))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", half)
        with pytest.raises(OSError, match="Input/output"):
            atomic_copy(tmp_path / "source", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "before"
    atomic_copy(tmp_path / "source", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"


def test_links_and_devices_are_written_to_as_they_are(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for file in (tmp_path / "link", Path(os.devnull)):
        with output_file(file) as unfinished:
            assert unfinished == file
            unfinished.write_text("new")
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert not Path(os.devnull).is_file()


def test_the_real_path_follows_links_and_stays_where_they_lead_nowhere(tmp_path):
    (tmp_path / "to").symlink_to(tmp_path / "file")
    assert real_path(tmp_path / "to") == real_path(tmp_path) / "file"
    (tmp_path / "loop").symlink_to("loop")
    assert real_path(tmp_path / "loop").name == "loop"
    assert real_path("a\0b").is_absolute()


SPECIAL = {
    "pipe": (os.mkfifo, "not a regular file"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "not a regular file"),
    "folder": (os.mkdir, "Is a directory"),
    "link to itself": (lambda file: file.symlink_to(file.name), "symbolic links"),
    "nothing": (lambda file: None, "No such file"),
}


@pytest.mark.parametrize(("make", "said"), SPECIAL.values(), ids=SPECIAL)
def test_only_regular_files_are_opened(tmp_path, deadline, make, said):
    make(tmp_path / "file")
    for read in (open_regular, open_text, read_bytes, read_text, lambda file: read_json(file, dict)):
        with pytest.raises(OSError, match=said) as error:
            read(tmp_path / "file")
        assert error.value.filename == str(tmp_path / "file")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert (read_bytes(tmp_path / "file", 5), read_text(tmp_path / "file", 5)) == (b"12345", "12345")
    for read in (open_regular, read_bytes, read_text):
        with pytest.raises(OSError, match="the file has 5 bytes; the limit is 4") as error:
            read(tmp_path / "file", 4)
        assert error.value.errno == errno.EFBIG


def test_lines_are_read_up_to_a_limit(tmp_path):
    (tmp_path / "file").write_text("12345\n1234\n123456\n")
    with open_text(tmp_path / "file") as stream:
        lines = limited_lines(stream, 6)
        assert [next(lines), next(lines)] == ["12345\n", "1234\n"]
        with pytest.raises(BadData, match="a line has more than 6 characters"):
            next(lines)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b"\xff\xfe", b"[]", b"null", b'"x"', bytes(1000)],
)
def test_json_that_is_damaged_or_something_else_is_one_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BadModelFile, match=r"^'.*a\.json' is damaged: .") as error:
        read_json(tmp_path / "a.json", dict)
    assert "\n" not in str(error.value)


def test_json_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1]}')
    assert read_json(tmp_path / "a.json", dict) == {"a": [1]}


ALLOWED = {
    "runtime/environment.py": "/proc/cpuinfo",
    "training/precision.py": "/proc/cpuinfo",
    "evaluation/report.py": "a template of the package",
    "faces/detectors/_rewriting.py": "a network whose digest was compared",
    "apps/batch/on_ray.py": "a file of its own",
}
"""Files that read others without a check, and what they read."""


def test_files_that_come_from_anywhere_are_read_by_this_module_only():
    sources = Path(affectlens.__file__).parent
    bare = re.compile(r"\.read_(text|bytes)\(|\bjson\.load\(|\bcsv\.(reader|DictReader)\(")
    found = {
        file.relative_to(sources).as_posix()
        for file in sources.rglob("*.py")
        if bare.search(file.read_text(encoding="utf-8"))
    }
    assert found - {"core/csv_file.py"} == set(ALLOWED)
