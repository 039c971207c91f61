import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.readers import ferplus as reader

SHARED = Path(__file__).parents[4] / "shared" / "data" / "ferplus"
FACES = {"train": 25_045, "valid": 3_191, "test": 3_137}

#               neu hap sur sad ang dis fear con unknown not-a-face
UNANIMOUS = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
SINGLE_VOTES = (6, 1, 0, 2, 1, 0, 0, 0, 0, 0)
UNKNOWN_ON_TOP = (2, 0, 0, 3, 0, 0, 0, 0, 5, 0)
NO_FACE_ON_TOP = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
ONLY_SINGLE_VOTES = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
SPLIT = (5, 0, 0, 5, 0, 0, 0, 0, 0, 0)
UNKNOWN_BREAKS_MAJORITY = (0, 0, 4, 0, 0, 0, 2, 0, 2, 0)
MAJORITY_BY_ZEROED_VOTES = (0, 0, 5, 0, 3, 0, 0, 0, 1, 1)


def read_one(folder):
    (sample,) = reader.read(folder, "train")
    return sample


def test_a_face_carries_id_path_split_and_label(ferplus):
    folder = ferplus([UNANIMOUS], "valid")
    (sample,) = reader.read(folder, "valid")
    assert sample.id == "valid/fer0000000.png"
    assert sample.path == folder / "FER2013Valid" / "fer0000000.png"
    assert sample.split == "valid"
    assert sample.expression == "happiness"


@pytest.mark.parametrize("column", range(8))
def test_columns_follow_the_order_of_the_labels(ferplus, column):
    sample = read_one(ferplus([np.eye(10, dtype=int)[column] * 10]))
    assert sample.expression == reader.LABELS[column]
    np.testing.assert_array_equal(sample.votes, np.eye(8)[column])


def test_single_votes_are_zeroed_and_the_rest_normalised(ferplus):
    sample = read_one(ferplus([SINGLE_VOTES]))
    np.testing.assert_allclose(sample.votes, [0.75, 0, 0, 0.25, 0, 0, 0, 0])
    assert sample.votes.dtype == np.float32


@pytest.mark.parametrize("votes", [UNKNOWN_ON_TOP, NO_FACE_ON_TOP, ONLY_SINGLE_VOTES])
def test_faces_without_a_usable_top_answer_are_dropped(ferplus, votes):
    samples = list(reader.read(ferplus([votes, UNANIMOUS]), "train"))
    assert [sample.id for sample in samples] == ["train/fer0000001.png"]


@pytest.mark.parametrize(
    ("votes", "expression"),
    [(SPLIT, None), (UNKNOWN_BREAKS_MAJORITY, None), (MAJORITY_BY_ZEROED_VOTES, "surprise")],
)
def test_a_majority_is_more_than_half_of_all_votes_that_remain(ferplus, votes, expression):
    assert read_one(ferplus([votes])).expression == expression


def test_unknown_votes_are_cut_off_the_distribution(ferplus):
    sample = read_one(ferplus([UNKNOWN_BREAKS_MAJORITY]))
    np.testing.assert_allclose(sample.votes, [0, 0, 4 / 6, 0, 0, 0, 2 / 6, 0], rtol=1e-6)


def test_each_split_reads_its_own_folder(ferplus):
    ferplus([UNANIMOUS], "train")
    folder = ferplus([UNANIMOUS, SPLIT], "test")
    assert [len(list(reader.read(folder, split))) for split in ("train", "test")] == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('fer0000001.png,"(0, 0, 48, 48)",1,2,3\n', "5 columns, expected name, box and ten votes"),
        ("\n", "0 columns, expected name, box and ten votes"),
        ('fer0000001.png,"(0, 0, 48, 48)",9,x,0,0,0,0,0,0,0,0\n', "votes must be whole numbers"),
        ('fer0000001.png,"(0, 0, 48, 48)",9.5,0,0,0,0,0,0,0,0,0\n', "votes must be whole numbers"),
        ('fer9999999.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0\n', "image 'fer9999999.png' does not exist"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(ferplus, line, message):
    folder = ferplus([UNANIMOUS])
    table = folder / "FER2013Train" / "label.csv"
    table.write_text(table.read_text() + line)
    with pytest.raises(BadData) as error:
        list(reader.read(folder, "train"))
    assert str(error.value).startswith(f"{table}, line 2: {message}")


def test_a_table_that_is_not_text_is_bad_data(ferplus):
    folder = ferplus([UNANIMOUS])
    (folder / "FER2013Train" / "label.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadData, match=r"label\.csv"):
        list(reader.read(folder, "train"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadData, match=r"FER2013Valid.label\.csv"):
        list(reader.read(tmp_path, "valid"))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The official faces: an unpacked folder, or the label files of the archives beside empty images."""
    if "AFFECTLENS_FERPLUS" in os.environ:
        return Path(os.environ["AFFECTLENS_FERPLUS"])
    archives = sorted(SHARED.glob("FER2013*.tar.gz"))
    if not archives:
        pytest.skip(f"FER+ not found: AFFECTLENS_FERPLUS is not set and {SHARED} holds no FER2013*.tar.gz")
    folder = tmp_path_factory.mktemp("ferplus")
    for archive in archives:
        with tarfile.open(archive) as members:
            for member in members:
                if member.isdir():
                    (folder / member.name).mkdir()
                elif member.name.endswith("label.csv"):
                    members.extract(member, folder, filter="data")
                else:
                    (folder / member.name).touch()
    return folder


@pytest.mark.parametrize("split", FACES)
def test_the_official_faces_give_the_known_numbers_of_majority_labels(official, split):
    samples = list(reader.read(official, split))
    assert sum(sample.expression is not None for sample in samples) == FACES[split]
    assert len({sample.id for sample in samples}) == len(samples)
