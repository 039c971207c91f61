import hashlib
import importlib.util
import json
import math
import re
import shutil

import cv2
import numpy as np
import pytest
import torch

from affectlens import Analyzer, __version__
from affectlens.core.expressions import FERPLUS
from affectlens.core.probabilities import softmax
from affectlens.core.session import model_file
from affectlens.data.source import DataSource, parse
from affectlens.runtime.recognizer import Recognizer
from affectlens.training.recipe import find, with_settings
from affectlens.workflows.train import train

FIGURES = {
    *("labels", "faces", "faces_without_label", "accuracy", "accuracy_interval", "mean_class_accuracy", "macro"),
    *("weighted", "classes", "confusion_matrix", "expected_calibration_error", "reliability", "coverage"),
    *(
        "accuracy_when_certain",
        "selective",
        "disagreement",
        "valence",
        "arousal",
        "va_source",
        "groups",
        "uncertain_below",
    ),
}


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return make_ferplus(tmp_path / "ferplus")


@pytest.fixture(scope="module")
def run(make_ferplus, tmp_path_factory):
    """A finished run of two epochs on seven classes, and its data."""
    root = tmp_path_factory.mktemp("trained")
    recipe = with_settings(find("caciolai/baseline"), ["epochs=2", "batch_size=2", "precision=32-true", "weights=best"])
    source = parse(f"ferplus:{make_ferplus(root / 'ferplus')}")
    train(recipe, source, root / "run")
    return root / "run", f"ferplus:{root / 'ferplus'}?protocol=caciolai"


@pytest.fixture
def table(tmp_path):
    """A table of large pictures in the test split; rows are given by column."""

    def write(*rows, side=200):
        rng = np.random.default_rng(0)
        lines = [",".join(("path", "split", *rows[0]))]
        for number, row in enumerate(rows):
            cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (side, side), dtype=np.uint8))
            lines.append(",".join((f"{number}.png", "test", *map(str, row.values()))))
        (tmp_path / "data.csv").write_text("\n".join(lines))
        return f"table:{tmp_path}"

    return write


