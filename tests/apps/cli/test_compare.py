import json
import re

import pytest

from affectlens.core.expressions import FERPLUS

NEUTRAL, HAPPY = "10,0,0,0,0,0,0,0,0,0", "0,10,0,0,0,0,0,0,0,0"


@pytest.fixture
def data(make_ferplus, tmp_path):
    """Four test faces, three of them neutral and one happy."""
    folder = make_ferplus(tmp_path / "ferplus")
    lines = [f'fer{i}.png,"(0, 0, 48, 48)",{HAPPY if i == 3 else NEUTRAL}\n' for i in range(4)]
    (folder / "FER2013Test" / "label.csv").write_text("".join(lines))
    return f"ferplus:{folder}"


@pytest.fixture
def always(write_model, tmp_path):
    """A model that always gives the same answer, and its name in its metadata."""

    def write(label, name="tiny", file=None):
        bias = [5.0 * (one == label) for one in FERPLUS]
        file = tmp_path / (file or f"{label}.onnx")
        return write_model(file, FERPLUS, bias=bias, slope=[0.0] * 8, metadata={"name": name})

    return write


def test_two_models_stand_side_by_side_with_mcnemars_test(cli, data, always):
    result = cli("compare", always("neutral", "calm"), always("happiness", "glad_too"), "--data", data)
    assert (result.code, result.err) == (0, "")
    head, names, *rows = result.out.splitlines()
    assert head == "ferplus, protocol=standard, mode=votes, split test, 8 classes"
    assert names.split() == ["calm", "glad_too"]
    cells = {re.split(r"\s{2,}", row.strip())[0]: row.split()[-2:] for row in rows[:-1]}
    assert cells["faces"] == ["4", "4"]
    assert cells["accuracy"] == ["0.7500", "0.2500"]
    assert cells["recall of happiness"] == ["0.0000", "1.0000"]
    counts = "correct only for glad_too: 1, only for calm: 3"
    assert rows[-1] == f"glad_too against calm: -0.5000 accuracy; {counts}; McNemar p = 0.625"


def test_as_json_every_model_is_tested_against_the_first(cli, data, always):
    models = [always("neutral", "calm"), always("happiness", "glad"), always("anger", "angry")]
    result = cli("compare", *models, "--data", data, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert list(found["models"]) == ["calm", "glad", "angry"]
    assert [figures["accuracy"] for figures in found["models"].values()] == [0.75, 0.25, 0]
    assert list(found["against_the_first"]) == ["glad", "angry"]
    glad, angry = found["against_the_first"].values()
    assert (glad["only_a"], glad["only_b"], glad["p_value"]) == (3, 1, pytest.approx(0.625))
    assert (angry["only_a"], angry["only_b"], angry["p_value"]) == (3, 0, pytest.approx(0.25))
    assert (angry["accuracy_a"], angry["accuracy_b"], angry["difference"]) == (0.75, 0, -0.75)


def test_the_other_way_round_gives_the_same_p(cli, data, always):
    models = [always("neutral", "calm"), always("happiness", "glad")]
    tests = []
    for order in (models, models[::-1]):
        found = json.loads(cli("compare", *order, "--data", data, "--json").out)
        tests.extend(found["against_the_first"].values())
    assert tests[0]["p_value"] == tests[1]["p_value"]
    assert tests[0]["difference"] == -tests[1]["difference"]


def test_models_of_one_name_are_called_as_the_user_called_them(cli, data, always, tmp_path):
    first, second = always("neutral", file="a_first.onnx"), always("happiness", file="b_second.onnx")
    result = cli("compare", first, second, "--data", data, "--json")
    assert list(json.loads(result.out)["models"]) == [str(first), str(second)]


def test_models_with_other_orders_of_labels_are_compared_by_name(cli, data, always, write_model, tmp_path):
    backwards = FERPLUS[::-1]
    bias = [5.0 * (label == "neutral") for label in backwards]
    other = write_model(tmp_path / "back.onnx", backwards, bias=bias, slope=[0.0] * 8, metadata={"name": "back"})
    found = json.loads(cli("compare", always("neutral"), other, "--data", data, "--json").out)
    (test,) = found["against_the_first"].values()
    assert (test["only_a"], test["only_b"], test["difference"], test["p_value"]) == (0, 0, 0, 1)


def test_a_report_shows_both_models_and_the_test(cli, data, always, tmp_path):
    models = [always("neutral", "calm"), always("happiness", "glad")]
    result = cli("compare", *models, "--data", data, "--report", tmp_path / "report")
    assert (result.code, result.err) == (0, "")
    assert f"report: {tmp_path / 'report' / 'report.html'}" in result.out
    page = (tmp_path / "report" / "report.html").read_text()
    assert all(said in page for said in ("calm", "glad", "McNemar", "0.6250", "Differences"))
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["against_the_first"]["glad"]["only_a"] == 3


def test_the_same_model_twice_is_refused(cli, data, always):
    model = always("neutral")
    result = cli("compare", model, model, "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "the same model is given twice" in result.err
    result = cli("compare", "bundled", "bundled", "--data", data)
    assert (result.code, len(result.errors)) == (1, 1)


def test_one_model_alone_is_refused(cli, data, always):
    result = cli("compare", always("neutral"), "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "at least two models, got 1" in result.err


def test_a_model_that_lacks_a_class_is_one_line(cli, data, always, write_model, tmp_path):
    result = cli("compare", always("neutral"), write_model(tmp_path / "tiny.onnx"), "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "calm, excited" in result.err


def test_where_no_face_has_a_majority_there_is_nothing_to_compare(cli, data, always):
    table = data.partition(":")[2] + "/FER2013Test/label.csv"
    with open(table) as file:
        text = file.read()
    with open(table, "w") as file:
        file.write(text.replace("10,0", "5,5").replace("0,10", "5,5"))
    result = cli("compare", always("neutral"), always("happiness"), "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "nothing to score" in result.err
