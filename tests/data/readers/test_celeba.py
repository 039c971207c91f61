import numpy as np
import pytest

from affectlens.core import catalog
from affectlens.data.source import SPLITS, parse


@pytest.fixture
def attributes():
    return catalog.load("data.readers", "celeba").ATTRIBUTES


def test_labels_are_of_the_attribute_smiling(celeba, kept):
    folder = celeba({"000001.jpg": (0, {"Smiling", "Male"}), "000002.jpg": (0, {"Male"})})
    assert parse(f"celeba:{folder}").labels() == ("not_smiling", "smiling")
    assert [sample.expression for sample in kept("celeba", folder)] == ["smiling", "not_smiling"]


def test_attributes_are_zeros_and_ones_in_the_order_of_the_list(celeba, kept, attributes):
    folder = celeba({"000001.jpg": (0, {"5_o_Clock_Shadow", "Smiling", "Young"})})
    (sample,) = kept("celeba", folder)
    assert sample.attributes.shape == (40,)
    assert sample.attributes.dtype == np.float32
    assert np.flatnonzero(sample.attributes).tolist() == [0, 31, 39]
    assert [attributes[number] for number in (0, 31, 39)] == ["5_o_Clock_Shadow", "Smiling", "Young"]
    assert len(attributes) == len(set(attributes)) == 40
    assert parse(f"celeba:{folder}").load("train").attribute_names == attributes


def test_partitions_are_the_splits(celeba, kept):
    faces = {"000001.jpg": (2, set()), "000002.jpg": (0, set()), "000003.jpg": (1, set()), "000004.jpg": (0, set())}
    folder = celeba(faces)
    ids = [[sample.id for sample in kept("celeba", folder, split)] for split in SPLITS]
    assert ids == [["train/000002.jpg", "train/000004.jpg"], ["valid/000003.jpg"], ["test/000001.jpg"]]


def test_a_face_carries_its_path_and_no_more(celeba, kept):
    folder = celeba({"000001.jpg": (0, {"Smiling"})})
    (sample,) = kept("celeba", folder)
    assert sample.path == folder / "img_align_celeba" / "000001.jpg"
    assert sample.votes is sample.valence is sample.landmarks_xy is sample.content is None


def test_a_face_whose_image_is_missing_is_dropped(celeba, kept, dropped):
    folder = celeba({"000001.jpg": (0, set()), "000002.jpg": (0, {"Smiling"})}, missing=["000001.jpg"])
    assert dropped("celeba", folder) == {"image file is missing": 1}
    assert [sample.id for sample in kept("celeba", folder)] == ["train/000002.jpg"]


@pytest.mark.parametrize("file", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_a_missing_list_is_named(celeba, refusal, file):
    folder = celeba({"000001.jpg": (0, set())})
    (folder / file).unlink()
    assert file in refusal("celeba", folder)


@pytest.mark.parametrize(
    ("old", "new"), [(" -1 ", " "), (" -1 ", " -1 -1 "), (" -1 ", " x "), (" -1 ", " 0 "), (" -1 ", " 0.5 ")]
)
def test_a_malformed_line_of_attributes_is_named(celeba, refusal, old, new):
    folder = celeba({"000001.jpg": (0, set()), "000002.jpg": (0, set())})
    table = folder / "list_attr_celeba.txt"
    lines = table.read_text().splitlines()
    lines[3] = lines[3].replace(old, new, 1)
    table.write_text("\n".join(lines))
    assert f"{table}, line 4" in refusal("celeba", folder)


@pytest.mark.parametrize("line", ["000002.jpg", "000002.jpg x", "000002.jpg 3", "000002.jpg 0 0"])
def test_a_malformed_line_of_partitions_is_named(celeba, refusal, line):
    folder = celeba({"000001.jpg": (0, set()), "000002.jpg": (0, set())})
    table = folder / "list_eval_partition.txt"
    table.write_text(f"000001.jpg 0\n{line}\n")
    assert f"{table}, line 2" in refusal("celeba", folder)


def test_a_face_without_a_partition_is_refused(celeba, refusal):
    folder = celeba({"000001.jpg": (0, set()), "000002.jpg": (0, set())})
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    assert "000002.jpg" in refusal("celeba", folder)


def test_attributes_under_other_names_are_refused(celeba, refusal):
    folder = celeba({"000001.jpg": (0, set())})
    table = folder / "list_attr_celeba.txt"
    table.write_text(table.read_text().replace("Smiling", "Grinning"))
    message = refusal("celeba", folder)
    assert str(table) in message
    assert "Smiling" in message


def test_a_list_that_ends_after_its_names_is_refused(celeba, refusal):
    assert "list_attr_celeba.txt" in refusal("celeba", celeba({}))