def strict_json(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def shown(text, row):
    """The cells of a row of the printed table."""
    (line,) = [line for line in text.splitlines() if re.match(rf"{row}  ", line)]
    return line.removeprefix(row).split()


# Figures


@pytest.mark.slow
def test_as_json_it_gives_the_figures_of_both_views(process, ferplus):
    result = process("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.err) == (0, "")
    found = strict_json(result.out)
    views = {"all", "without_near_duplicates_of_train"}
    assert {key: value for key, value in found.items() if key not in views} == {
        "data": "ferplus",
        "data_protocol": "standard",
        "data_mode": "votes",
        "split": "test",
        "class_count": 8,
        "affectlens": __version__,
        "left_out": {},
        "model": Analyzer().spec.name,
        "model_sha256": hashlib.sha256(model_file("bundled").read_bytes()).hexdigest(),
    }
    for view in views:
        assert set(found[view]) >= FIGURES
    assert found["all"]["faces"] == 4
    assert np.sum(found["all"]["confusion_matrix"]) == 4
    assert 0 <= found["all"]["accuracy"] <= 1


def test_with_a_balanced_prior_the_rare_class_is_found_and_the_table_says_so(cli, ferplus, write_model, tmp_path):
    bias, prior = [3.0, 0.5, *[0.0] * 6], softmax(np.array([[3.0, *[0.0] * 7]]))[0].tolist()
    model = write_model(tmp_path / "tiny.onnx", FERPLUS, bias, [0.0] * 8, {"class_prior": prior})
    for prior, column in (("natural", 0), ("balanced", 1)):
        asked = ("evaluate", str(model), "--data", f"ferplus:{ferplus}", "--prior", prior)
        found = strict_json(cli(*asked, "--json").out)
        assert found.get("prior", "natural") == prior
        assert np.sum(found["all"]["confusion_matrix"], axis=0)[column] == 4
    assert "8 classes, balanced prior" in cli(*asked).out


def test_for_people_it_prints_a_table(cli, ferplus):
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--split", "valid")
    assert (result.code, result.err) == (0, "")
    about = "protocol=standard, mode=votes, split valid, 8 classes"
    assert result.out.startswith(f"{Analyzer().spec.name} on ferplus, {about}\n")
    assert shown(result.out, "faces") == ["4", "4"]
    for row in ("accuracy", "mean class accuracy", "macro F1", "weighted F1"):
        assert len(shown(result.out, row)) == 2
    assert "recall of happiness" in result.out
    assert "recall of contempt" not in result.out  # there is no such face


def test_the_training_split_has_no_view_without_its_own_near_duplicates(cli, ferplus):
    figures = strict_json(cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--split", "train", "--json").out)
    assert "without_near_duplicates_of_train" not in figures


def test_data_that_are_only_for_testing_have_no_view_without_near_duplicates(cli, table):
    result = cli("evaluate", "bundled", "--data", table({"expression": "happiness"}), "--json")
    assert (result.code, result.err) == (0, "")
    figures = strict_json(result.out)
    assert figures["all"]["faces"] == 1
    assert "without_near_duplicates_of_train" not in figures


def test_data_without_a_training_split_can_be_evaluated(cli, ferplus):
    shutil.rmtree(ferplus / "FER2013Train")
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.err) == (0, "")
    assert "without_near_duplicates_of_train" not in strict_json(result.out)


@pytest.fixture
def photos(tmp_path, portrait):
    """A table of photos: a portrait in train, the same, its lower half and a picture without a face in test."""
    bgr = cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR)
    for name, picture in {"train": bgr, "same": bgr, "wide": np.tile(bgr, (1, 2, 1)), "none": bgr[:140, :140]}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    rows = ["train.png,happiness,train", *(f"{name}.png,happiness,test" for name in ("same", "wide", "none"))]
    (tmp_path / "data.csv").write_text("path,expression,split\n" + "\n".join(rows))
    return f"table:{tmp_path}"


def test_faces_are_searched_for_on_demand_and_near_duplicates_found_by_their_photos(cli, photos):
    figures = strict_json(cli("evaluate", "bundled", "--data", photos, "--find-faces", "--json").out)
    by_part = strict_json(cli("evaluate", "bundled", "--data", f"{photos}?find_faces=yes", "--json").out)
    assert by_part["all"] == figures["all"]
    assert figures["left_out"] == {"no face found": 1}
    assert figures["all"]["faces"] == 2
    assert figures["all"]["accuracy"] == 1
    assert figures["without_near_duplicates_of_train"]["faces"] == 1
    assert strict_json(cli("evaluate", "bundled", "--data", photos, "--json").out)["all"]["faces"] == 3


def test_where_no_face_is_found_it_is_one_line(cli, table):
    result = cli("evaluate", "bundled", "--data", table({"expression": "happiness"}), "--find-faces")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "no face was found in any picture" in result.err


def test_where_every_face_has_a_near_duplicate_the_json_stays_valid(cli, make_ferplus, tmp_path):
    folder = make_ferplus(tmp_path / "ferplus", near_duplicates=True)
    result = cli("evaluate", "bundled", "--data", f"ferplus:{folder}", "--json")
    assert (result.code, result.err) == (0, "")
    assert strict_json(result.out)["without_near_duplicates_of_train"] is None
    result = cli("evaluate", "bundled", "--data", f"ferplus:{folder}")
    assert (result.code, shown(result.out, "faces")) == (0, ["4"])


def test_where_no_answer_is_certain_the_json_stays_valid(cli, ferplus, write_model, tmp_path):
    model = write_model(
        tmp_path / "unsure.onnx", FERPLUS, bias=[0.0] * 8, slope=[0.0] * 8, metadata={"uncertain_below": 1.0}
    )
    result = cli("evaluate", model, "--data", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.err) == (0, "")
    figures = strict_json(result.out)["all"]
    assert (figures["coverage"], figures["accuracy_when_certain"]) == (0, None)
    assert shown(cli("evaluate", model, "--data", f"ferplus:{ferplus}").out, "accuracy when certain") == ["-", "-"]


def test_votes_give_the_correlation_of_disagreement(cli, ferplus):
    table = ferplus / "FER2013Test" / "label.csv"
    table.write_text(table.read_text().replace("10,0,", "7,3,", 1))
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    assert strict_json(result.out)["all"]["disagreement"]["faces"] == 4
    assert "disagreement (Spearman)" in cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}").out


