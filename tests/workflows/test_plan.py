import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from affectlens.core.errors import BadSetting, UnknownName
from affectlens.data.source import parse
from affectlens.training.recipes import antoniadis, caciolai, dare
from affectlens.training.tables import rows_of
from affectlens.workflows import plan
from affectlens.workflows.plan import Task, chosen_rows, obstacles, planned_runs

ANTONIADIS, CACIOLAI, DARE = (rows_of(module.TABLES) for module in (antoniadis, caciolai, dare))


def chosen(rows=(), tables=(), readers=("affectnet",)):
    return chosen_rows(ANTONIADIS, antoniadis, "antoniadis", rows, tables, readers)


def hindered(planned, *sources, test=None, other_data=False):
    return obstacles(planned, Task.of(sources, test, other_data, minutes=None))


@pytest.fixture
def affectnet(tmp_path, monkeypatch):
    """AffectNet, whose faces are taken for granted."""
    (tmp_path / "affectnet").mkdir()
    monkeypatch.setattr(plan, "has_faces", lambda source, split: True)
    return parse(f"affectnet:{tmp_path / 'affectnet'}")


def planned(rows, chosen, settings=(), seeds=1, root=Path("nowhere")):
    return planned_runs(rows, chosen, settings, seeds, root / "results", root / "runs")


def finish(run, recipe):
    """Leave a folder that looks like a finished run."""
    run.mkdir(parents=True)
    (run / "model.onnx").touch()
    (run / "recipe.json").write_text(json.dumps(recipe.as_dict()))
    (run / "versions.json").write_text(json.dumps([{"data": "affectnet&classes=7"}]))


def test_a_table_is_its_rows_and_patterns_choose_among_all():
    rows = chosen(tables=["t4.1"])
    assert rows[:2] == ["t3.1-baseline", "t4.1-center"]
    assert len(rows) == 13
    assert chosen(rows=["t6.2-layers-1-*"]) == [
        *(f"t6.2-layers-1-tau-{tau}" for tau in ("0", "0.05", "0.1", "0.15")),
        *(f"t6.2-layers-1-p-0.{share}" for share in (2, 3, 4, 5, 6, 8)),
    ]


def test_a_grid_trains_each_recipe_once():
    rows = chosen(tables=["t6.2"])
    assert len(rows) == len(set(rows)) == 3 * (4 + 7) - 3
    assert "t6.1-gcn" in rows


def test_without_a_choice_the_rows_with_figures_on_the_data_are_chosen():
    faces, videos = chosen(), chosen(readers=["affwild2"])
    assert set(faces).isdisjoint(videos)
    assert all(ANTONIADIS[row].recipe.data == "affwild2" and ANTONIADIS[row].paper for row in videos)
    assert chosen(readers=None) == faces
    assert set(chosen(readers=["affectnet", "affwild2"])) == {*faces, *videos}
    with pytest.raises(BadSetting, match="'antoniadis' expects data of 'affectnet', got 'folder'"):
        chosen(readers=["folder"])


@pytest.mark.parametrize(("what", "name", "near"), [("rows", "t6.1-gnc", "t6.1-gcn"), ("tables", "t4.2", "t6.2")])
def test_a_name_that_matches_nothing_is_told_with_the_nearest(what, name, near):
    with pytest.raises(UnknownName, match=f"unknown {what[:-1]} '{name}' of 'antoniadis'; did you mean '{near}'"):
        chosen(**{what: [name]})


def test_seeds_have_folders_of_their_own_beside_the_first(tmp_path):
    runs = planned(CACIOLAI, ["stn"], ["seed=5"], seeds=2, root=tmp_path)
    assert [(one.recipe.seed, one.folder.name, one.name) for one in runs] == [
        (5, "caciolai-stn", "caciolai/stn"),
        (6, "caciolai-stn-seed-6", "caciolai/stn seed 6"),
    ]
    assert [one.result.relative_to(tmp_path / "results") for one in runs] == [Path("stn"), Path("stn/seed-6")]
    with pytest.raises(BadSetting, match="seeds must be >= 1, got 0"):
        planned(CACIOLAI, ["stn"], seeds=0)


