"""A batch whose files are damaged says so in one line, when it goes on and in its summary, and deletes nothing."""

import contextlib
import random
import shutil
import sqlite3

import pytest

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.run import run
from affectlens.apps.batch.work import UNFINISHED, BatchSettings
from affectlens.core.errors import AffectLensError, BadData, BadSetting
from affectlens.runtime.batch_folder import NAME, shards_of, states_in


def resume(folder):
    return run(str(folder.parent / "photos"), folder, BatchSettings(), workers=0, max_rows=5, resume=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, jpeg):
    """The folder of a batch of twelve photos in three shards, which no test changes."""
    photos = tmp_path_factory.mktemp("whole") / "photos"
    photos.mkdir()
    for number in range(12):
        (photos / f"{number}.jpg").write_bytes(jpeg if number < 2 else jpeg[:999])
    run(str(photos), photos.parent / "out", BatchSettings(), workers=0, max_rows=5)
    return photos.parent


@pytest.fixture
def out(whole, tmp_path):
    """A copy of that folder, which takes itself for the original."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "out", f"update settings set value = json_quote('{tmp_path}/photos') where key = 'source'")
    return tmp_path / "out"


def change(folder, *statements):
    base = sqlite3.connect(folder / NAME)
    for statement in statements:
        base.execute(statement)
    base.commit()
    base.close()


def files(folder):
    return {file.name: file.read_bytes() for file in folder.glob("part-*.parquet")}


def test_an_undamaged_copy_is_complete(out):
    assert (resume(out).done, states_in(out)) == (2, {"done": 2, "failed": 10, "not yet": 0})
    assert [file.name for file in shards_of(out)] == [f"part-00000{number}.parquet" for number in range(3)]


def flip(folder):
    content = bytearray((folder / "part-000001.parquet").read_bytes())
    content[100:130] = bytes(byte ^ 0xFF for byte in content[100:130])
    (folder / "part-000001.parquet").write_bytes(content)


def swap(folder):
    shutil.copyfile(folder / "part-000000.parquet", folder / "part-000001.parquet")


def empty(folder):
    (folder / "part-000001.parquet").write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, swap, empty])
@pytest.mark.parametrize("look", [resume, shards_of])
def test_a_shard_that_is_not_what_was_written_is_named(out, damage, look):
    damage(out)
    before = files(out)
    with pytest.raises(BadData, match=rf"'{out}/part-000001.parquet' is damaged \(1 of 3 shards are\)"):
        look(out)
    assert files(out) == before


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("drop table shards", "it has no table 'shards'"),
        ("drop table settings", "it has no table 'settings'"),
        ("drop table sources", "it has no table 'sources'"),
        ("delete from settings where key != 'batch'", "does not say that all were listed"),
        ("delete from settings where key not in ('batch', 'listed')", "its settings are missing"),
        ("update settings set value = 'x' where key = 'prior'", "Expecting value"),
        ("delete from sources where number = 3", "it has 11 sources, of 12 that were listed"),
        ("update sources set state = 'dome' where number = 3", "a source has the state 'dome'"),
        ("update sources set state = cast(x'ff' as text)", "Could not decode to UTF-8"),
    ],
)
def test_a_manifest_from_which_something_is_missing_is_one_line(out, statement, why):
    change(out, statement)
    kept = files(out)
    with pytest.raises(BadSetting, match=f"'{out}/{NAME}' is not a manifest, or is damaged: .*{why}") as error:
        resume(out)
    assert "\n" not in str(error.value)
    assert files(out) == kept


def test_a_source_whose_place_cannot_be_read_is_one_line(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add([Item("a.jpg", "/a.jpg")])
    change(tmp_path, "update sources set place = 'x'")
    with Manifest(tmp_path) as manifest, pytest.raises(BadSetting, match="is damaged: Expecting value"):
        next(manifest.waiting())


@pytest.mark.parametrize(
    ("statement", "in_shards", "of_sources"),
    [
        ("delete from shards where name = 'part-000001.parquet'", 7, 12),
        ("delete from shards", 0, 12),
        ("update sources set state = 'not yet' where number = 1", 12, 11),
    ],
)
@pytest.mark.parametrize("look", [resume, shards_of])
def test_rows_that_are_in_no_shard_are_noticed_before_anything_is_deleted(out, statement, in_shards, of_sources, look):
    change(out, statement)
    before = files(out)
    with pytest.raises(BadData, match=f"its shards have {in_shards} rows, its sources {of_sources};"):
        look(out)
    assert files(out) == before


@pytest.mark.parametrize("look", [resume, shards_of, states_in])
def test_an_empty_manifest_beside_shards_begins_no_other_batch(out, look):
    (out / NAME).write_bytes(b"")
    before = files(out)
    with pytest.raises(BadSetting, match=r"it is empty, but there are shards \(part-000000.parquet\)"):
        look(out)
    assert (files(out), (out / NAME).read_bytes()) == (before, b"")


def test_a_manifest_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / NAME).mkdir()
    for _ in range(2):  # the lock is released
        with pytest.raises(BadSetting, match=f"cannot open '{tmp_path}/{NAME}': unable to open database file"):
            Manifest(tmp_path)


def test_a_shard_in_another_folder_is_not_opened(out):
    (out.parent / "part-000001.parquet").write_bytes((out / "part-000001.parquet").read_bytes())
    change(out, "update shards set name = '../part-000001.parquet' where name = 'part-000001.parquet'")
    for look in (resume, shards_of):
        with pytest.raises(BadData, match=r"'\.\./part-000001\.parquet' is not the name of a shard"):
            look(out)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_bytes_of_the_manifest_change_it_is_one_line_or_nothing_is_lost(out, seed):
    chance, before = random.Random(seed), files(out)
    content = bytearray((out / NAME).read_bytes())
    for _ in range(40):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    (out / NAME).write_bytes(content)
    for look in (states_in, shards_of, resume):
        with contextlib.suppress(AffectLensError):
            look(out)
    assert {name: content for name, content in files(out).items() if name in before} == before


def test_a_batch_of_an_earlier_version_goes_on(out):
    change(out, "alter table shards drop column bytes", "alter table shards drop column sha256")
    change(out, "alter table sources drop column rows", "update settings set value = 'true' where key = 'listed'")
    assert len(shards_of(out)) == 3
    flip(out)
    assert (resume(out).done, len(shards_of(out))) == (2, 3)
    (out / "part-000001.parquet").unlink()
    with pytest.raises(BadData, match="is missing"):
        resume(out)


def test_a_folder_for_temporary_files_that_is_a_link_is_not_followed(out):
    target = out.parent / "target"
    target.mkdir()
    (target / f"{'0' * 32}.parquet").write_bytes(b"mine")
    (out / UNFINISHED).symlink_to(target)
    with pytest.raises(BadSetting, match=f"'{out / UNFINISHED}' must be a folder, not a link"):
        resume(out)
    assert [file.read_bytes() for file in target.iterdir()] == [b"mine"]


def test_only_temporary_files_are_deleted_in_the_folder_for_them(out):
    work = out / UNFINISHED
    (work / "folder").mkdir(parents=True)
    (work / "thesis.txt").write_text("mine")
    (work / f"{'1' * 32}.mp4").write_bytes(b"half a copy")
    (out.parent / "target").write_text("mine")
    (work / f"{'2' * 32}.parquet").symlink_to(out.parent / "target")
    assert resume(out).waiting == 0
    assert sorted(file.name for file in work.iterdir()) == [f"{'2' * 32}.parquet", "folder", "thesis.txt"]
    assert (out.parent / "target").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "shard of another batch"])
def test_what_is_named_like_a_shard_and_is_none_of_this_batch_is_refused(out, kind):
    path = out / "part-20240101.parquet"
    if kind == "file":
        path.write_bytes(b"mine")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(out / "part-000000.parquet")
    else:
        (path.parent.parent / "other").mkdir()
        run(str(out.parent / "photos" / "0.jpg"), out.parent / "other", BatchSettings(), workers=0, max_rows=5)
        shutil.copyfile(out.parent / "other" / "part-000000.parquet", path)
    with pytest.raises(BadSetting, match=f"'{path}' is named like a shard but is not one of this batch; move it"):
        resume(out)
    assert path.exists()
    path.rename(out.parent / "elsewhere")
    assert resume(out).shards == 3


def test_room_is_not_kept_in_the_file_that_a_link_leads_to(tmp_path):
    (tmp_path / "v4").write_text("mine")
    (tmp_path / f"{NAME}.reserve").symlink_to(tmp_path / "v4")
    with Manifest(tmp_path) as manifest:
        manifest.keep_room()
        assert not (tmp_path / f"{NAME}.reserve").is_symlink()
    assert (tmp_path / "v4").read_text() == "mine"


def test_a_lock_file_that_is_a_link_is_not_emptied(tmp_path):
    (tmp_path / "v4").write_text("mine")
    (tmp_path / f"{NAME}.lock").symlink_to(tmp_path / "v4")
    with pytest.raises(OSError, match="symbolic link"):
        Manifest(tmp_path)
    assert (tmp_path / "v4").read_text() == "mine"
