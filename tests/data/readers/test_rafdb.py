import pytest

from affectlens.data.source import SPLITS, parse

LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def test_labels_are_in_the_order_of_the_numbers(rafdb):
    assert parse(f"rafdb:{rafdb({'test_0001.jpg': 1})}").labels() == LABELS


@pytest.mark.parametrize("number", range(1, 8))
def test_numbers_stand_for_the_labels(rafdb, read, number):
    (sample,) = read("rafdb", rafdb({"test_0001.jpg": number}), "test")
    assert sample.expression == LABELS[number - 1]


def test_a_line_gives_id_and_aligned_image(rafdb, read):
    folder = rafdb({"test_0001.jpg": 5})
    (sample,) = read("rafdb", folder, "test")
    assert sample.id == "test/test_0001.jpg"
    assert sample.path == folder / "Image" / "aligned" / "test_0001_aligned.jpg"
    assert sample.split == "test"
    assert sample.votes is sample.valence is sample.box_xyxy is None


def test_a_tenth_of_the_training_faces_is_for_validation(rafdb, kept, names):
    held, others = names("train_{:05d}.jpg", 0, 10, 2), names("train_{:05d}.jpg", 10, 100, 3)
    folder = rafdb(dict.fromkeys([*held, *others, "test_0001.jpg", "test_0002.jpg"], 1))
    found = [{sample.id for sample in kept("rafdb", folder, split)} for split in SPLITS]
    wanted = [others, held, ["test_0001.jpg", "test_0002.jpg"]]
    assert found == [{f"{split}/{name}" for name in part} for split, part in zip(SPLITS, wanted, strict=True)]


def test_the_copy_with_a_folder_basic_reads_the_same(rafdb, kept):
    folder = rafdb({"test_0001.jpg": 6}, inside="basic")
    (sample,) = kept("rafdb", folder, "test")
    assert sample.expression == "anger"
    assert kept("rafdb", folder / "basic", "test")[0].id == sample.id


def test_a_face_whose_image_is_missing_is_dropped(rafdb, kept, dropped):
    folder = rafdb({"test_0001.jpg": 1, "test_0002.jpg": 2}, missing=["test_0001.jpg"])
    assert dropped("rafdb", folder, "test") == {"image file is missing": 1}
    assert [sample.expression for sample in kept("rafdb", folder, "test")] == ["fear"]


@pytest.mark.parametrize("number", [0, 8, -1])
def test_a_number_outside_the_table_is_dropped(rafdb, kept, dropped, number):
    folder = rafdb({"test_0001.jpg": number, "test_0002.jpg": 2})
    assert dropped("rafdb", folder, "test").total() == 1
    assert len(kept("rafdb", folder, "test")) == 1


@pytest.mark.parametrize("label", ["", "happy", "4.5", "4 4"])
def test_a_malformed_line_is_named(rafdb, refusal, label):
    folder = rafdb({"test_0001.jpg": 1, "test_0002.jpg": label})
    table = folder / "EmoLabel" / "list_patition_label.txt"
    assert f"{table}, line 2" in refusal("rafdb", folder, "test")


def test_a_name_of_neither_part_is_refused(rafdb, refusal):
    assert "line 2" in refusal("rafdb", rafdb({"test_0001.jpg": 1, "extra_0002.jpg": 1}), "test")


def test_a_missing_label_table_is_named(rafdb, refusal):
    folder = rafdb({"test_0001.jpg": 1})
    (folder / "EmoLabel" / "list_patition_label.txt").unlink()
    assert "list_patition_label.txt" in refusal("rafdb", folder, "test")


def test_a_name_that_is_too_long_for_a_file_is_one_line(rafdb, refusal):
    assert "File name too long" in refusal(
        "rafdb", rafdb({f"test_{'1' * 5000}.jpg": 1}, missing=[f"test_{'1' * 5000}.jpg"]), "test"
    )