@pytest.mark.parametrize(
    "settings",
    [["epochs=9", "vgg-*:epochs=2", "stn:model_options.msa=true"], {"epochs": 9, "vgg-*:epochs": 2, "stn:flip": 0.0}],
)
def test_settings_may_be_about_some_rows(settings):
    runs = {one.recipe.row: one.recipe for one in planned(CACIOLAI, ["baseline", "stn", "vgg-stn"], settings)}
    assert [runs[row].epochs for row in ("baseline", "stn", "vgg-stn")] == [9, 9, 2]
    changed = replace(runs["stn"], epochs=300) != caciolai.STN
    assert changed
    assert replace(runs["baseline"], epochs=300) == caciolai.BASELINE


def test_a_setting_for_a_row_that_does_not_exist_is_refused():
    with pytest.raises(UnknownName, match="unknown row 'vggg' of 'caciolai'; choose from: baseline"):
        planned(CACIOLAI, ["stn"], ["vggg:epochs=2"])


def test_a_row_comes_after_the_one_that_it_starts_from(tmp_path):
    svm = "t5.4-ccc-island-classic-svm"
    first, second = planned(ANTONIADIS, [svm], root=tmp_path)
    assert (first.recipe.row, second.recipe.row) == ("t5.3-ccc-island-classic", svm)
    assert second.after == first.folder
    finish(first.folder, first.recipe)
    assert [one.recipe.row for one in planned(ANTONIADIS, [svm], root=tmp_path)] == [svm]
    celeba, two_stream = planned(DARE, ["two-stream-celeba"], root=tmp_path)
    assert two_stream.recipe.pretrained_file == str(celeba.folder) == str(tmp_path / "runs" / "dare-celeba")
    given = planned(DARE, ["two-stream-celeba"], ["pretrained_file=mine"], root=tmp_path)[-1]
    assert given.recipe.pretrained_file == "mine"


def test_what_stands_in_the_way_costs_only_the_rows_concerned(tmp_path, affectnet):
    rows = ["vit-base-scratch", "two-stream-celeba", "swin-tiny-scratch-2"]
    found = hindered(planned(DARE, rows, root=tmp_path), affectnet)
    assert set(found) == {"dare/celeba", "dare/two-stream-celeba"}
    assert "'dare/celeba' expects data of 'celeba', got 'affectnet'" in str(found["dare/celeba"])
    assert "starts from the run in" in str(found["dare/two-stream-celeba"])


def test_each_row_takes_the_data_of_its_reader(tmp_path, affectnet):
    (tmp_path / "celeba").mkdir()
    celeba = parse(f"celeba:{tmp_path / 'celeba'}")
    test = parse(f"affectnet:{tmp_path / 'affectnet'}?classes=7")
    task = Task.of([affectnet, celeba], test, other_data=False, minutes=None)
    rows = {one.recipe.row: one.recipe for one in planned(DARE, ["two-stream-celeba"], root=tmp_path)}
    assert (task.source(rows["celeba"]), task.source(rows["two-stream-celeba"])) == (celeba, affectnet)
    assert task.tested_on(rows["celeba"]).reader == "celeba"
    assert task.tested_on(rows["two-stream-celeba"]).options["classes"] == "7"
    with pytest.raises(BadSetting, match="expected data sets of different readers, got affectnet, affectnet"):
        Task.of([affectnet, test], None, other_data=False, minutes=None)
    with pytest.raises(BadSetting, match="expected a data set, got none"):
        Task.of([], None, other_data=False, minutes=None)


def test_data_that_cannot_be_tested_on_are_found_before_any_run(tmp_path, make_ferplus):
    folder = make_ferplus(tmp_path / "ferplus")
    runs = planned(CACIOLAI, ["baseline"], root=tmp_path)
    good, eight = (parse(f"ferplus:{folder}{options}") for options in ("", "?protocol=standard"))
    assert hindered(runs, good) == {}
    (error,) = hindered(runs, good, test=eight).values()
    assert "the test data also have contempt" in str(error)
    shutil.rmtree(folder / "FER2013Valid")
    (error,) = hindered(runs, good).values()  # the protocol tests on the validation faces
    assert "the split 'test' has no faces" in str(error)
    (folder / "FER2013Train" / "label.csv").write_text("nonsense")
    (error,) = hindered(runs, good).values()
    assert "expected name, box and ten votes" in str(error)