def test_valence_and_arousal_are_compared_where_they_are_known(cli, table):
    rows = [("happiness", 0.8, 0.2), ("sadness", -0.5, "nan"), ("neutral", 0.1, -0.1), ("", 0.3, 0.3)]
    data = table(*({"expression": e, "valence": v, "arousal": a} for e, v, a in rows))
    result = cli("evaluate", "bundled", "--data", f"{data}?labels={','.join(FERPLUS)}", "--json")
    assert (result.code, result.err) == (0, "")
    figures = strict_json(result.out)["all"]
    assert (figures["faces"], figures["faces_without_label"]) == (3, 1)
    assert (figures["valence"]["faces"], figures["arousal"]["faces"]) == (4, 3)
    assert -1 <= figures["valence"]["ccc"] <= 1
    printed = cli("evaluate", "bundled", "--data", f"{data}?labels={','.join(FERPLUS)}").out
    assert shown(printed, "CCC of valence") == [f"{figures['valence']['ccc']:.4f}"]


@pytest.mark.parametrize("answers", [{"bias": (math.nan, 0)}, {"outputs": {"affect": (math.nan, 0)}}])
def test_a_model_whose_answers_are_not_finite_is_one_line(cli, table, write_model, tmp_path, answers):
    model = write_model(tmp_path / "bad.onnx", labels=("happiness", "sadness"), **answers)
    result = cli("evaluate", model, "--data", table({"expression": "happiness"}, {"expression": "sadness"}))
    assert (result.code, result.out) == (1, "")
    assert "2 faces with numbers that are not finite" in result.err
    assert result.err.count("\n") == 1


def test_ages_and_groups_of_a_meta_file_are_rows_of_their_own(cli, ferplus, tmp_path):
    lines = ["id,age_years,sex", "test/fer0.png,25,f", "test/fer1.png,29,f", "test/fer2.png,71,m"]
    (tmp_path / "meta.csv").write_text("\n".join(lines))
    data = f"ferplus:{ferplus}?meta={tmp_path / 'meta.csv'}"
    result = cli("evaluate", "bundled", "--data", data, "--json")
    assert (result.code, result.err) == (0, "")
    groups = strict_json(result.out)["all"]["groups"]
    assert {value: part["faces"] for value, part in groups["age"].items()} == {"20-29": 2, "70+": 1}
    assert {value: part["faces"] for value, part in groups["sex"].items()} == {"f": 2, "m": 1}
    printed = cli("evaluate", "bundled", "--data", data).out
    for row in ("age 20-29", "age 70+", "sex f", "sex m"):
        assert f"accuracy, {row} " in printed


# Models


@pytest.mark.slow
def test_run_folder_checkpoint_and_onnx_file_of_one_run_agree(cli, run):
    folder, data = run
    models = (folder, folder / "checkpoints" / "best.ckpt", folder / "model.onnx")
    results = [cli("evaluate", model, "--data", data, "--json") for model in models]
    assert [(result.code, result.err) for result in results] == [(0, "")] * 3
    first, second, third = (strict_json(result.out)["all"] for result in results)
    assert first == third
    assert first["labels"] == second["labels"] == list(FERPLUS[:7])
    assert first["uncertain_below"] == second["uncertain_below"]
    for figure in ("accuracy", "negative_log_likelihood", "expected_calibration_error", "area_under_risk_coverage"):
        assert first[figure] == pytest.approx(second[figure], abs=0.02)
    np.testing.assert_allclose(first["mean_probabilities"][:2], second["mean_probabilities"][:2], atol=0.02)


@pytest.mark.slow
def test_a_checkpoint_is_scored_with_its_calibration(cli, run):
    folder, data = run
    calibration = json.loads((folder / "metrics.json").read_text())
    checkpoint = folder / "checkpoints" / "best.ckpt"
    found = strict_json(cli("evaluate", checkpoint, "--data", data, "--split", "valid", "--json").out)
    assert (found["model"], found["all"]["uncertain_below"]) == ("caciolai/baseline", calibration["uncertain_below"])
    expected = calibration["metrics"]["expected_calibration_error"]
    assert found["all"]["expected_calibration_error"] == pytest.approx(expected, abs=1e-6)


def test_classes_that_only_the_model_knows_are_left_out_and_the_rest_sums_to_one(cli, run, write_model, tmp_path):
    _, data = run
    bias = [0.0] * 7 + [50.0]  # contempt, which the data do not know
    model = write_model(tmp_path / "tiny.onnx", FERPLUS, bias=bias, slope=[0.0] * 8)
    result = cli("evaluate", model, "--data", data, "--json")
    assert (result.code, result.err) == (0, "")
    found = strict_json(result.out)
    assert (found["class_count"], found["all"]["labels"]) == (7, list(FERPLUS[:7]))
    np.testing.assert_allclose(found["all"]["mean_probabilities"][0], [1 / 7] * 7, atol=1e-5)


