import numpy as np
import pytest

from affectlens.data.source import SPLITS, parse

LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
POINTS = np.array([(0.25 * i, 0.125 * i) for i in range(68)], dtype=np.float32)


@pytest.fixture
def one_row(affectnet_tables, names):
    """The first release with one training face that differs from the usual one as told."""

    def write(**changes):
        (path,) = names("{}.jpg", 10, 100)
        return affectnet_tables("training", [{"subDirectory_filePath": f"7/{path}", **changes}])

    return write


@pytest.fixture
def one_face(affectnet_arrays, names):
    """The later release with one training face of these values."""

    def write(*values, **options):
        (name,) = names("{}.jpg", 10, 100)
        return affectnet_arrays("train_set", {name.removesuffix(".jpg"): values}, **options)

    return write


def test_labels_are_in_the_order_of_the_numbers(one_row):
    folder = one_row()
    assert parse(f"affectnet:{folder}").labels() == LABELS
    assert parse(f"affectnet:{folder}?classes=7").labels() == LABELS[:7]


@pytest.mark.parametrize("number", range(8))
def test_numbers_of_the_tables_stand_for_the_labels(one_row, read, number):
    (sample,) = read("affectnet", one_row(expression=number))
    assert sample.expression == LABELS[number]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("kind", [int, str, float])
def test_numbers_of_the_arrays_stand_for_the_labels(one_face, read, number, kind):
    (sample,) = read("affectnet", one_face(kind(number), "0.5", "-0.25"))
    assert sample.expression == LABELS[number]


def test_a_row_of_the_tables_gives_all_its_facts(affectnet_tables, read, names):
    (name,) = names("{}.jpg", 10, 100)
    folder = affectnet_tables("training", [{"subDirectory_filePath": f"689/{name}"}])
    (sample,) = read("affectnet", folder)
    assert sample.id == f"train/689/{name}"
    assert sample.path == folder / "Manually_Annotated_Images" / "689" / name
    assert sample.split == "train"
    assert (sample.valence, sample.arousal) == (0.5, -0.25)
    np.testing.assert_array_equal(sample.box_xyxy, [2, 3, 2 + 10, 3 + 12])
    np.testing.assert_allclose(sample.landmarks_xy, POINTS, atol=1e-4)
    assert sample.landmarks_xy.dtype == sample.box_xyxy.dtype == np.float32
    assert sample.votes is None
    assert sample.content is None


def test_arrays_of_a_face_give_all_its_facts(affectnet_arrays, read):
    affectnet_arrays("train_set", {})
    folder = affectnet_arrays("val_set", {"12": ("6", "-0.75", "0.125")})
    (folder / "train_set" / "images").mkdir(parents=True)
    (folder / "train_set" / "annotations").mkdir()
    (sample,) = read("affectnet", folder, "test")
    assert sample.id == "test/12.jpg"
    assert sample.path == folder / "val_set" / "images" / "12.jpg"
    assert sample.expression == "anger"
    assert (sample.valence, sample.arousal) == (-0.75, 0.125)
    np.testing.assert_allclose(sample.landmarks_xy, POINTS)
    assert sample.landmarks_xy.dtype == np.float32
    assert sample.box_xyxy is None


def test_landmarks_of_the_later_release_are_optional(one_face, read):
    (sample,) = read("affectnet", one_face("1", "0.5", "0.5", landmarks=False))
    assert sample.landmarks_xy is None
    assert sample.expression == "happiness"


def test_images_may_lie_beside_the_tables(affectnet_tables, read):
    folder = affectnet_tables("validation", [{"subDirectory_filePath": "1/a.jpg"}], images=".")
    (sample,) = read("affectnet", folder, "test")
    assert sample.path == folder / "1" / "a.jpg"


@pytest.mark.parametrize("number", [8, 9, 10])
def test_faces_without_an_expression_are_dropped(one_row, dropped, number):
    assert dropped("affectnet", one_row(expression=number)) == {"label is none, uncertain or no face": 1}


@pytest.mark.parametrize("number", [8, 9, 10])
def test_arrays_without_an_expression_are_dropped(one_face, dropped, number):
    folder = one_face(str(number), "-2", "-2")
    assert dropped("affectnet", folder) == {"label is none, uncertain or no face": 1}


@pytest.mark.parametrize("number", [11, -1])
def test_numbers_outside_the_table_are_dropped(affectnet_tables, one_face, dropped, number):
    row = {"subDirectory_filePath": "1/a.jpg", "expression": number}
    assert dropped("affectnet", affectnet_tables("validation", [row]), "test") == {"label outside 0 to 10": 1}
    folder = one_face(str(number), "0", "0")
    assert dropped("affectnet", folder, release="2") == {"label outside 0 to 10": 1}


