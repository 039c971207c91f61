import pytest

from affectlens.data.source import SPLITS, parse

LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")


@pytest.fixture
def expressions(affwild2):
    """A video "seen" of the published validation part, with these lines of numbers and a frame for each."""
    return lambda *lines: affwild2({"EXPR_Set/Validation_Set/seen": lines}, {"seen": range(1, len(lines) + 1)})


@pytest.fixture
def affects(affwild2):
    """The same with lines of valence and arousal."""
    return lambda *lines: affwild2({"VA_Set/Validation_Set/seen": lines}, {"seen": range(1, len(lines) + 1)})


def facts(samples):
    return {sample.path.stem: (sample.expression, sample.valence, sample.arousal) for sample in samples}


def test_labels_are_in_the_order_of_the_header(expressions):
    assert parse(f"affwild2:{expressions('0')}").labels() == LABELS


def test_numbers_stand_for_the_labels(expressions, kept):
    samples = kept("affwild2", expressions(*range(7)), "test")
    assert [sample.expression for sample in samples] == list(LABELS)


def test_line_n_below_the_header_is_frame_n(expressions, kept):
    folder = expressions("3", "5")
    first, second = kept("affwild2", folder, "test")
    assert (first.id, second.id) == ("test/seen/00001.jpg", "test/seen/00002.jpg")
    assert first.path == folder / "cropped_aligned" / "seen" / "00001.jpg"
    assert (first.expression, second.expression) == ("fear", "sadness")
    assert first.groups == {"video": "seen"}
    assert first.votes is None


def test_expression_and_affect_of_a_frame_are_joined(expressions, affects, kept, dropped):
    expressions("4", "-1", "2", "-1", "6")
    folder = affects("0.5,-0.25", "-1,1", "-5,-5", "-5,-5")
    assert facts(kept("affwild2", folder, "test")) == {
        "00001": ("happiness", 0.5, -0.25),
        "00002": (None, -1, 1),
        "00003": ("disgust", None, None),
        "00005": ("surprise", None, None),
    }
    assert dropped("affwild2", folder, "test") == {"no valid annotation": 1}


@pytest.mark.parametrize("line", ["-5,-5", "1.5,0", "0,-1.5", "nan,0", "0,nan", "-5,0.5"])
def test_affect_outside_the_range_is_no_annotation(affects, kept, dropped, line):
    folder = affects("0.1,0.2", line)
    assert facts(kept("affwild2", folder, "test")) == {"00001": (None, 0.1, 0.2)}
    assert dropped("affwild2", folder, "test") == {"no valid annotation": 1}


def test_a_tenth_of_the_training_videos_is_for_validation(affwild2, kept, names):
    held, others = names("video{}", 0, 10, 2), names("video{}", 10, 100, 3)
    places = [f"EXPR_Set/Train_Set/{video}" for video in [*held, *others]] + ["EXPR_Set/Validation_Set/seen"]
    folder = affwild2({place: ["0", "1"] for place in places}, dict.fromkeys([*held, *others, "seen"], (1, 2)))
    found = [[sample.groups["video"] for sample in kept("affwild2", folder, split)] for split in SPLITS]
    assert [sorted(videos) for videos in found] == [sorted(others * 2), sorted(held * 2), ["seen", "seen"]]


def test_the_two_sets_may_hold_different_videos(affwild2, kept, names):
    first, second = names("video{}", 10, 100, 2)
    annotations = {f"EXPR_Set/Train_Set/{first}": ["1"], f"VA_Set/Train_Set/{second}": ["0.25,0.5"]}
    samples = kept("affwild2", affwild2(annotations, {first: [1], second: [1]}))
    facts_by_video = {sample.groups["video"]: (sample.expression, sample.valence) for sample in samples}
    assert facts_by_video == {first: ("anger", None), second: (None, 0.25)}


def test_a_video_that_one_set_trains_on_and_the_other_validates_on_is_in_one_split(affwild2, kept):
    annotations = {"EXPR_Set/Train_Set/seen": ["1", "2"], "VA_Set/Validation_Set/seen": ["0.25,0.5", "0,0"]}
    folder = affwild2(annotations, {"seen": (1, 2)})
    assert [len(kept("affwild2", folder, split)) > 0 for split in SPLITS].count(True) == 1


