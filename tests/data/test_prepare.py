import errno
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.sample import Dropped, Sample
from affectlens.data.prepare import prepare
from affectlens.data.readers.table import UNFINISHED
from affectlens.data.source import parse
from affectlens.data.table import load

LABELS = ("keen", "calm", "shy")
BOX = np.array([4, 6, 28, 38], dtype=np.float32)
POINTS = np.array([[8.5, 10.25], [20, 11], [14, 30]], dtype=np.float32)


class Source:
    """A data set of these entries."""

    def __init__(self, *entries, labels=LABELS, attribute_names=()):
        self.entries = entries
        self.names = labels
        self.attribute_names = attribute_names

    name, licence = "made up&mode=plain", "Ask the one who made it up."

    def labels(self):
        return self.names

    def samples(self, split):
        return (entry for entry in self.entries if entry.id.startswith(f"{split}/"))

    def load(self, split):
        return load(self.samples(split), self.names)


def pixels(colour=False, side=40):
    shape = (side, side, 3) if colour else (side, side)
    return np.random.default_rng(side + colour).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, suffix):
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr)[1].tobytes()


def face(name="train/0", content=None, **facts):
    facts = {"expression": "calm"} | facts
    return Sample(
        name, Path("table"), name.partition("/")[0], content=pixels() if content is None else content, **facts
    )


def brought_back(source, out, split="train"):
    """The split of `source` after it was written and read again."""
    list(prepare(source, out))
    return parse(f"table:{out}").load(split)


@pytest.fixture
def full_disk(monkeypatch):
    """The disk takes a part of each shard from the given one on."""

    def fill(good=0):
        shards = iter(range(100))
        write = pq.write_table

        def some(table, file):
            if next(shards) < good:
                write(table, file)
                return
            Path(file).write_bytes(b"PAR1 and a part of it")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))

        monkeypatch.setattr(pq, "write_table", some)

    return fill


def test_what_was_written_reads_back_as_it_was(tmp_path):
    votes = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    source = Source(
        face("train/a.png", votes=votes, valence=0.25, arousal=-0.5, landmarks_xy=POINTS, age_years=31.5),
        face("train/b.png", pixels(side=24), expression=None, votes=votes[::-1].copy(), groups={"sex": "f"}),
        face("train/c.png", expression="shy", groups={"sex": "m", "subject": "7"}),
        face("train/d.png", expression=None, valence=-1.0, arousal=1.0),
        face("test/e.png"),
    )
    before, after = source.load("train"), brought_back(source, tmp_path)
    assert after.ids == before.ids == ("train/a.png", "train/b.png", "train/c.png", "train/d.png")
    assert after.labels == LABELS
    for column in ("votes", "targets", "valence", "arousal", "age_years", "landmarks_xy"):
        np.testing.assert_array_equal(getattr(after, column), getattr(before, column), err_msg=column)
    assert {name: column.tolist() for name, column in after.groups.items()} == {
        "sex": ["", "f", "m", ""],
        "subject": ["", "", "7", ""],
    }
    for ours, theirs in zip(after.images, before.images, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert parse(f"table:{tmp_path}").load("test").ids == ("test/e.png",)


@pytest.mark.parametrize("box", [None, BOX], ids=["whole", "boxed"])
@pytest.mark.parametrize("colour", [False, True], ids=["gray", "colour"])
@pytest.mark.parametrize("kind", ["pixels", "png", "jpg", "file"])
def test_pixels_and_landmarks_come_back_whatever_the_picture_was(tmp_path, kind, colour, box):
    content = pixels(colour) if kind == "pixels" else encoded(pixels(colour), ".png" if kind == "png" else ".jpg")
    sample = face(content=content, landmarks_xy=POINTS, box_xyxy=box)
    if kind == "file":
        (tmp_path / "face.jpg").write_bytes(content)
        sample = Sample("train/0", tmp_path / "face.jpg", "train", "calm", landmarks_xy=POINTS, box_xyxy=box)
    source = Source(sample)
    before, after = source.load("train"), brought_back(source, tmp_path / "shards")
    assert after.images[0].shape[:2] == ((40, 40) if box is None else (32, 24))
    np.testing.assert_array_equal(after.images[0], before.images[0])
    np.testing.assert_array_equal(after.landmarks_xy, before.landmarks_xy)


def test_the_bytes_of_a_file_are_stored_as_they_are(tmp_path):
    content = encoded(pixels(), ".jpg")
    (tmp_path / "face.jpg").write_bytes(content)
    list(prepare(Source(Sample("train/0", tmp_path / "face.jpg", "train", "calm")), tmp_path / "shards"))
    (row,) = pq.read_table(tmp_path / "shards" / "train-00000.parquet").to_pylist()
    assert row["image"] == content


def test_any_arrow_tool_reads_the_columns_and_the_order_of_the_votes(tmp_path):
    list(prepare(Source(face(groups={"sex": "f"}, landmarks_xy=POINTS)), tmp_path))
    table = pq.read_table(tmp_path / "train-00000.parquet")
    assert set(table.column_names) == {
        *("id", "split", "image", "expression", "votes", "valence", "arousal", "age_years", "landmarks", "attributes"),
        "group_sex",
    }
    assert json.loads(table.schema.metadata[b"labels"]) == list(LABELS)
    (row,) = table.to_pylist()
    assert (row["id"], row["split"], row["expression"], row["group_sex"]) == ("train/0", "train", "calm", "f")
    assert row["landmarks"] == POINTS.ravel().tolist()
    assert row["votes"] is row["valence"] is row["age_years"] is None


def test_a_group_that_only_one_split_has_is_a_column_of_all(tmp_path):
    list(prepare(Source(face("train/0"), face("test/0", groups={"sex": "f"})), tmp_path))
    for shard in tmp_path.iterdir():
        assert "group_sex" in pq.read_schema(shard).names


@pytest.mark.parametrize(("rows", "shards"), [(1, 5), (2, 3), (5, 1), (6, 1)])
def test_shards_are_as_long_as_asked_and_keep_the_order(tmp_path, rows, shards):
    names = [f"train/{number}" for number in range(5)]
    list(prepare(Source(*map(face, names)), tmp_path, rows))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"train-{n:05d}.parquet" for n in range(shards)]
    assert list(parse(f"table:{tmp_path}").load("train").ids) == names