def test_the_order_of_a_models_labels_is_its_own(cli, ferplus, write_model, tmp_path):
    backwards = FERPLUS[::-1]
    bias = [5.0 * (label == "happiness") for label in backwards]
    model = write_model(tmp_path / "tiny.onnx", backwards, bias=bias, slope=[0.0] * 8)
    figures = strict_json(cli("evaluate", model, "--data", f"ferplus:{ferplus}", "--json").out)["all"]
    assert {row["label"]: row["recall"] for row in figures["classes"] if row["faces"]} == {"neutral": 0, "happiness": 1}


def test_a_model_with_other_labels_is_one_line(cli, ferplus, write_model, tmp_path):
    result = cli("evaluate", write_model(tmp_path / "tiny.onnx"), "--data", f"ferplus:{ferplus}")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "calm, excited" in result.err
    assert "contempt" in result.err


def test_data_with_a_class_that_the_run_lacks_are_one_line_that_names_it(cli, run):
    folder, data = run
    result = cli("evaluate", folder, "--data", data.replace("=caciolai", "=standard"))
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert result.err.endswith(
        "the data also have contempt; it was trained with ferplus:...?protocol=caciolai&mode=votes\n"
    )


def test_the_options_that_a_run_was_trained_with_need_not_be_repeated(cli, run):
    folder, data = run
    result = cli("evaluate", folder, "--data", data.partition("?")[0], "--json")
    assert strict_json(result.out) == strict_json(cli("evaluate", folder, "--data", data, "--json").out)
    assert strict_json(result.out)["data_protocol"] == "caciolai"
    shown = cli("evaluate", folder, "--data", data.partition("?")[0]).out
    assert shown.startswith("caciolai-baseline on ferplus, protocol=caciolai, mode=votes, split test, 7 classes\n")


