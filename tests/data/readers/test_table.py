import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectlens.core.errors import MissingExtra
from affectlens.data.source import SPLITS, parse


def test_a_row_gives_all_its_facts(csv_table, kept):
    row = {
        "id": "face7",
        "path": "faces/a.png",
        "expression": "sadness",
        "valence": "-0.5",
        "arousal": "0.25",
        "split": "train",
        "age_years": "31.5",
        "group_country": "NL",
        "group_camera": "left",
        "remark": "blurred",
    }
    file = csv_table([row])
    (sample,) = kept("table", file)
    assert sample.id == "train/face7"
    assert sample.path == file.parent / "faces" / "a.png"
    assert (sample.expression, sample.valence, sample.arousal) == ("sadness", -0.5, 0.25)
    assert sample.split == "train"
    assert sample.age_years == 31.5
    assert {key.removeprefix("group_"): value for key, value in sample.groups.items()} == {
        "country": "NL",
        "camera": "left",
    }
    assert sample.votes is sample.content is None


def test_groups_are_named_by_what_follows_the_prefix(csv_table, kept):
    (sample,) = kept("table", csv_table([{"path": "a.png", "expression": "fear", "split": "train", "group_sex": "f"}]))
    assert sample.groups == {"sex": "f"}


def test_the_column_split_decides_where_a_face_is(csv_table, kept):
    splits = ("test", "train", "valid", "train")
    rows = [{"path": f"{n}.png", "expression": "anger", "split": split} for n, split in enumerate(splits)]
    file = csv_table(rows)
    ids = [[sample.id for sample in kept("table", file, split)] for split in SPLITS]
    assert ids == [["train/1.png", "train/3.png"], ["valid/2.png"], ["test/0.png"]]


def test_without_a_column_split_the_hash_decides(csv_table, kept, names):
    parts = {
        "test": names("{}.png", 0, 10, 2),
        "valid": names("{}.png", 10, 20, 2),
        "train": names("{}.png", 20, 100, 3),
    }
    file = csv_table([{"path": name, "expression": "fear"} for part in parts.values() for name in part])
    for split in SPLITS:
        assert sorted(sample.path.name for sample in kept("table", file, split)) == sorted(parts[split])


def test_names_of_expressions_are_those_of_the_project(csv_table, kept):
    rows = [
        {"path": f"{name}.png", "expression": name, "split": "train"} for name in ("Sad", "calm", "happy", "neutral")
    ]
    file = csv_table(rows)
    assert parse(f"table:{file}").labels() == ("neutral", "happiness", "sadness", "calm")
    assert [sample.expression for sample in kept("table", file)] == ["sadness", "calm", "happiness", "neutral"]


def test_labels_are_those_of_all_splits(csv_table):
    rows = [
        {"path": f"{name}.png", "expression": name, "split": split}
        for name, split in zip(("sadness", "fear", "anger"), SPLITS, strict=True)
    ]
    assert parse(f"table:{csv_table(rows)}").labels() == ("sadness", "anger", "fear")


def test_the_option_labels_sets_their_order(csv_table):
    file = csv_table([{"path": f"{name}.png", "expression": name, "split": "train"} for name in ("sadness", "fear")])
    assert parse(f"table:{file}?labels=fear,sadness,anger").labels() == ("fear", "sadness", "anger")


@pytest.mark.parametrize("empty", ["", "nan", "NaN"])
def test_empty_valence_and_arousal_are_unknown(csv_table, kept, empty):
    row = {"path": "a.png", "expression": "fear", "valence": empty, "arousal": empty, "split": "train"}
    (sample,) = kept("table", csv_table([row]))
    assert (sample.expression, sample.valence, sample.arousal) == ("fear", None, None)


def test_valence_alone_is_enough(csv_table, kept):
    (sample,) = kept("table", csv_table([{"path": "a.png", "valence": "0.5", "arousal": "-1", "split": "train"}]))
    assert (sample.expression, sample.valence, sample.arousal) == (None, 0.5, -1)


def test_an_empty_expression_leaves_valence_and_arousal(csv_table, kept):
    rows = [
        {"path": "a.png", "expression": "", "valence": "0.5", "arousal": "0", "split": "train"},
        {"path": "b.png", "expression": "fear", "valence": "", "arousal": "", "split": "train"},
    ]
    file = csv_table(rows)
    assert [sample.expression for sample in kept("table", file)] == [None, "fear"]
    assert parse(f"table:{file}").labels() == ("fear",)


