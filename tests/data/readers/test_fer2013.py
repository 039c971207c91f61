import numpy as np
import pytest

from affectlens.data.source import parse

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
PIXELS = " ".join(str(number % 256) for number in range(48 * 48))


def test_labels_are_in_the_order_of_the_numbers(fer2013):
    assert parse(f"fer2013:{fer2013([(0, 'Training')])}").labels() == LABELS


@pytest.mark.parametrize("number", range(7))
def test_numbers_stand_for_the_labels(fer2013, read, number):
    (sample,) = read("fer2013", fer2013([(number, "Training")]))
    assert sample.expression == LABELS[number]


def test_usages_are_the_splits(fer2013, read):
    folder = fer2013([(0, "PrivateTest"), (1, "Training"), (2, "PublicTest"), (3, "Training")])
    expressions = {
        split: [one.expression for one in read("fer2013", folder, split)] for split in ("train", "valid", "test")
    }
    assert expressions == {"train": ["disgust", "happiness"], "valid": ["fear"], "test": ["anger"]}


def test_pixels_are_rows_of_48_gray_values(fer2013, read):
    folder = fer2013([(3, PIXELS, "Training")])
    (sample,) = read("fer2013", folder)
    np.testing.assert_array_equal(sample.content, np.arange(48 * 48).reshape(48, 48) % 256)
    assert sample.content.dtype == np.uint8
    assert sample.path == folder / "fer2013.csv"
    assert sample.votes is None


def test_ids_of_a_split_do_not_depend_on_the_other_splits_being_read(fer2013, read):
    folder = fer2013([(0, "Training"), (1, "PublicTest"), (2, "Training")])
    first, second = (sample.id for sample in read("fer2013", folder))
    (other,) = read("fer2013", folder, "valid")
    assert (first, other.id, second) == ("train/00000", "valid/00001", "train/00002")


def test_columns_are_found_by_their_names(fer2013, read):
    fer2013([(3, PIXELS, "Training")])
    folder = fer2013([("Training", 3, PIXELS)], header=("Usage", "emotion", "pixels"))
    assert read("fer2013", folder)[0].expression == "happiness"


@pytest.mark.parametrize("column", ["emotion", "pixels", "Usage"])
def test_a_missing_column_is_named(fer2013, refusal, column):
    header = tuple("other" if name == column else name for name in ("emotion", "pixels", "Usage"))
    message = refusal("fer2013", fer2013([(3, "Training")], header=header))
    assert "fer2013.csv" in message
    assert column in message


@pytest.mark.parametrize(
    "row",
    [
        (3, PIXELS.rpartition(" ")[0], "Training"),
        (3, PIXELS + " 0", "Training"),
        (3, PIXELS.replace("255", "x", 1), "Training"),
        (3, PIXELS.replace("255", "256", 1), "Training"),
        (3, PIXELS.replace("255", "-1", 1), "Training"),
        (3, "", "Training"),
        (3, PIXELS, "Extra"),
        (3, PIXELS, ""),
    ],
)
def test_a_malformed_line_is_named(fer2013, refusal, row):
    message = refusal("fer2013", fer2013([(0, "Training"), row]))
    assert "fer2013.csv" in message
    assert "line 3" in message


def test_faces_with_a_label_outside_the_table_are_dropped(fer2013, kept, dropped):
    folder = fer2013([(label, "Training") for label in (7, 0, -1, "happy", "")])
    assert dropped("fer2013", folder) == {"label outside 0 to 6": 4}
    assert [sample.expression for sample in kept("fer2013", folder)] == ["anger"]


def test_a_table_that_is_not_text_is_bad_data(tmp_path, refusal):
    (tmp_path / "fer2013.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "fer2013.csv" in refusal("fer2013", tmp_path)


def test_a_missing_table_is_named(tmp_path, refusal):
    assert f"{tmp_path}/fer2013.csv" in refusal("fer2013", tmp_path)


@pytest.mark.parametrize("pixel", ["1" + "0" * 23, "-1", "256", "1e3", "x" * 200_000])
def test_a_pixel_that_is_none_is_named_in_one_line(fer2013, refusal, pixel):
    folder = fer2013([(3, f"{pixel} {PIXELS}", "Training")])
    assert "fer2013.csv" in refusal("fer2013", folder)