def test_seven_classes_leave_out_contempt(affectnet_tables, kept, dropped):
    rows = [{"subDirectory_filePath": f"1/{number}.jpg", "expression": number} for number in (6, 7)]
    folder = affectnet_tables("validation", rows)
    assert dropped("affectnet", folder, "test", classes="7") == {"contempt, with classes=7": 1}
    assert [sample.expression for sample in kept("affectnet", folder, "test", classes="7")] == ["anger"]
    assert [sample.expression for sample in kept("affectnet", folder, "test")] == ["anger", "contempt"]


@pytest.mark.parametrize(
    ("valence", "arousal"), [("-2", "-2"), ("nan", "nan"), ("nan", "0.5"), ("0.5", "1.5"), ("-2", "0.5"), ("0", "inf")]
)
def test_invalid_valence_and_arousal_leave_a_face_with_its_label(one_row, one_face, kept, valence, arousal):
    folder = one_row(valence=valence, arousal=arousal)
    one_face("1", valence, arousal)
    for release in ("1", "2"):
        (sample,) = kept("affectnet", folder, release=release)
        assert sample.expression == "happiness"
        assert (sample.valence, sample.arousal) == (None, None)


@pytest.mark.parametrize("value", ["-1", "1", "-1.0", "0"])
def test_the_ends_of_the_range_are_valid(one_row, kept, value):
    (sample,) = kept("affectnet", one_row(valence=value, arousal=value))
    assert sample.valence == sample.arousal == float(value)


def test_a_tenth_of_the_training_faces_is_for_validation(affectnet_tables, affectnet_arrays, kept, names):
    held, others = names("{}.jpg", 0, 10, 2), names("{}.jpg", 10, 100, 3)
    affectnet_tables("training", [{"subDirectory_filePath": f"5/{name}"} for name in [*others, *held]])
    affectnet_tables("validation", [{"subDirectory_filePath": f"6/{held[0]}"}])
    affectnet_arrays("train_set", {name.removesuffix(".jpg"): ("1", "0", "0") for name in [*others, *held]})
    folder = affectnet_arrays("val_set", {held[0].removesuffix(".jpg"): ("1", "0", "0")})
    for release in ("1", "2"):
        found = [sorted(sample.path.name for sample in kept("affectnet", folder, s, release=release)) for s in SPLITS]
        assert found == [sorted(others), sorted(held), [held[0]]]


@pytest.mark.parametrize("protocol", ["antoniadis", "dare"])
@pytest.mark.parametrize("release", ["1", "2"])
def test_the_works_train_on_all_and_select_on_what_they_report(
    affectnet_tables, affectnet_arrays, kept, names, protocol, release
):
    held, other = names("{}.jpg", 0, 10), names("{}.jpg", 10, 100)
    affectnet_tables("training", [{"subDirectory_filePath": f"5/{name}"} for name in [*other, *held]])
    affectnet_tables("validation", [{"subDirectory_filePath": "6/reported.jpg"}])
    affectnet_arrays("train_set", {name.removesuffix(".jpg"): ("1", "0", "0") for name in [*other, *held]})
    folder = affectnet_arrays("val_set", {"reported": ("1", "0", "0")})
    options = {"release": release, "protocol": protocol}
    found = [sorted(sample.path.name for sample in kept("affectnet", folder, s, **options)) for s in SPLITS]
    assert found == [sorted([*other, *held]), ["reported.jpg"], ["reported.jpg"]]


def test_release_tells_which_layout_is_read(affectnet_tables, affectnet_arrays, kept):
    affectnet_tables("validation", [{"subDirectory_filePath": "1/a.jpg", "expression": 0}])
    affectnet_tables("training", [{"subDirectory_filePath": "1/b.jpg"}])
    affectnet_arrays("train_set", {"2": ("1", "0", "0")})
    folder = affectnet_arrays("val_set", {"1": ("6", "0", "0")})
    (first,) = kept("affectnet", folder, "test", release="1")
    (later,) = kept("affectnet", folder, "test", release="2")
    assert (first.expression, later.expression) == ("neutral", "anger")


@pytest.mark.parametrize("release", ["1", "2"])
def test_a_release_that_is_not_there_is_refused(one_row, one_face, refusal, release, tmp_path):
    folder = one_face("1", "0", "0") if release == "1" else one_row()
    assert str(tmp_path) in refusal("affectnet", folder, release=release)


