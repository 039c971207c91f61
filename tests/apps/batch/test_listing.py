import contextlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from affectlens.apps.batch import listing
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import list_items
from affectlens.apps.batch.reading import Reader
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    found = MemoryFileSystem()
    found.store.clear()
    yield found
    found.store.clear()


def names(source):
    return [item.name for item in list_items(str(source))]


def tar_of(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def table_of(columns):
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, row_group_size=2)
    return stream.getvalue()


def test_a_folder_is_searched_and_copies_are_left_out(photos):
    found = {item.name.removeprefix(f"{photos}/"): item for item in list_items(str(photos))}
    assert set(found) == {
        *(f"{number}.jpg" for number in range(0, 10, 2)),
        *(f"more/{number}.jpg" for number in range(1, 10, 2)),
        "cut.jpg",
        "empty.png",
    }
    assert not any(item.video or item.within for item in found.values())


def test_a_glob_and_a_list_name_the_same_files(photos, tmp_path):
    wanted = names(photos / "*.jpg")
    assert len(wanted) == 7  # the copy too, since it is named
    lines = ["photos/0.jpg", "", f"{photos}/more", "photos/nothing.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    found = list(list_items(str(tmp_path / "list.txt")))
    assert [item.name for item in found] == [
        f"{photos}/0.jpg",
        *(f"{photos}/more/{number}.jpg" for number in range(1, 10, 2)),
        f"{photos}/nothing.jpg",
    ]
    assert [item.fault for item in found if item.fault] == [(Reason.MISSING, "no such file or folder")]


def test_a_url_is_searched_like_a_folder(memory, jpeg):
    for path in ("/in/a.jpg", "/in/b/c.png", "/in/b/film.MP4", "/in/b/notes.md", "/in/a.faces.jpg"):
        memory.pipe(path, jpeg)
    assert names("memory://in") == ["memory:///in/a.jpg", "memory:///in/b/c.png", "memory:///in/b/film.MP4"]
    assert [item.video for item in list_items("memory://in")] == [False, False, True]
    assert names("memory://in/*/c.*") == ["memory:///in/b/c.png"]
    assert names("memory://in/a.jpg") == ["memory:///in/a.jpg"]


@pytest.mark.parametrize("where", ["local", "file", "memory"])
@pytest.mark.parametrize("packed", ["", "gz", "bz2", "xz"])
def test_photos_and_videos_in_a_tar_are_found_by_their_place(where, packed, memory, tmp_path, jpeg):
    members = {"001.jpg": jpeg, "001.json": b"{}", "002.jpg": jpeg[::-1], "002.mp4": b"film", "003.png": b""}
    content = tar_of(members, f"w:{packed}")
    file = f"shard.tar.{packed}".rstrip(".")
    url = {"local": str(tmp_path / file), "file": f"file://{tmp_path}/{file}", "memory": f"memory:///{file}"}[where]
    memory.pipe(f"/{file}", content)
    (tmp_path / file).write_bytes(content)
    items = list(list_items(url))
    named = url.removeprefix("file://")
    assert [item.name for item in items] == [f"{named}#{name}" for name in members if not name.endswith("json")]
    reader = Reader()
    assert [reader.photo(item) for item in items] == [jpeg, jpeg[::-1], b"film", b""]
    assert reader.video(items[2]).read() == b"film"


@pytest.mark.parametrize("behind", [0, 300, 612], ids=["boundary", "header", "data"])
def test_a_damaged_tar_gives_what_stands_before_the_damage(tmp_path, jpeg, behind):
    content = tar_of({f"{number}.jpg": jpeg for number in range(4)})
    (tmp_path / "half.tar").write_bytes(content[: 512 + -(-len(jpeg) // 512) * 512 + behind])
    (tmp_path / "none.tar").write_bytes(b"x" * 2000)
    items = list(list_items(f"{tmp_path}/*.tar"))
    faults = [(item.name.rpartition("/")[2], item.fault[0]) for item in items if item.fault]
    assert faults == [("half.tar", Reason.DAMAGED), ("none.tar", Reason.DAMAGED)]
    assert items[0].name.endswith("half.tar#0.jpg")
    reader = Reader()
    assert reader.photo(items[0]) == jpeg


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz"])
def test_a_packed_tar_that_is_cut_off_is_truncated(packed, tmp_path, jpeg):
    content = tar_of({f"{number}.jpg": jpeg for number in range(4)}, f"w:{packed}")
    (tmp_path / f"half.tar.{packed}").write_bytes(content[: len(content) // 2])
    (tmp_path / f"none.tar.{packed}").write_bytes(b"x" * 2000)
    faults = [item.fault[0] for item in list_items(f"{tmp_path}/*.tar.*") if item.fault]
    assert len(faults) == 2
    assert faults[0] == Reason.TRUNCATED
    assert faults[1] in {Reason.DAMAGED, Reason.NOT_A_FILE}


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz"])
def test_a_packed_tar_that_is_cut_off_later_has_pictures_that_are_truncated(packed, tmp_path, jpeg):
    content = tar_of({f"{number}.jpg": jpeg for number in range(4)}, f"w:{packed}")
    (tmp_path / f"a.tar.{packed}").write_bytes(content)
    items = list(list_items(f"{tmp_path}/a.tar.{packed}"))
    (tmp_path / f"a.tar.{packed}").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableMedia) as refused:
        Reader().photo(items[3])
    assert refused.value.reason == Reason.TRUNCATED


def with_size(content, field):
    """A tar file whose last member states another size, twelve bytes of its header."""
    data = bytearray(content)
    at = max(start for start in range(0, len(data), 512) if data[start + 257 : start + 262] == b"ustar")
    data[at + 124 : at + 136] = field
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def with_pax_size(content, size):
    """A tar file whose member b.jpg has this size in an extended header."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in (("a.jpg", {}), ("b.jpg", {"size": size})):
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(content), headers
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


SIZES = {
    "-1": lambda jpeg: with_size(tar_of({"a.jpg": jpeg, "b.jpg": jpeg}), b"\xff" * 12),
    "back to its own header": lambda jpeg: with_size(
        tar_of({"a.jpg": jpeg, "b.jpg": jpeg}), (2**96 - 1024).to_bytes(12, "big")
    ),
    "back, of a text": lambda jpeg: with_size(
        tar_of({"a.jpg": jpeg, "b.txt": jpeg}), (2**96 - 1024).to_bytes(12, "big")
    ),
    "2**87": lambda jpeg: with_size(tar_of({"a.jpg": jpeg, "b.jpg": jpeg}), b"\x80" + b"\xff" * 11),
    "pax, 10**20": lambda jpeg: with_pax_size(jpeg, "1" + "0" * 20),
    "pax, -1": lambda jpeg: with_pax_size(jpeg, "-1"),
}


@pytest.mark.parametrize("make", SIZES.values(), ids=SIZES)
def test_a_tar_with_an_absurd_size_is_a_fault_and_what_comes_before_and_after_it_is_read(
    make, tmp_path, jpeg, deadline
):
    (tmp_path / "1.tar").write_bytes(make(jpeg))
    (tmp_path / "2.tar").write_bytes(tar_of({"c.jpg": jpeg}))
    items, read, reader = list(list_items(f"{tmp_path}/*.tar")), [], Reader()
    for item in items:
        with contextlib.suppress(UnreadableMedia):
            read.append((item.name.rpartition("/")[2], len(reader.photo(item))))
    assert read == [("1.tar#a.jpg", len(jpeg)), ("2.tar#c.jpg", len(jpeg))]
    assert len(items) > 2


@pytest.mark.parametrize("place", [(0, -1), (-5, 10), (10**20, 10), (0, 10**20)])
def test_an_absurd_place_in_a_tar_is_refused(place, tmp_path, jpeg):
    (tmp_path / "a.tar").write_bytes(tar_of({"a.jpg": jpeg}))
    with pytest.raises(UnreadableMedia):
        Reader().photo(Item("a", str(tmp_path / "a.tar"), False, "tar", place))


def test_a_tar_whose_extended_header_is_huge_is_not_read_into_memory(tmp_path, jpeg):
    header = tarfile.TarInfo("./PaxHeaders/a.jpg")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    file = tmp_path / "a.tar"
    with file.open("wb") as stream:
        stream.write(header.tobuf(tarfile.PAX_FORMAT))
        stream.truncate(4 << 30)
    tracemalloc.start()
    with pytest.raises(BadSetting, match="a header of the tar file states a size of 3,221,225,472 bytes"):
        list_items(str(file))
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.parquet", "a.txt"])
@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "loop"])
def test_what_is_no_regular_file_is_a_fault(name, kind, tmp_path, jpeg, deadline):
    file = tmp_path / name
    {
        "pipe": lambda: os.mkfifo(file),
        "endless": lambda: file.symlink_to("/dev/zero"),
        "folder": file.mkdir,
        "loop": lambda: file.symlink_to(file.name),
    }[kind]()
    with pytest.raises(BadSetting, match=r"has no photos or videos"):
        list_items(str(file))


def test_a_line_of_a_list_that_is_no_name_is_a_fault_of_that_line(tmp_path, jpeg, deadline):
    (tmp_path / "good.jpg").write_bytes(jpeg)
    lines = [
        "good.jpg",
        "[" * 100_000,
        "[/" * 2000,
        "a\0b",
        "x" * 5000,
        "[" * 4000,
        "*a" * 2000,
        "**/" * 1300,
        "./good.jpg",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    items = list(list_items(str(tmp_path / "list.txt")))
    assert [item.fault is None for item in items] == [line.endswith("good.jpg") for line in lines]
    assert (items[1].fault, len(items[1].name) < 10_000) == ((Reason.NOT_A_FILE, "the name is too long"), True)


def test_links_in_a_tar_are_told_and_members_of_one_name_stay_apart(tmp_path, jpeg):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind, size in ((tarfile.REGTYPE, len(jpeg)), (tarfile.REGTYPE, len(jpeg)), (tarfile.LNKTYPE, 0)):
            entry = tarfile.TarInfo("a.jpg" if size else "b.jpg")
            entry.size, entry.type, entry.linkname = size, kind, "a.jpg"
            archive.addfile(entry, io.BytesIO(jpeg) if size else None)
    first, second, link = list_items(str(tmp_path / "a.tar"))
    assert first.name == f"{tmp_path}/a.tar#a.jpg"
    assert second.name == f"{tmp_path}/a.tar#a.jpg@{second.place[0]}"
    assert (link.name, link.fault) == (f"{tmp_path}/a.tar#b.jpg", (Reason.NOT_A_FILE, "a link to 'a.jpg'"))


def test_a_tar_that_became_shorter_has_pictures_that_are_truncated(tmp_path, jpeg):
    (tmp_path / "a.tar").write_bytes(tar_of({"0.jpg": jpeg}))
    (item,) = list_items(str(tmp_path / "a.tar"))
    (tmp_path / "a.tar").write_bytes(tar_of({"0.jpg": jpeg})[:700])
    with pytest.raises(UnreadableMedia, match=r"truncated: the tar file ends before"):
        Reader().photo(item)


@pytest.mark.parametrize("structured", [False, True])
def test_pictures_in_the_cells_of_parquet(memory, jpeg, structured):
    pictures = [jpeg, jpeg[::-1], None, b"x", b"y"]
    cells = [{"bytes": cell, "path": cell and "p.jpg"} for cell in pictures] if structured else pictures
    memory.pipe("/faces.parquet", table_of({"label": range(5), "image": cells}))
    items = list(list_items("memory:///faces.parquet"))
    assert [item.name for item in items] == [f"memory:///faces.parquet#{row}" for row in range(5)]
    assert [item.place for item in items] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    reader = Reader()
    assert [reader.photo(items[row]) for row in (4, 0, 1, 3)] == [b"y", jpeg, jpeg[::-1], b"x"]
    with pytest.raises(UnreadableMedia, match="empty_file: the cell is empty"):
        reader.photo(items[2])


def test_cells_that_a_dictionary_makes_large_are_decoded_one_by_one(tmp_path, monkeypatch):
    sizes = []
    iter_batches = parquet.ParquetFile.iter_batches

    def watched(*arguments, **options):
        for batch in iter_batches(*arguments, **options):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watched)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 16, pa.int32()), pa.array([bytes(1_000_000)]))
    parquet.write_table(pa.table({"image": column}), tmp_path / "a.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 2000
    reader = Reader()
    assert {len(reader.photo(item)) for item in list_items(str(tmp_path / "a.parquet"))} == {1_000_000}
    assert sizes == [1] * 16


def test_a_cell_that_names_a_path_instead_of_bytes_is_read_there(jpeg, tmp_path):
    (tmp_path / "p.jpg").write_bytes(jpeg)
    cells = [{"bytes": None, "path": "p.jpg"}, {"bytes": b"x", "path": "p.jpg"}, {"bytes": None, "path": None}]
    (tmp_path / "faces.parquet").write_bytes(table_of({"image": cells}))
    items = list(list_items(str(tmp_path / "faces.parquet")))
    reader = Reader()
    assert [reader.photo(item) for item in items[:2]] == [jpeg, b"x"]
    with pytest.raises(UnreadableMedia, match="empty_file: the cell is empty"):
        reader.photo(items[2])


@pytest.mark.parametrize("kind", ["string", "dictionary", "view"])
def test_a_column_of_paths_is_a_list(kind, photos, tmp_path):
    paths = ["photos/0.jpg", None, "photos/more/1.jpg", "photos/nothing.jpg"]
    types = {"string": pa.string(), "dictionary": pa.dictionary(pa.int32(), pa.string()), "view": pa.string_view()}
    (tmp_path / "index.parquet").write_bytes(table_of({"path": pa.array(paths, types[kind])}))
    found = list(list_items(str(tmp_path / "index.parquet")))
    assert [item.name.removeprefix(f"{tmp_path}/") for item in found] == [path for path in paths if path]


def test_parquet_without_pictures_is_refused_with_its_columns(tmp_path):
    (tmp_path / "other.parquet").write_bytes(table_of({"age": [1], "image": [3.5]}))
    with pytest.raises(BadSetting, match=r"has no column of images .* its columns are age \(int64\), image \(double\)"):
        list_items(str(tmp_path / "other.parquet"))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nowhere", "no such file"),
        ("*.nothing", "no file matches"),
        ("memory://nothing/*.jpg", "no file matches"),
        ("camera:0", "without an end"),
        ("nonsense://bucket/x", "cannot reach .*: Protocol not known: nonsense"),
        ("empty", "contains no images or videos"),
    ],
)
def test_where_nothing_is_it_says_so(source, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSetting, match=why):
        list_items(source)


def test_where_only_files_of_photos_are_it_says_how_to_name_them(memory, jpeg, tmp_path):
    memory.pipe("/in/a.tar", tar_of({"a.jpg": jpeg}))
    (tmp_path / "faces.parquet").write_bytes(table_of({"image": [jpeg]}))
    for source, glob in (("memory://in/", "memory://in/*.tar"), (str(tmp_path), f"{tmp_path}/*.parquet")):
        with pytest.raises(
            BadSetting, match=re.escape(f"; to read those inside its tar or Parquet files, use '{glob}'")
        ):
            list_items(source)
        assert len(names(glob)) == 1


def test_brackets_in_the_name_of_a_file_in_a_store_are_no_glob(memory, jpeg):
    memory.pipe("/in/a[1]*.jpg", jpeg)
    memory.pipe("/in/b1.jpg", jpeg)
    assert names("memory://in/a[1]*.jpg") == ["memory:///in/a[1]*.jpg"]
    assert names("memory://in/[b]*.jpg") == ["memory:///in/b1.jpg"]


def test_a_url_vanishes_or_is_too_large(memory, jpeg, monkeypatch):
    memory.pipe("/a.jpg", jpeg)
    (item,) = list_items("memory:///a.jpg")
    reader = Reader()
    assert reader.photo(item) == jpeg
    monkeypatch.setattr("affectlens.apps.batch.reading.MAX_BYTES", 10)
    with pytest.raises(UnreadableMedia, match="too_large: the file has 11 bytes; the limit is 10"):
        reader.photo(item)
    memory.rm("/a.jpg")
    with pytest.raises(UnreadableMedia, match="missing"):
        reader.photo(item)


def test_an_item_comes_back_from_a_line():
    for item in (
        Item("a", "/a\udcff.jpg"),
        Item("b#c", "s3://b", True, "tar", (512, 99)),
        Item("d", "d", fault=(Reason.NO_PERMISSION, "no permission to list the folder")),
    ):
        assert Item.of(item.name, item.url, item.where, item.fault_json) == item


def test_addresses_are_told_from_paths():
    assert [listing.is_url(one) for one in ("s3://a/b", "zip://a::file://b", "/a://b", "c:\\x", "a b.jpg")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_urls_are_absolute_and_a_path_written_in_several_ways_is_one(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = list_items("photos/0.jpg")
    assert (found.name, found.url) == ("photos/0.jpg", f"{photos}/0.jpg")
    for other in (f"{photos}/more/../0.jpg", f"file://{photos}/0.jpg", "./photos//0.jpg", f"file://{photos}/0.jp*"):
        assert [item.url for item in list_items(other)] == [found.url]


def test_odd_names_are_files(jpeg, tmp_path, monkeypatch):
    for name in ("img::1.jpg", "camera:x.jpg", "a b#2.jpg", "[x].jpg"):
        (tmp_path / name).write_bytes(jpeg)
    (tmp_path / "list.txt").write_text("img::1.jpg\n")
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    for source in (".", "list.txt", "img::1.jpg"):
        found = list(list_items(source))
        assert len(found) == (4 if source == "." else 1)
        for item in found:
            assert reader.photo(item).read_bytes() == jpeg


def test_what_is_wrong_with_an_entry_of_a_list_costs_that_entry(jpeg, tmp_path):
    (tmp_path / "0.jpg").write_bytes(jpeg)
    lines = b"\xef\xbb\xbf0.jpg\nrtsp://door/1\nnone://a/b.jpg\n\xff*.jpg\n0.jpg\n"
    (tmp_path / "list.txt").write_bytes(lines)
    good, *bad, again = list_items(str(tmp_path / "list.txt"))
    assert good == again == Item(f"{tmp_path}/0.jpg", f"{tmp_path}/0.jpg")
    assert [item.fault[0] for item in bad] == [Reason.MISSING] * 3
    assert [item.name for item in bad] == ["rtsp://door/1", "none://a/b.jpg", f"{tmp_path}/\\xff*.jpg"]
    assert "has no end" in bad[0].fault[1]
    (tmp_path / "list.txt").write_text("camera:0\n")
    (alone,) = list_items(str(tmp_path / "list.txt"))
    assert (alone.name, alone.fault[0]) == ("camera:0", Reason.MISSING)
    assert "has no end" in alone.fault[1]
    assert "Protocol not known: none" in bad[1].fault[1]


def test_folders_that_match_a_glob_are_searched_at_a_url_too(memory, jpeg):
    for path in ("/in/1/a.jpg", "/in/2/b.jpg", "/in/c.jpg"):
        memory.pipe(path, jpeg)
    assert names("memory://in/*") == ["memory:///in/1/a.jpg", "memory:///in/2/b.jpg", "memory:///in/c.jpg"]


def test_what_is_chained_in_a_url_stays_with_what_it_finds(jpeg, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", jpeg)
        archive.writestr("notes.txt", "no photo")
    (found,) = list_items(f"zip://*.jpg::file://{tmp_path}/x.zip")
    assert found.url == f"zip://a.jpg::file://{tmp_path}/x.zip"
    assert Reader().photo(found) == jpeg


def test_a_tgz_is_a_tar(jpeg, tmp_path):
    (tmp_path / "x.tgz").write_bytes(tar_of({"a.jpg": jpeg}, "w:gz"))
    assert names(tmp_path / "x.tgz") == [f"{tmp_path}/x.tgz#a.jpg"]


LARGE = """
import re, sys
from pathlib import Path
from affectlens.apps.batch.listing import list_items
from affectlens.apps.batch.reading import Reader

items, reader = list(list_items(sys.argv[1])), Reader()
sizes = [len(reader.photo(items[number])) for number in (0, 2, 290, 3)]
print(sizes, int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_a_row_group_of_pictures_is_not_read_at_once(tmp_path):
    numbers = np.random.default_rng(0)
    pictures = [numbers.bytes(2**20 + number) for number in range(300)]
    parquet.write_table(
        pa.table({"image": pictures}), tmp_path / "large.parquet", compression="none", write_batch_size=1
    )
    command = [sys.executable, "-c", LARGE, tmp_path / "large.parquet"]
    sizes, _, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition(" ")
    assert sizes == str([2**20 + number for number in (0, 2, 290, 3)])
    assert int(megabytes) < 200
