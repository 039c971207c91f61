import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.workflows.data import source_of
from affectlens.workflows.inspect import inspect
from affectlens.workflows.prepare import prepare


@pytest.fixture
def faces(tmp_path):
    for label, gray in (("happiness", 60), ("sadness", 190)):
        folder = tmp_path / "faces" / "train" / label
        folder.mkdir(parents=True)
        for number in range(2):
            cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 48), gray + 9 * number, dtype=np.uint8))
    return tmp_path / "faces"


def test_a_data_set_is_inspected_with_and_without_a_model(faces):
    found, doubtful = inspect(faces)
    assert (sum(split.files for split in found.splits.values()), doubtful) == (_count(faces), [])
    _, doubtful = inspect(faces, "bundled", suspects=1)
    assert [suspect.label in ("happiness", "sadness") for suspect in doubtful] == [True]
    assert 0 <= doubtful[0].p <= 1


def test_a_data_set_is_prepared_and_counted(faces, tmp_path):
    counts = prepare(faces, tmp_path / "shards", shard_rows=2)
    assert {reason for _, reason in counts} == {None}
    assert sum(counts.values()) == _count(faces)
    found, _ = inspect(f"table:{tmp_path / 'shards'}")
    assert sum(split.labelled for split in found.splits.values()) == _count(faces)


def test_a_data_set_without_a_face_that_can_be_written_says_why(faces, tmp_path):
    for picture in _pictures(faces):
        picture.write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"could be written: \d+ train \(image cannot be decoded\)"):
        prepare(faces, tmp_path / "shards")
    with pytest.raises(BadData, match=r"^no sample of 'folder' could be written"):
        prepare(source_of(faces), tmp_path / "again")


def _pictures(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def _count(folder):
    return len(_pictures(folder))
