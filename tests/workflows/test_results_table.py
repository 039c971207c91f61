import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadModelFile
from affectlens.evaluation import evaluation
from affectlens.evaluation.evaluation import Scores
from affectlens.evaluation.metrics import mean_class_accuracy_interval
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find
from affectlens.training.run import best_checkpoint, note, open_run
from affectlens.training.tables import Row, Table
from affectlens.workflows.plan import folder_of_seed
from affectlens.workflows.results_table import write_row, write_table

LABELS = ("calm", "keen", "wry")
FACTS = {"data": "ferplus", "protocol": "caciolai", "split": "test", "options": {}}
SMALL = replace(find("default"), work="tiny", row="faces", model="deep_emotion", model_options={}, epochs=9, seed=4)


def module_of(metric="accuracy", baseline="", **papers):
    """A module of recipes with one table, of rows and their printed figures."""
    rows = tuple(Row(replace(SMALL, row=name), paper) for name, paper in papers.items())
    return SimpleNamespace(TABLES={"results": Table("All", rows, baseline)}, METRIC=metric)


MODULE = module_of(first={"accuracy": 0.6061}, second={}, third={})


def measured(right=30, faces=40):
    """Figures of so many right answers."""
    targets = np.arange(faces) % 3
    answers = np.where(np.arange(faces) < right, targets, (targets + 1) % 3)
    return evaluation.compute_metrics(Scores(LABELS, np.eye(3)[answers] * 0.7 + 0.1, targets))


@pytest.fixture
def finished(tmp_path):
    """A run folder as a finished run leaves it, without its model."""
    out = tmp_path / "run"
    open_run(SMALL, LABELS, {}, out, resume=False)
    best_checkpoint(out).parent.mkdir()
    module = ExpressionModule(SMALL, len(LABELS))
    torch.save({"state_dict": module.state_dict()}, best_checkpoint(out))
    (out / "curves.csv").write_text("epoch,valid_nll\n0,2.5\n1,1.5\n")
    (out / "curves.png").write_bytes(b"a picture")
    note(out, "begun")
    (out / "metrics.json").write_text(json.dumps({"temperature": 1.5, "metrics": {"accuracy": 0.8125}}))
    return out


def test_a_row_keeps_what_says_how_it_came_about(finished, tmp_path):
    out = tmp_path / "results" / "first"
    write_row(finished, measured(), FACTS, out)
    names = ("recipe.json", "labels.json", "versions.json", "curves.csv", "curves.png", "log.txt")
    assert {file.name for file in out.iterdir()} == {*names, "confusion.png", "metrics.json"}
    for name in names:
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((out / "metrics.json").read_text())
    assert found["facts"] == FACTS
    assert found["test"]["accuracy"] == 0.75
    assert found["validation"]["temperature"] == 1.5
    weights = torch.load(best_checkpoint(finished), weights_only=True)["state_dict"]
    assert found["parameters"] == sum(weight.numel() for weight in weights.values())


def test_weighted_figures_stand_beside_the_papers(finished, tmp_path):
    paper = {"accuracy": 0.5, "weighted_precision": 0.51, "weighted_recall": 0.52, "weighted_f1": 0.53}
    module = module_of(first=paper)
    module.PAPER_DATA = "affectnet"
    found = measured()
    write_row(finished, found, FACTS, tmp_path / "results" / "first")
    text = write_table("tiny", module, tmp_path / "results").read_text()
    assert "| first | 50.00 (affectnet) | " in text
    cells = [f"{100 * found['weighted'][name]:.2f}" for name in ("precision", "recall", "f1")]
    assert f"| first | 51.00 | **{cells[0]}** | 52.00 | **{cells[1]}** | 53.00 | **{cells[2]}** |" in text


@pytest.mark.parametrize("missing", ["curves.png", "metrics.json", "checkpoints/best.ckpt"])
def test_a_row_of_a_run_that_is_not_finished_is_not_written_as_one(finished, tmp_path, missing):
    (finished / missing).unlink()
    with pytest.raises((OSError, BadModelFile)):
        write_row(finished, measured(), FACTS, tmp_path / "first")
    assert not (tmp_path / "first" / "metrics.json").exists()