@pytest.mark.parametrize(("valence", "arousal"), [("1.5", "0"), ("0", "-1.01"), ("-2", "-2"), ("inf", "0")])
def test_valence_or_arousal_outside_the_range_is_dropped(csv_table, dropped, valence, arousal):
    rows = [
        {"path": "a.png", "expression": "fear", "valence": valence, "arousal": arousal, "split": "train"},
        {"path": "b.png", "expression": "fear", "valence": "0", "arousal": "0", "split": "train"},
    ]
    assert dropped("table", csv_table(rows)) == {"valence or arousal outside -1 to 1": 1}


def test_a_face_with_neither_label_nor_valence_is_dropped(csv_table, dropped):
    rows = [
        {"path": "a.png", "expression": "", "valence": "", "arousal": "", "split": "train"},
        {"path": "b.png", "expression": "fear", "valence": "", "arousal": "", "split": "train"},
    ]
    assert dropped("table", csv_table(rows)) == {"neither expression, votes nor valence": 1}
    assert dropped("table", csv_table([{"path": "a.png", "split": "train"}])) == {
        "neither expression, votes nor valence": 1
    }


def test_a_face_whose_image_is_missing_is_dropped(csv_table, kept, dropped):
    rows = [{"path": name, "expression": "fear", "split": "train"} for name in ("a.png", "b.png", "")]
    file = csv_table(rows, missing=["b.png", ""])
    assert dropped("table", file) == {"image file is missing": 2}
    assert [sample.path.name for sample in kept("table", file)] == ["a.png"]


def test_a_folder_with_data_csv_is_read(csv_table, kept):
    file = csv_table([{"path": "a.png", "expression": "fear", "split": "train"}])
    assert [sample.id for sample in kept("table", file.parent)] == [sample.id for sample in kept("table", file)]


def test_a_table_may_begin_with_a_byte_order_mark(csv_table, kept):
    file = csv_table([{"path": "a.png", "expression": "fear", "split": "train"}])
    file.write_text("\ufeff" + file.read_text())
    assert len(kept("table", file)) == 1


def test_another_table_is_read_by_its_name(csv_table, kept):
    file = csv_table([{"path": "a.png", "expression": "fear", "split": "train"}], file="faces.csv")
    assert len(kept("table", file)) == 1


def test_parquet_holds_the_images_themselves(parquet_table, kept):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    encoded = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    file = parquet_table([{"id": "x", "image": encoded, "expression": "fear", "split": "train"}])
    (sample,) = kept("table", file)
    assert sample.id == "train/x"
    assert sample.content == encoded
    assert sample.path == file
    (decoded,) = parse(f"table:{file}").load("train").images
    np.testing.assert_array_equal(decoded, image)


def test_parquet_may_name_image_files(parquet_table, kept):
    file = parquet_table([{"path": "a.png", "expression": "fear", "split": "train"}])
    (sample,) = kept("table", file)
    assert sample.path == file.parent / "a.png"
    assert sample.content is None


def test_parquet_gives_votes_landmarks_and_numbers(parquet_table, kept):
    first = {
        "expression": "sadness",
        "votes": [0.25, 0.75],
        "valence": 0.5,
        "arousal": float("nan"),
        "landmarks": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "age_years": 40.0,
        "split": "train",
        "group_sex": "f",
    }
    second = {
        "expression": "happiness",
        "votes": None,
        "valence": None,
        "arousal": None,
        "landmarks": None,
        "age_years": None,
    }
    file = parquet_table([{"id": "a", **first}, {"id": "b", "split": "train", "group_sex": None, **second}])
    one, two = kept("table", file)
    assert parse(f"table:{file}").labels() == ("happiness", "sadness")
    np.testing.assert_array_equal(one.votes, [0.25, 0.75])
    np.testing.assert_array_equal(one.landmarks_xy, [[1, 2], [3, 4], [5, 6]])
    assert one.votes.dtype == one.landmarks_xy.dtype == np.float32
    assert (one.arousal, one.age_years, one.groups["sex"]) == (None, 40, "f")
    assert (two.expression, two.valence, two.arousal, two.age_years) == ("happiness", None, None, None)
    assert two.votes is two.landmarks_xy is None


def test_all_shards_of_a_folder_are_read(parquet_table, kept):
    for number in range(3):
        file = parquet_table(
            [{"id": f"face{number}", "expression": "fear", "split": "train"}], file=f"data-{number}.parquet"
        )
    ids = [sample.id for sample in kept("table", file.parent)]
    assert ids == ["train/face0", "train/face1", "train/face2"]


