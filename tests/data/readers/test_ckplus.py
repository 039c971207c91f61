import pytest

from affectlens.core.errors import AffectLensError
from affectlens.data.source import SPLITS, parse

LABELS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
HAPPY, CONTEMPT = "   5.0000000e+00", "   2.0000000e+00"


@pytest.fixture
def subject(names):
    """A subject whose sequences are for training."""
    (name,) = names("S{:03d}", 20, 100)
    return name


def frames(samples):
    """Number of the frame -> its expression."""
    return {int(sample.path.stem[-8:]): sample.expression for sample in samples}


def test_labels_are_in_the_order_of_the_numbers(ckplus, subject):
    folder = ckplus({f"{subject}/001": (5, HAPPY)})
    assert parse(f"ckplus:{folder}").labels() == LABELS
    assert parse(f"ckplus:{folder}?classes=7").labels() == tuple(name for name in LABELS if name != "contempt")


@pytest.mark.parametrize("number", range(8))
def test_numbers_stand_for_the_labels(ckplus, subject, kept, number):
    folder = ckplus({f"{subject}/001": (4, f"   {number}.0000000e+00")})
    assert frames(kept("ckplus", folder))[4] == LABELS[number]


def test_the_first_frame_is_neutral_and_the_last_three_show_the_expression(ckplus, subject, kept):
    samples = kept("ckplus", ckplus({f"{subject}/001": (9, HAPPY)}))
    assert frames(samples) == {1: "neutral", 7: "happiness", 8: "happiness", 9: "happiness"}