def test_what_is_left_out_is_said_with_its_reason(tmp_path):
    bad = Sample("valid/1", tmp_path / "nowhere.png", "valid", "calm")
    source = Source(face("train/0"), Dropped("train/1", "no face"), face("valid/0"), bad, face("test/0", b"no picture"))
    assert list(prepare(source, tmp_path / "out")) == [
        ("train", None),
        ("train", "no face"),
        ("valid", None),
        ("valid", "image cannot be decoded"),
        ("test", "image cannot be decoded"),
    ]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["train-00000.parquet", "valid-00000.parquet"]


def test_faces_that_are_still_to_be_found_are_not_written(tmp_path):
    with pytest.raises(BadSetting, match=r"leave find_faces=yes out here.*table:FOLDER\?find_faces=yes"):
        list(prepare(Source(face(), face("train/1", find_face=True)), tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_full_disk_leaves_nothing_that_looks_finished(tmp_path, full_disk, good):
    full_disk(good)
    with pytest.raises(OSError, match="No space left"):
        list(prepare(Source(*(face(f"train/{number}") for number in range(6))), tmp_path, shard_rows=2))
    assert list(tmp_path.iterdir()) == []


def test_shards_that_are_being_written_are_not_read_and_do_not_hinder_the_next_attempt(tmp_path):
    source = Source(*(face(f"train/{number}") for number in range(3)))
    writing = prepare(source, tmp_path, shard_rows=1)
    next(writing), next(writing)
    (tmp_path / "killed").mkdir()
    (unfinished,) = tmp_path.glob(f"{UNFINISHED}*")
    shutil.copytree(unfinished, tmp_path / "killed" / unfinished.name)
    writing.close()
    with pytest.raises(BadData, match=rf"incomplete: its preparation was interrupted .*'{unfinished.name}'"):
        parse(f"table:{tmp_path / 'killed'}").load("train")
    assert len(brought_back(source, tmp_path / "killed")) == 3


def test_only_shards_that_were_being_written_are_deleted(tmp_path):
    killed, target, out = tmp_path / "out" / f"{UNFINISHED}abc", tmp_path / "target", tmp_path / "out"
    for folder in (killed, target):
        (folder / "train-00007.parquet").mkdir(parents=True)
        (folder / "train-00000.parquet").write_bytes(b"half")
        (folder / "thesis").write_text("mine")
    (out / f"{UNFINISHED}link").symlink_to(target)
    list(prepare(Source(face()), out))
    assert sorted(file.name for file in killed.iterdir()) == ["thesis", "train-00007.parquet"]
    assert len(list(target.iterdir())) == 3


def test_what_an_earlier_version_left_behind_is_not_deleted(tmp_path):
    (tmp_path / ".partial" / "mine").mkdir(parents=True)
    (tmp_path / ".partial" / "mine" / "thesis").write_text("mine")
    with pytest.raises(BadSetting, match=r"\.partial' may contain shards that an earlier version did not complete"):
        list(prepare(Source(face()), tmp_path))
    assert (tmp_path / ".partial" / "mine" / "thesis").read_text() == "mine"
    with pytest.raises(BadData, match=r"incomplete: .*'\.partial'"):
        parse(f"table:{tmp_path}").load("train")


def test_two_at_once_do_not_mix_their_shards(tmp_path):
    writing = prepare(Source(*(face(f"train/{number}") for number in range(3))), tmp_path, shard_rows=1)
    next(writing), next(writing)
    with pytest.raises(BadSetting, match="another process prepares a data set in"):
        list(prepare(Source(face("train/other")), tmp_path, shard_rows=1))
    assert len(list(writing)) == 1
    assert parse(f"table:{tmp_path}").load("train").ids == ("train/0", "train/1", "train/2")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_two_at_once_where_folders_cannot_be_locked_are_noticed_by_one(tmp_path, monkeypatch, step):
    monkeypatch.setattr("affectlens.data.prepare.fcntl", None)
    writing = prepare(Source(*(face(f"train/{number}") for number in range(3))), tmp_path, shard_rows=1)
    for _ in range(step):
        next(writing)
    list(prepare(Source(face("train/other")), tmp_path, shard_rows=1))
    with pytest.raises((OSError, BadSetting)):
        list(writing)
    assert parse(f"table:{tmp_path}").load("train").ids == ("train/other",)


def test_of_shards_that_cannot_all_be_moved_none_looks_finished(tmp_path, monkeypatch):
    rename = Path.rename

    def full(path, target):
        if target.name == "train-00001.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        list(prepare(Source(*(face(f"train/{number}") for number in range(3))), tmp_path, shard_rows=1))
    assert list(tmp_path.iterdir()) == []


def test_shards_say_where_they_are_from_and_on_which_terms(tmp_path):
    list(prepare(Source(face()), tmp_path))
    assert pq.read_schema(tmp_path / "train-00000.parquet").metadata[b"origin"] == b"made up&mode=plain"
    assert parse(f"table:{tmp_path}").licence == "Ask the one who made it up."


@pytest.mark.parametrize(
    ("labels", "votes", "targets"), [("shy,keen,calm", [0.2, 0.7, 0.1], 1), ("calm,keen", [0.125, 0.875], 1)]
)
def test_votes_follow_the_classes_that_the_option_labels_names(tmp_path, labels, votes, targets):
    entry = face(expression="keen", votes=np.array([0.7, 0.1, 0.2], dtype=np.float32))
    list(prepare(Source(entry), tmp_path))
    faces = parse(f"table:{tmp_path}?labels={labels}").load("train")
    np.testing.assert_allclose(faces.votes, [votes], atol=1e-6)
    assert faces.targets.tolist() == [targets]


def test_a_face_without_votes_for_the_classes_that_are_left_has_none(tmp_path):
    entry = face(expression=None, votes=np.array([0, 0, 1], dtype=np.float32))
    list(prepare(Source(entry, face("train/1")), tmp_path))
    assert parse(f"table:{tmp_path}?labels=keen,calm").load("train").dropped == {
        "neither expression, votes nor valence": 1
    }


def test_the_names_of_attributes_come_back(tmp_path):
    bits = np.array([1, 0, 1], dtype=np.float32)
    names = ("Bald", "Young", "Smiling")
    faces = brought_back(Source(face(attributes=bits), attribute_names=names), tmp_path)
    assert faces.attribute_names == names


def test_attributes_come_back(tmp_path):
    bits = np.array([0, 1, 1], dtype=np.float32)
    faces = brought_back(Source(face(attributes=bits), face("train/1")), tmp_path)
    np.testing.assert_array_equal(faces.attributes, [bits, [np.nan] * 3])


def test_a_folder_that_holds_shards_is_not_written_to(tmp_path):
    list(prepare(Source(face()), tmp_path))
    before = (tmp_path / "train-00000.parquet").read_bytes()
    with pytest.raises(BadSetting, match="already contains Parquet files"):
        list(prepare(Source(face("train/other")), tmp_path))
    assert (tmp_path / "train-00000.parquet").read_bytes() == before


def test_without_pyarrow_the_extra_is_named_and_no_folder_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match="parquet"):
        list(prepare(Source(face()), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_hybrid_keeps_its_ids(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), pixels())
    (tmp_path / "data.csv").write_text("path,expression,split\na.png,calm,train\n")
    source = parse(f"table:{tmp_path}+table:{tmp_path / 'data.csv'}")
    before = source.load("train")
    after = brought_back(source, tmp_path / "shards")
    assert after.ids == before.ids
    assert after.groups["dataset"].tolist() == ["table", "table"]