def test_antoniadis_splits_by_expression_and_selects_on_what_he_reports(affwild2, kept, names):
    (held,), (other,) = names("video{}", 0, 10), names("video{}", 10, 100)
    annotations = {
        f"EXPR_Set/Train_Set/{held}": ["1"],
        f"EXPR_Set/Train_Set/{other}": ["2"],
        f"VA_Set/Validation_Set/{other}": ["0.25,0.5"],
        "EXPR_Set/Validation_Set/seen": ["3"],
        "VA_Set/Train_Set/seen": ["0.5,0.25"],
        "VA_Set/Train_Set/first": ["0,0"],
        "VA_Set/Validation_Set/second": ["0,0"],
    }
    folder = affwild2(annotations, dict.fromkeys((held, other, "seen", "first", "second"), (1,)))
    found = [kept("affwild2", folder, split, protocol="antoniadis") for split in SPLITS]
    videos = [sorted(sample.groups["video"] for sample in samples) for samples in found]
    assert videos == [sorted([held, other]), ["seen"], ["seen"]]
    assert {sample.valence for sample in found[0]} == {None, 0.25}
    assert [sample.valence for sample in found[2]] == [0.5]


def test_frames_may_lie_beside_the_annotations(affwild2, kept):
    folder = affwild2({"EXPR_Set/Validation_Set/seen": ["1"]}, {"seen": [1]}, crops=".")
    (sample,) = kept("affwild2", folder, "test")
    assert sample.path == folder / "seen" / "00001.jpg"


def test_a_frame_without_an_image_is_dropped(affwild2, kept, dropped):
    folder = affwild2({"EXPR_Set/Validation_Set/seen": ["1", "2", "3"]}, {"seen": (1, 3)})
    assert [sample.expression for sample in kept("affwild2", folder, "test")] == ["anger", "fear"]
    assert dropped("affwild2", folder, "test") == {"image file is missing": 1}


@pytest.mark.parametrize("line", ["0.5", "0.5,0.5,0.5", "high,low", ""])
def test_a_malformed_line_of_affect_is_named(affects, refusal, line):
    folder = affects("0,0", line, "0,0")
    table = folder / "VA_Set" / "Validation_Set" / "seen.txt"
    assert f"{table}, line 3" in refusal("affwild2", folder, "test")


@pytest.mark.parametrize("line", ["happy", "1.5", "1,2", ""])
def test_a_malformed_line_of_expressions_is_named(expressions, refusal, line):
    folder = expressions("0", line, "0")
    table = folder / "EXPR_Set" / "Validation_Set" / "seen.txt"
    assert f"{table}, line 3" in refusal("affwild2", folder, "test")


def test_a_number_outside_the_table_gives_no_expression(expressions, affects, read):
    expressions("7")
    entries = read("affwild2", affects("0.5,0.5"), "test")
    assert all(getattr(entry, "expression", None) is None for entry in entries)


def test_expressions_in_another_order_are_refused(expressions, refusal):
    folder = expressions("0")
    table = folder / "EXPR_Set" / "Validation_Set" / "seen.txt"
    table.write_text(
        "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n7\n".replace("Anger,Disgust", "Disgust,Anger")
    )
    assert str(table) in refusal("affwild2", folder, "test")


def test_valence_and_arousal_in_another_order_are_refused(affects, refusal):
    folder = affects("0,0")
    table = folder / "VA_Set" / "Validation_Set" / "seen.txt"
    table.write_text("arousal,valence\n0,0\n")
    assert str(table) in refusal("affwild2", folder, "test")


def test_a_file_without_even_a_header_is_refused(expressions, refusal):
    folder = expressions("0")
    table = folder / "EXPR_Set" / "Validation_Set" / "seen.txt"
    table.write_text("")
    assert str(table) in refusal("affwild2", folder, "test")


def test_with_both_only_frames_with_two_annotations_are_kept(expressions, affects):
    expressions("4", "-1", "2", "-1")
    folder = affects("0.5,-0.25", "-1,1", "-5,-5", "-5,-5")
    both = f"affwild2:{folder}?both=yes"
    (sample,) = (entry for entry in parse(both).samples("test") if hasattr(entry, "expression"))
    assert (sample.expression, sample.valence, sample.arousal) == ("happiness", 0.5, -0.25)
    reasons = [entry.reason for entry in parse(both).samples("test") if hasattr(entry, "reason")]
    assert sorted(reasons) == ["no valid annotation", "only one annotation", "only one annotation"]


@pytest.mark.parametrize(("options", "labelled"), [("", [0, 1, 2]), ("&both=yes", [0])])
def test_with_all_frames_those_without_an_annotation_are_kept_without_one(expressions, affects, options, labelled):
    expressions("4", "-1", "2", "-1")
    folder = affects("0.5,-0.25", "-1,1", "-5,-5", "-5,-5")
    (folder / "cropped_aligned" / "seen" / "00003.jpg").unlink()
    entries = list(parse(f"affwild2:{folder}?frames=all{options}").samples("test"))
    assert [getattr(entry, "reason", "") for entry in entries] == ["", "", "image file is missing", ""]
    kept = [entry for entry in entries if not hasattr(entry, "reason")]
    assert [sample.path.stem for sample in kept] == ["00001", "00002", "00004"]
    known = [sample.expression is not None or sample.valence is not None for sample in kept]
    assert known == [place in labelled for place in (0, 1, 3)]