def test_options_set_how_many_frames_are_taken(ckplus, subject, kept):
    folder = ckplus({f"{subject}/001": (9, HAPPY)})
    taken = frames(kept("ckplus", folder, last="1", first="2"))
    assert taken == {1: "neutral", 2: "neutral", 9: "happiness"}
    assert frames(kept("ckplus", folder, last="2", first="0")) == {8: "happiness", 9: "happiness"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_frame_of_a_short_sequence_is_taken_twice(ckplus, subject, read, count):
    ids = [one.id for one in read("ckplus", ckplus({f"{subject}/001": (count, HAPPY)}))]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("setting", ["last=many", "last=-1", "first=1.5", "first=-2"])
def test_a_number_of_frames_that_is_none_is_refused(ckplus, subject, setting):
    folder = ckplus({f"{subject}/001": (5, HAPPY)})
    key, value = setting.split("=")
    with pytest.raises(AffectLensError, match=rf"{key}.*'?{value}") as error:
        list(parse(f"ckplus:{folder}?{setting}").samples("train"))
    assert len(str(error.value).splitlines()) == 1


def test_a_frame_carries_id_path_and_subject(ckplus, subject, kept):
    folder = ckplus({f"{subject}/006": (1, HAPPY)})
    (sample,) = kept("ckplus", folder, first="0")
    name = f"{subject}_006_00000001.png"
    assert sample.id == f"train/{subject}/006/{name}"
    assert sample.path == folder / "cohn-kanade-images" / subject / "006" / name
    assert sample.groups == {"subject": subject}


def test_splits_are_by_subject(ckplus, kept, names):
    parts = {
        "test": names("S{:03d}", 0, 10, 2),
        "valid": names("S{:03d}", 10, 20, 2),
        "train": names("S{:03d}", 20, 100, 3),
    }
    folder = ckplus(
        {f"{name}/{take}": (4, HAPPY) for part in parts.values() for name in part for take in ("001", "002")}
    )
    for split in SPLITS:
        assert {sample.groups["subject"] for sample in kept("ckplus", folder, split)} == set(parts[split])


def test_a_sequence_without_a_label_is_dropped_once(ckplus, subject, kept, dropped):
    folder = ckplus({f"{subject}/001": (6, None), f"{subject}/002": (6, None), f"{subject}/003": (6, HAPPY)})
    (folder / "Emotion" / subject / "002").mkdir()
    assert dropped("ckplus", folder) == {"sequence without a label": 2}
    assert len(kept("ckplus", folder)) == 4


def test_seven_classes_leave_out_contempt(ckplus, subject, kept, dropped):
    folder = ckplus({f"{subject}/001": (6, CONTEMPT), f"{subject}/002": (6, HAPPY)})
    assert {sample.expression for sample in kept("ckplus", folder, classes="7")} == {"neutral", "happiness"}
    assert any("contempt" in reason for reason in dropped("ckplus", folder, classes="7"))
    assert not dropped("ckplus", folder)


def test_files_of_the_finder_are_passed_over(ckplus, subject, kept):
    folder = ckplus({f"{subject}/001": (4, HAPPY)})
    for place in (
        "cohn-kanade-images",
        f"cohn-kanade-images/{subject}",
        f"cohn-kanade-images/{subject}/001",
        "Emotion",
    ):
        (folder / place / ".DS_Store").write_bytes(b"\x00")
    assert len(kept("ckplus", folder)) == 4


@pytest.mark.parametrize("text", ["", "happy", "5.0 3.0", "5.5", "nan"])
def test_a_label_file_that_is_not_one_number_is_named(ckplus, subject, refusal, text):
    folder = ckplus({f"{subject}/001": (4, text)})
    assert f"{subject}_001_00000004_emotion.txt" in refusal("ckplus", folder)


@pytest.mark.parametrize("number", ["8.0", "-1.0"])
def test_a_number_outside_the_table_gives_no_face(ckplus, subject, read, dropped, number):
    folder = ckplus({f"{subject}/001": (4, number), f"{subject}/002": (4, HAPPY)})
    assert dropped("ckplus", folder).total() >= 1
    assert {one.id.split("/")[2] for one in read("ckplus", folder)} == {"001", "002"}


def test_missing_label_files_are_named(ckplus, subject, refusal):
    folder = ckplus({f"{subject}/001": (4, None)})
    assert "Emotion" in refusal("ckplus", folder)


def test_class_folders_are_read_by_name(class_folders, names, kept):
    classes = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
    (subject,) = names("S{:03d}", 20, 100)
    folder = class_folders({name: [f"{subject}_00{n}_00000017.png"] for n, name in enumerate(classes)})
    samples = kept("ckplus", folder)
    assert parse(f"ckplus:{folder}").labels() == LABELS[1:]
    assert {sample.path.parent.name: sample.expression for sample in samples} == dict(
        zip(classes, LABELS[1:], strict=True)
    )
    assert {sample.groups["subject"] for sample in samples} == {subject}
    assert f"train/happy/{subject}_004_00000017.png" in {sample.id for sample in samples}


def test_class_folders_are_split_by_the_subject_of_the_file_name(class_folders, kept, names):
    parts = {
        "test": names("S{:03d}", 0, 10, 2),
        "valid": names("S{:03d}", 10, 20),
        "train": names("S{:03d}", 20, 100, 3),
    }
    files = [f"{name}_004_0000001{take}.png" for part in parts.values() for name in part for take in range(3)]
    folder = class_folders({"fear": files, "happy": []})
    for split in SPLITS:
        found = [sample.groups["subject"] for sample in kept("ckplus", folder, split)]
        assert sorted(found) == sorted(parts[split] * 3)


def test_seven_classes_leave_out_the_folder_contempt(class_folders, kept, dropped, names):
    (subject,) = names("S{:03d}", 20, 100)
    folder = class_folders({name: [f"{subject}_004_00000017.png"] for name in ("contempt", "fear")})
    assert parse(f"ckplus:{folder}?classes=7").labels() == (
        "anger",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
    )
    assert [sample.expression for sample in kept("ckplus", folder, classes="7")] == ["fear"]
    assert dropped("ckplus", folder, classes="7").total() == 1


def test_a_class_folder_with_a_file_of_no_subject_is_refused(class_folders, refusal):
    assert "portrait.png" in refusal("ckplus", class_folders({"happy": ["portrait.png"]}))
