import json

import pytest

from affectlens import Analyzer
from affectlens.core.expressions import FERPLUS


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return make_ferplus(tmp_path / "ferplus")


def strict_json(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_as_json_it_gives_the_figures_of_both_views(process, ferplus):
    result = process("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    figures = strict_json(result.out)
    assert (result.code, result.err) == (0, "")
    assert (figures["data"], figures["split"], figures["protocol"], figures["classes"]) == (
        "ferplus",
        "test",
        "majority",
        8,
    )
    for view in ("all", "without_twins_of_train"):
        assert {"faces", "accuracy", "macro_recall", "expected_calibration_error", "recall"} <= set(figures[view])
    assert figures["all"]["faces"] == 4
    assert 0 <= figures["all"]["accuracy"] <= 1


def test_for_people_it_prints_a_table(cli, ferplus):
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--split", "valid")
    assert (result.code, result.err) == (0, "")
    assert all(word in result.out for word in ("accuracy", "macro recall", "recall of happiness", "split valid"))


def test_the_training_split_has_no_view_without_its_own_twins(cli, ferplus):
    figures = strict_json(cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--split", "train", "--json").out)
    assert "without_twins_of_train" not in figures


def test_where_every_face_has_a_twin_the_json_stays_valid(cli, make_ferplus, tmp_path):
    folder = make_ferplus(tmp_path / "ferplus", twins=True)
    result = cli("evaluate", "bundled", "--data", f"ferplus:{folder}", "--json")
    assert (result.code, result.err) == (0, "")
    assert strict_json(result.out)["without_twins_of_train"] is None


def test_where_no_answer_is_certain_the_json_stays_valid(cli, ferplus, write_model, tmp_path):
    model = write_model(
        tmp_path / "unsure.onnx", FERPLUS, bias=[0.0] * 8, slope=[0.0] * 8, metadata={"uncertain_below": 1.0}
    )
    result = cli("evaluate", model, "--data", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.err) == (0, "")
    assert strict_json(result.out)["all"]["coverage"] == 0


def test_where_no_face_has_a_majority_it_is_one_line_or_valid_json(cli, ferplus):
    table = ferplus / "FER2013Test" / "label.csv"
    table.write_text(table.read_text().replace("10,0", "5,5").replace("0,10", "5,5"))
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    assert result.code == 1 or strict_json(result.out)["all"]["faces"] == 0
    assert len(result.errors) <= 1


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("ferplus:/nowhere", "/nowhere"),
        ("ferplus:{empty}", "FER2013Test"),
        ("ferplus", "NAME:FOLDER"),
        ("ferplus:", "NAME:FOLDER"),
        ("ferpluss:{empty}", "did you mean 'ferplus'?"),
    ],
)
def test_data_that_is_not_there_is_one_line(cli, tmp_path, data, named):
    result = cli("evaluate", "bundled", "--data", data.format(empty=tmp_path))
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert named in result.err


def test_a_split_that_does_not_exist_is_wrong_usage(cli, ferplus):
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--split", "tset")
    assert (result.code, result.out) == (2, "")
    assert all(word in result.err for word in ("Usage", "--split", "train", "valid", "test"))


def test_without_train_it_stops_before_the_work_is_done(cli, ferplus, monkeypatch):
    (ferplus / "FER2013Train" / "label.csv").unlink()
    monkeypatch.setattr(Analyzer, "analyze", lambda *_: pytest.fail("faces were analyzed"))
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert "FER2013Train" in result.err


def test_an_image_that_is_missing_is_one_line_that_names_it(cli, ferplus):
    (ferplus / "FER2013Test" / "fer2.png").unlink()
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}")
    assert result.code == 1
    assert len(result.errors) == 1
    assert "fer2.png" in result.err


def test_a_model_with_other_labels_is_one_line(cli, ferplus, write_model, tmp_path):
    result = cli("evaluate", write_model(tmp_path / "tiny.onnx"), "--data", f"ferplus:{ferplus}")
    assert result.code == 1
    assert len(result.errors) == 1
    assert "calm, excited" in result.err