def test_shards_without_ids_give_different_ids(parquet_table, kept):
    for number in range(2):
        rows = [{"expression": "fear", "split": "train"} for _ in range(2)]
        file = parquet_table(rows, file=f"data-{number}.parquet")
    assert len({sample.id for sample in kept("table", file.parent)}) == 4


def test_parquet_without_pyarrow_names_the_extra(parquet_table, monkeypatch):
    file = parquet_table([{"id": "a", "expression": "fear", "split": "train"}])
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"affectlens\[parquet\]"):
        list(parse(f"table:{file}").samples("train"))


def test_landmarks_of_a_csv_table_are_a_flat_list(csv_table, kept):
    row = {"path": "a.png", "expression": "fear", "split": "train", "landmarks": "[1.0, 2.5, 3.0, 4.0]"}
    (sample,) = kept("table", csv_table([row]))
    np.testing.assert_array_equal(sample.landmarks_xy, [[1, 2.5], [3, 4]])


@pytest.mark.parametrize(
    "changes",
    [
        {"valence": "high"},
        {"arousal": "0,5"},
        {"split": "dev"},
        {"split": ""},
        {"age_years": "young"},
        {"age_years": "-3"},
    ],
)
def test_a_malformed_line_is_named(csv_table, refusal, changes):
    usual = {"path": "a.png", "expression": "fear", "valence": "0", "arousal": "0", "split": "train", "age_years": "20"}
    file = csv_table([usual])
    lines = file.read_text().splitlines()
    row = ",".join(f'"{value}"' for value in (usual | {"path": "a.png"} | changes).values())
    file.write_text("\n".join([*lines, row, ""]))
    message = refusal("table", file)
    assert str(file) in message
    assert "line 3" in message


def test_a_table_without_images_is_refused(csv_table, refusal):
    file = csv_table([{"expression": "fear", "split": "train"}])
    message = refusal("table", file)
    assert str(file) in message
    assert "path" in message


def test_two_rows_of_the_same_id_are_refused(csv_table, refusal):
    rows = [{"id": "same", "path": name, "expression": "fear", "split": "train"} for name in ("a.png", "b.png")]
    assert "same" in refusal("table", csv_table(rows))


def test_votes_of_the_wrong_number_are_refused(parquet_table, refusal):
    rows = [
        {"id": name, "expression": name, "votes": [0.5, 0.25, 0.25], "split": "train"} for name in ("fear", "anger")
    ]
    assert "votes" in refusal("table", parquet_table(rows))


def test_counts_of_votes_become_a_distribution(parquet_table, kept):
    rows = [{"id": name, "expression": name, "votes": [2.0, 6.0], "split": "train"} for name in ("fear", "anger")]
    for sample in kept("table", parquet_table(rows)):
        np.testing.assert_array_equal(sample.votes, [0.25, 0.75])


@pytest.mark.parametrize("votes", [[1.5, -0.5], [float("nan"), 1.0]])
def test_votes_below_zero_are_refused(parquet_table, refusal, votes):
    rows = [{"id": name, "expression": name, "votes": votes, "split": "train"} for name in ("fear", "anger")]
    assert "votes" in refusal("table", parquet_table(rows))


def test_landmarks_that_are_no_pairs_are_refused(parquet_table, refusal):
    row = {"id": "a", "expression": "fear", "landmarks": [1.0, 2.0, 3.0], "split": "train"}
    assert "landmarks" in refusal("table", parquet_table([row]))


@pytest.mark.parametrize("name", ["data.csv", "faces.parquet"])
def test_a_file_that_is_neither_text_nor_parquet_is_refused(tmp_path, refusal, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81")
    assert str(tmp_path / name) in refusal("table", tmp_path / name)


def test_a_file_of_another_kind_is_refused(tmp_path, refusal):
    (tmp_path / "faces.json").write_text("[]")
    assert "faces.json" in refusal("table", tmp_path / "faces.json")


def test_a_folder_of_two_kinds_of_tables_is_refused(csv_table, parquet_table, refusal):
    csv_table([{"path": "a.png", "expression": "fear", "split": "train"}])
    file = parquet_table([{"id": "a", "expression": "fear", "split": "train"}])
    assert str(file.parent) in refusal("table", file.parent)


def test_parquet_read_in_many_batches_gives_every_row_once(tmp_path, kept):
    encoded = cv2.imencode(".png", np.zeros((2, 2), dtype=np.uint8))[1].tobytes()
    rows = [{"id": str(n), "image": encoded, "expression": "fear", "split": "train"} for n in range(5000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "faces.parquet", row_group_size=700)
    ids = [sample.id for sample in kept("table", Path(tmp_path / "faces.parquet"))]
    assert ids == [f"train/{n}" for n in range(5000)]