class Evil:
    """What makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(cli, run, tmp_path, zipped):
    folder, data = run
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    for name in ("recipe.json", "labels.json"):
        (tmp_path / "run" / name).write_bytes((folder / name).read_bytes())
    content = {"state_dict": Evil(tmp_path / "made")}
    torch.save(content, checkpoint, _use_new_zipfile_serialization=zipped)
    for model in (tmp_path / "run", checkpoint):
        result = cli("evaluate", model, "--data", data)
        assert (result.code, result.out, len(result.errors)) == (1, "", 1)
        assert "best.ckpt' is not a checkpoint of caciolai/baseline" in result.err
        assert not (tmp_path / "made").exists()
        assert "still be loaded" not in result.err  # torch's advice to open it all the same


@pytest.mark.parametrize("name", ["recipe.json", "labels.json", "metrics.json"])
def test_a_damaged_file_of_a_run_is_one_line_that_names_it(cli, run, tmp_path, name):
    folder, data = run
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for part in ("recipe.json", "labels.json", "metrics.json", "checkpoints/best.ckpt"):
        (tmp_path / "run" / part).write_bytes((folder / part).read_bytes())
    (tmp_path / "run" / name).write_text('{"epochs": ')
    result = cli("evaluate", tmp_path / "run", "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert name in result.err
    assert "should not happen" not in result.err


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("nowhere", "model file 'nowhere' does not exist"),
        ("nowhere.onnx", "model file 'nowhere.onnx' does not exist"),
        ("nowhere.ckpt", "is not a run folder: it has no recipe.json"),
        ("{empty}", "is not a run folder: it has no recipe.json"),
        ("{empty}/junk.onnx", "is not an ONNX model, or it is damaged"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(cli, ferplus, tmp_path, model, named):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "junk.onnx").write_text("junk")
    result = cli("evaluate", model.format(empty=empty), "--data", f"ferplus:{ferplus}")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert named in result.err


def test_without_torch_an_exported_file_can_be_scored_and_a_run_names_the_extra(cli, run, monkeypatch):
    folder, data = run
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    for model in (folder, folder / "model.onnx"):
        assert cli("evaluate", model, "--data", data).code == 0
    result = cli("evaluate", folder / "checkpoints" / "best.ckpt", "--data", data)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "affectlens[train]" in result.err


# Reports


@pytest.mark.slow
def test_a_report_is_one_page_that_loads_nothing_and_its_json(cli, ferplus, tmp_path):
    (tmp_path / "meta.csv").write_text("id,age_years\ntest/fer0.png,25\n")
    data = f"ferplus:{ferplus}?meta={tmp_path / 'meta.csv'}"
    result = cli("evaluate", "bundled", "--data", data, "--report", tmp_path / "report", "--json")
    assert (result.code, result.err) == (0, "")
    assert {file.name for file in (tmp_path / "report").iterdir()} == {"report.html", "report.json"}
    assert strict_json((tmp_path / "report" / "report.json").read_text()) == strict_json(result.out)
    page = (tmp_path / "report" / "report.html").read_text()
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)
    assert set(re.findall(r'src="([^,"]*)', page)) == {"data:image/svg+xml;base64"}
    for said in ("ferplus", "standard", Analyzer().spec.name, "95 %", "20-29", "Confusion"):
        assert said in page
    result = cli("evaluate", "bundled", "--data", data, "--report", tmp_path / "report")
    assert result.out.splitlines()[-1] == f"report: {tmp_path / 'report' / 'report.html'}"


def test_the_page_has_both_views_and_counts_what_was_left_out(cli, ferplus, tmp_path):
    (ferplus / "FER2013Test" / "fer0.png").write_bytes(b"no picture")
    report = tmp_path / "report"
    assert cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--report", report).code == 0
    page = (report / "report.html").read_text()
    assert "<dt>left out: image cannot be decoded</dt><dd>1</dd>" in page
    summary = page[page.index("All metrics") : page.index("faces without a majority label")]
    assert "without near-duplicates of Train" in summary


def test_a_report_folder_that_cannot_be_made_is_one_line(cli, ferplus, tmp_path):
    (tmp_path / "file").touch()
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--report", tmp_path / "file")
    assert (result.code, len(result.errors)) == (1, 1)
    assert result.err.startswith("error: ")


# Bad data


def test_a_large_picture_that_was_damaged_after_loading_is_named_and_left_out(cli, table, tmp_path, monkeypatch):
    data = table(*({"expression": label} for label in ("happiness", "sadness", "neutral")))
    load = DataSource.load

    def damage(source, split):
        loaded = load(source, split)
        (tmp_path / "1.png").write_bytes(b"\x89PNG and no more")
        return loaded

    monkeypatch.setattr(DataSource, "load", damage)
    result = cli("evaluate", "bundled", "--data", data, "--json")
    assert result.code == 0
    (line,) = result.errors
    assert line.startswith("warning: left out: ")
    assert "1.png" in line
    assert strict_json(result.out)["all"]["faces"] == 2


@pytest.mark.parametrize("side", [48, 200])
def test_a_picture_that_cannot_be_decoded_is_not_left_out_silently(cli, table, tmp_path, side):
    data = table({"expression": "happiness"}, {"expression": "sadness"}, side=side)
    (tmp_path / "1.png").write_bytes(b"\x89PNG and no more")
    result = cli("evaluate", "bundled", "--data", data)
    assert result.code == 0
    assert "cannot be decoded" in result.out + result.err


def test_a_picture_that_is_missing_is_not_left_out_silently(cli, ferplus):
    (ferplus / "FER2013Test" / "fer2.png").unlink()
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}")
    assert result.code == 0
    assert shown(result.out, "faces")[0] == "3"
    assert "image file is missing" in result.out + result.err


def test_where_no_picture_can_be_decoded_it_is_one_line(cli, table, tmp_path):
    data = table({"expression": "happiness"})
    (tmp_path / "0.png").write_bytes(b"\x89PNG and no more")
    result = cli("evaluate", "bundled", "--data", data)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "image cannot be decoded" in result.err


def test_where_no_face_has_a_majority_there_is_nothing_to_score(cli, ferplus):
    table = ferplus / "FER2013Test" / "label.csv"
    table.write_text(table.read_text().replace("10,0", "5,5").replace("0,10", "5,5"))
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}", "--json")
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "nothing to score" in result.err


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
    monkeypatch.setattr(Recognizer, "outputs", lambda *_: pytest.fail("faces were scored"))
    result = cli("evaluate", "bundled", "--data", f"ferplus:{ferplus}")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert "FER2013Train" in result.err