def test_options_that_a_network_refuses_are_found_before_any_run(tmp_path, affectnet):
    rows = ["t6.5-breg-next-gcn", "t6.5-breg-next"]
    settings = ["t6.5-breg-next-gcn:model_options.layers=9"]
    found = hindered(planned(ANTONIADIS, rows, settings, root=tmp_path), affectnet)
    assert set(found) == {"antoniadis/t6.5-breg-next-gcn"}


@pytest.mark.parametrize("file", ["metrics.json", "recipe.json"])
def test_a_damaged_result_costs_its_own_row(tmp_path, make_ferplus, file):
    source = parse(f"ferplus:{make_ferplus(tmp_path / 'ferplus')}")
    runs = planned(CACIOLAI, ["baseline", "stn"], root=tmp_path)
    finish(runs[0].result, runs[0].recipe)
    (runs[0].result / "versions.json").write_text(
        json.dumps([{"data": Task.of([source], None, False, None).tested_on(runs[0].recipe).name}])
    )
    (runs[0].result / "metrics.json").write_text("{}")
    (runs[0].result / file).write_text("{")
    found = hindered(runs, source)
    assert set(found) == {"caciolai/baseline"}
    assert file in str(found["caciolai/baseline"])


def test_seeds_of_a_row_and_of_the_one_before_it_are_paired_in_order(tmp_path):
    runs = planned(DARE, ["two-stream-celeba"], ["celeba:seed=5"], seeds=2, root=tmp_path)
    assert [(one.recipe.row, one.recipe.seed) for one in runs] == [
        ("celeba", 5),
        ("celeba", 6),
        ("two-stream-celeba", 0),
        ("two-stream-celeba", 1),
    ]
    assert [one.after for one in runs[2:]] == [one.folder for one in runs[:2]]


@pytest.mark.parametrize("setting", ["=3", "stn:=3", "stn:"])
def test_a_setting_without_a_key_is_refused(setting):
    with pytest.raises(BadSetting):
        planned(CACIOLAI, ["stn"], [setting])


def test_weights_that_are_not_there_are_found_before_any_run(tmp_path, monkeypatch, affectnet):
    from affectlens.training import start

    tried = []

    def nothing(network, recipe, labels, fresh):
        if recipe.pretrained:
            tried.append(recipe.row)
            raise BadSetting("no weights")

    monkeypatch.setattr(start, "begin", nothing)
    rows = ["t6.5-breg-next", "t4.1-center", "t4.1-island"]
    small = ["t4.1-*:model_options.backbone=breg_next", "t4.1-*:size_px=16"]
    found = hindered(planned(ANTONIADIS, rows, small, root=tmp_path), affectnet)
    assert set(found) == {"antoniadis/t4.1-center", "antoniadis/t4.1-island"}
    assert tried == ["t4.1-center"]  # both rows begin with the same weights


@pytest.mark.parametrize("name", ["t5.1-baseline", "t5.1-*", "t3.1-baseline"])
def test_a_setting_reaches_a_row_under_each_of_its_names(name):
    (run,) = planned(ANTONIADIS, ["t3.1-baseline"], [f"{name}:epochs=6"])
    assert run.recipe.epochs == 6


def test_a_setting_for_no_row_that_is_run_is_refused():
    with pytest.raises(BadSetting, match=r"the setting 'vgg-\*:epochs' is for no row that is run; these are: stn"):
        planned(CACIOLAI, ["stn"], ["vgg-*:epochs=2"])


def test_a_finished_run_to_start_from_must_be_the_one_meant(tmp_path, affectnet):
    svm = "t5.4-ccc-island-classic-svm"
    small = ["model_options.backbone=breg_next", "pretrained=false"]
    first, _ = planned(ANTONIADIS, [svm], small, root=tmp_path)
    finish(first.folder, replace(first.recipe, batch_size=64))
    found = hindered(planned(ANTONIADIS, [svm], small, root=tmp_path), affectnet)
    assert "another recipe: batch_size differs" in str(found[f"antoniadis/{svm}"])