def test_the_table_sets_the_paper_beside_what_was_measured(finished, tmp_path):
    out = tmp_path / "results"
    write_row(finished, measured(right=30, faces=40), FACTS, out / "first")
    write_row(finished, measured(right=20, faces=40), FACTS | {"protocol": ""}, out / "second")
    file = write_table("tiny", MODULE, out)
    assert file == out / "README.md"
    lines = file.read_text().splitlines()
    assert lines[0] == "# tiny: paper and measured"
    rows = {line.split(" | ")[0]: line for line in lines if line.startswith("| ")}
    low, high = (f"{100 * value:.2f}" for value in measured(30, 40)["accuracy_interval"])
    recall = f"{100 * measured(30, 40)['mean_class_accuracy']:.2f}"
    f1 = f"{100 * measured(30, 40)['macro']['f1']:.2f}"
    parameters = json.loads((out / "first" / "metrics.json").read_text())["parameters"]
    interval = mean_class_accuracy_interval(measured(30, 40)["confusion_matrix"])
    recall_low, recall_high = (f"{100 * value:.2f}" for value in interval)
    assert rows["| first"] == (
        f"| first | 60.61 | **75.00** ({low} to {high}) | {recall} ({recall_low} to {recall_high}) | {f1} | 81.25 | "
        f"2 of 9 | {parameters:,} | ferplus, caciolai, 3 classes, 40 faces | 4 |"
    )
    assert rows["| second"].startswith("| second | - | **50.00** (")
    assert "ferplus, standard, 3 classes, 40 faces" in rows["| second"]
    assert rows["| third"].startswith("| third | - | not run |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_the_table_says_with_what_it_was_made_and_keeps_the_notes(finished, tmp_path):
    out = tmp_path / "results"
    for row in ("first", "third"):
        write_row(finished, measured(), FACTS, out / row)
    (out / "notes.md").write_text("Two rows of three.\n\n")
    text = write_table("tiny", MODULE, out).read_text()
    (made,) = [line for line in text.splitlines() if line.startswith("first, third: affectlens ")]
    assert f"torch {torch.__version__.partition('+')[0]}" in made
    assert ", device " in made
    assert made.endswith("training faces that have a near-duplicate in validation or test left out.")
    assert text.endswith("\n\nTwo rows of three.\n")


def test_valence_and_arousal_have_a_table_of_their_own_where_there_are_any(finished, tmp_path):
    out = tmp_path / "results"
    known = np.linspace(-1, 1, 40)
    targets = np.arange(40) % 3
    affect = {"valence_predicted": known, "valence_true": known, "arousal_predicted": -known, "arousal_true": known}
    scores = Scores(LABELS, np.eye(3)[targets], targets, **affect, va_source="regressed")
    write_row(finished, evaluation.compute_metrics(scores), FACTS, out / "first")
    write_row(finished, measured(), FACTS, out / "second")
    module = module_of(first={"accuracy": 0.6061, "valence_ccc": 0.76}, second={"challenge": 0.45})
    text = write_table("tiny", module, out).read_text()
    assert "| first | regressed | 0.760 | **1.000** | - | **-1.000** |" in text
    assert "| second | " not in text.partition("valence and arousal are")[2]
    summary = 67 * measured()["macro"]["f1"] + 33 * measured()["accuracy"]
    assert f"| second | 45.00 | **{summary:.2f}** |" in text
    assert text.count("that it is this one is assumed") == 1
    module = module_of(first={"accuracy": 0.6061}, second={"accuracy": 0.45})
    assert "is assumed" not in write_table("tiny", module, out).read_text()


def test_a_network_for_valence_and_arousal_alone_has_no_accuracy(finished, tmp_path):
    settings = json.loads((finished / "recipe.json").read_text())
    out = tmp_path / "results"
    write_row(finished, measured(), FACTS, out / "first")
    settings["model_options"] = {"expressions": False}
    (out / "first" / "recipe.json").write_text(json.dumps(settings))
    (line,) = [row for row in write_table("tiny", MODULE, out).read_text().splitlines() if row.startswith("| first")]
    assert line.startswith("| first | 60.61 | - | - | - | - | 2 of 9 |")


def test_a_table_without_any_row_says_that_none_was_run(tmp_path):
    text = write_table("tiny", MODULE, tmp_path).read_text()
    assert text.count("not run") == 3
    assert "affectlens 0" not in text


def test_writing_the_table_again_changes_nothing(finished, tmp_path):
    out = tmp_path / "results"
    write_row(finished, measured(), FACTS, out / "first")
    before = write_table("tiny", MODULE, out).read_bytes()
    assert write_table("tiny", MODULE, out).read_bytes() == before


def seeded(finished, out, row, seed, right):
    """Write the result of one seed of a row."""
    settings = json.loads((finished / "recipe.json").read_text())
    (finished / "recipe.json").write_text(json.dumps(settings | {"seed": seed}))
    write_row(finished, measured(right), FACTS, folder_of_seed(out / row, 0, seed))


def test_several_seeds_have_their_mean_and_are_paired_with_the_baselines(finished, tmp_path):
    for seed, (before, after) in enumerate([(20, 24), (22, 25), (24, 29)]):
        seeded(finished, tmp_path, "first", seed, before)
        seeded(finished, tmp_path, "second", seed, after)
    text = write_table("tiny", module_of(baseline="first", first={}, second={}), tmp_path).read_text()
    rows = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    header = rows["| row"]
    first, second = (dict(zip(header, rows[f"| {name}"], strict=True)) for name in ("first", "second"))
    assert first["accuracy"] == "**55.00** ± 5.00"
    assert (first["against first"], first["seeds |"]) == ("-", "0, 1, 2 |")
    # differences of 10, 7.5 and 12.5 points: 10 and 4.303 standard errors of 2.5 / sqrt(3)
    assert second["against first"] == "+10.00 (+3.79 to +16.21)"


def test_a_row_under_two_names_shows_what_was_measured_once(finished, tmp_path):
    write_row(finished, measured(), FACTS, tmp_path / "first")
    module = module_of(first={"accuracy": 0.5})
    again = Row(replace(SMALL, row="again"), {"accuracy": 0.51}, same_as="first")
    module.TABLES["second"] = Table("Again", (again,), baseline="first")
    text = write_table("tiny", module, tmp_path).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| again")]
    assert "| again | 51.00 | **75.00** (" in line
    assert "## Again" in text


def test_cells_become_a_grid_for_each_setting(finished, tmp_path):
    rows = tuple(
        Row(replace(SMALL, row=f"{grid}-{line}-{column}"), {"accuracy": 0.5}, cell=(grid, line, column))
        for grid, columns in (("tau", "ab"), ("p", "xyz"))
        for line in ("one", "two")
        for column in columns
    )
    write_row(finished, measured(), FACTS, tmp_path / "tau-two-b")
    module = SimpleNamespace(TABLES={"t": Table("Grid", rows)}, METRIC="accuracy")
    lines = write_table("tiny", module, tmp_path).read_text().splitlines()
    assert "| tau: paper / measured | a | b |" in lines
    assert "| two | 50.00 / not run | 50.00 / **75.00** |" in lines
    assert "| p: paper / measured | x | y | z |" in lines
    assert any(line.startswith("1 of 10 cells were run: 2 of 9 epochs, ferplus, caciolai") for line in lines)


def test_grids_have_differences_fewer_seeds_and_valence_and_arousal(finished, tmp_path):
    rows = tuple(Row(replace(SMALL, row=name), cell=("tau", "one", name)) for name in ("a", "b", "c"))
    targets, known = np.arange(40) % 3, np.linspace(-1, 1, 40)
    affect = {"valence_predicted": known, "valence_true": known, "arousal_predicted": -known, "arousal_true": known}
    scores = Scores(LABELS, np.eye(3)[targets], targets, **affect, va_source="regressed")
    write_row(finished, evaluation.compute_metrics(scores), FACTS, tmp_path / "b")
    for seed, right in enumerate((20, 22)):
        seeded(finished, tmp_path, "a", seed, right)
    module = SimpleNamespace(TABLES={"t": Table("Grid", rows, baseline="a")}, METRIC="accuracy")
    lines = write_table("tiny", module, tmp_path).read_text().splitlines()
    grids = [line for line in lines if line.startswith("| one |")]
    assert grids == [
        "| one | - / **52.50** ± 3.54 | - / **100.00** (seeds: 1) | - / not run |",
        "| one | - | - | - |",  # of b there is no seed that a has
        "| one | - | **1.000** / **-1.000** | - |",
    ]
    assert "| tau: against a | a | b | c |" in lines


def test_a_row_has_valence_and_arousal_in_the_table_that_prints_them(finished, tmp_path):
    targets, known = np.arange(40) % 3, np.linspace(-1, 1, 40)
    affect = {"valence_predicted": known, "valence_true": known, "arousal_predicted": -known, "arousal_true": known}
    scores = Scores(LABELS, np.eye(3)[targets], targets, **affect, va_source="regressed")
    write_row(finished, evaluation.compute_metrics(scores), FACTS, tmp_path / "first")
    module = module_of(first={"accuracy": 0.5}, second={"accuracy": 0.4})
    first, other = (
        Row(replace(SMALL, row=name), {"valence_ccc": 0.7, "arousal_ccc": 0.6}) for name in ("first", "other")
    )
    module.TABLES["va"] = Table("Valence and arousal", (first, other))
    _, printed = write_table("tiny", module, tmp_path).read_text().split("## Valence and arousal")
    assert "| first | regressed | 0.700 | **1.000** | 0.600 | **-1.000** | 2 of 9 |" in printed
    assert "| other |  | 0.700 | not run | 0.600 | not run |" in printed
    assert "mean class accuracy |" not in printed


def test_settings_that_are_not_those_of_the_row_stand_beside_the_figure(finished, tmp_path):
    write_row(finished, measured(), FACTS, tmp_path / "first")
    file = tmp_path / "first" / "recipe.json"
    changed = {"train_share": 0.02, "model_options": {"stn": True}, "epochs": 3, "precision": "32-true"}
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    text = write_table("tiny", MODULE, tmp_path).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| first")]
    assert "| 2 of 9 |" in line
    assert "40 faces; train_share=0.02, model_options.stn=True |" in line


def test_many_rows_of_one_kind_are_not_all_named(finished, tmp_path):
    names = [f"row{number}" for number in range(9)]
    for name in names[:8]:
        write_row(finished, measured(), FACTS, tmp_path / name)
    module = module_of(**{name: {} for name in names})
    assert "\nAll rows: affectlens " in write_table("tiny", module, tmp_path).read_text()
    log = tmp_path / "row0" / "versions.json"
    log.write_text(json.dumps([{**json.loads(log.read_text())[-1], "torch": "0"}]))
    text = write_table("tiny", module, tmp_path).read_text()
    assert "\nrow1, row2, row3, row4, row5, row6 and 1 more: affectlens" in text


@pytest.mark.parametrize(("trained", "tested", "said"), [(1, 1, True), (0, 1, False), (1, 0, False)])
def test_splits_are_said_to_be_as_published_where_they_are(finished, tmp_path, trained, tested, said):
    write_row(finished, measured(), FACTS | {"protocol": "tiny" * tested}, tmp_path / "first")
    versions = json.loads((finished / "versions.json").read_text())
    versions[-1]["data"] = "ferplus&protocol=" + "tiny" * trained
    (tmp_path / "first" / "versions.json").write_text(json.dumps(versions))
    assert ("Splits are as published." in write_table("tiny", MODULE, tmp_path).read_text()) == said


def test_a_difference_is_of_the_same_faces(finished, tmp_path):
    write_row(finished, measured(20), FACTS, tmp_path / "first")
    write_row(finished, measured(24), FACTS | {"options": {"votes": "csv"}}, tmp_path / "second")
    text = write_table("tiny", module_of(baseline="first", first={}, second={}), tmp_path).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| second")]
    assert line.split(" | ")[5] == "-"