def test_a_face_whose_image_is_missing_is_dropped(affectnet_tables, affectnet_arrays, kept, dropped):
    rows = [{"subDirectory_filePath": path} for path in ("1/a.jpg", "1/b.jpg")]
    folder = affectnet_tables("validation", rows, missing=["1/b.jpg"])
    assert dropped("affectnet", folder, "test") == {"image file is missing": 1}
    assert [sample.id for sample in kept("affectnet", folder, "test")] == ["test/1/a.jpg"]


@pytest.mark.parametrize(
    "column",
    ["subDirectory_filePath", "face_x", "face_height", "facial_landmarks", "expression", "valence", "arousal"],
)
def test_a_missing_column_is_named(one_row, refusal, column):
    folder = one_row()
    table = folder / "training.csv"
    table.write_text(table.read_text().replace(column, "other"))
    message = refusal("affectnet", folder)
    assert str(table) in message
    assert column in message


@pytest.mark.parametrize(
    "changes",
    [
        {"expression": "happy"},
        {"valence": "high"},
        {"arousal": ""},
        {"face_x": "left"},
        {"face_width": "nan"},
        {"facial_landmarks": "1;2;3"},
        {"facial_landmarks": "1;2;x;4"},
    ],
)
def test_a_malformed_line_is_named(affectnet_tables, refusal, changes):
    rows = [{"subDirectory_filePath": "1/a.jpg"}, {"subDirectory_filePath": "1/b.jpg", **changes}]
    folder = affectnet_tables("validation", rows)
    assert f"{folder / 'validation.csv'}, line 3" in refusal("affectnet", folder, "test")


def test_a_line_that_ends_early_is_named(affectnet_tables, refusal):
    folder = affectnet_tables("validation", [{"subDirectory_filePath": "1/a.jpg"}])
    table = folder / "validation.csv"
    table.write_text(table.read_text() + "1/a.jpg,2,3\n")
    assert f"{table}, line 3" in refusal("affectnet", folder, "test")


def test_images_and_arrays_without_each_other_are_dropped(affectnet_arrays, kept, dropped):
    affectnet_arrays("train_set", {"1": ("1", "0", "0")})
    folder = affectnet_arrays("val_set", dict.fromkeys(("4", "5", "6"), ("1", "0", "0")))
    (folder / "val_set" / "annotations" / "4_exp.npy").unlink()
    (folder / "val_set" / "images" / "5.jpg").unlink()
    assert dropped("affectnet", folder, "test") == {"image without a label": 1, "image file is missing": 1}
    assert [sample.id for sample in kept("affectnet", folder, "test")] == ["test/6.jpg"]


@pytest.mark.parametrize("kind", ["val", "aro"])
def test_a_face_without_one_of_its_arrays_is_refused(affectnet_arrays, refusal, kind):
    affectnet_arrays("train_set", {"1": ("1", "0", "0")})
    folder = affectnet_arrays("val_set", {"4": ("1", "0", "0")})
    (folder / "val_set" / "annotations" / f"4_{kind}.npy").unlink()
    assert f"4_{kind}.npy" in refusal("affectnet", folder, "test")


@pytest.mark.parametrize(("kind", "value"), [("exp", "happy"), ("val", "high"), ("aro", ""), ("lnd", "x")])
def test_an_array_of_something_else_is_named(affectnet_arrays, refusal, kind, value):
    affectnet_arrays("train_set", {"1": ("1", "0", "0")})
    folder = affectnet_arrays("val_set", {"4": ("1", "0", "0")})
    np.save(folder / "val_set" / "annotations" / f"4_{kind}.npy", value)
    assert f"4_{kind}.npy" in refusal("affectnet", folder, "test")


def test_an_array_file_that_numpy_cannot_read_is_named(affectnet_arrays, refusal):
    affectnet_arrays("train_set", {"1": ("1", "0", "0")})
    folder = affectnet_arrays("val_set", {"4": ("1", "0", "0")})
    (folder / "val_set" / "annotations" / "4_val.npy").write_bytes(b"no array")
    assert "4_val.npy" in refusal("affectnet", folder, "test")


@pytest.mark.parametrize(
    "header",
    ["{'descr': '<f8', 'fortran_order': False, 'shape': (", "(" * 300, "{'descr': '|O'}", "\\", "'<U9999999999'"],
)
def test_an_array_with_an_evil_header_is_one_line_without_advice(one_face, refusal, header):
    folder = one_face("1", "0.5", "-0.25")
    for file in folder.rglob("*_val.npy"):
        text = f"{header}\n".encode()
        file.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    said = refusal("affectnet", folder)
    assert "_val.npy' is missing or not an array" in said
    assert "pickle" not in said
