import json
from dataclasses import replace
from pathlib import Path

import pytest

from affectlens.core.errors import BadSetting, UnknownName
from affectlens.data.source import parse
from affectlens.training.recipes import antoniadis, caciolai, dare
from affectlens.training.tables import rows_of
from affectlens.workflows.plan import chosen_rows, obstacles, planned_runs

ANTONIADIS, CACIOLAI, DARE = (rows_of(module.TABLES) for module in (antoniadis, caciolai, dare))


def chosen(rows=(), tables=(), reader="affectnet"):
    return chosen_rows(ANTONIADIS, antoniadis, "antoniadis", rows, tables, reader)


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
    faces, videos = chosen(), chosen(reader="affwild2")
    assert set(faces).isdisjoint(videos)
    assert all(ANTONIADIS[row].recipe.data == "affwild2" and ANTONIADIS[row].paper for row in videos)
    assert chosen(reader=None) == faces
    with pytest.raises(BadSetting, match="'antoniadis' expects data of 'affectnet', got 'folder'"):
        chosen(reader="folder")


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


def test_what_stands_in_the_way_costs_only_the_rows_concerned(tmp_path):
    (tmp_path / "affectnet").mkdir()
    source = parse(f"affectnet:{tmp_path / 'affectnet'}")
    rows = ["vit-base-scratch", "two-stream-celeba", "swin-tiny-scratch-2"]
    found = obstacles(planned(DARE, rows, root=tmp_path), source, source, other_data=False)
    assert set(found) == {"dare/celeba", "dare/two-stream-celeba"}
    assert "'dare/celeba' expects data of 'celeba', got 'affectnet'" in str(found["dare/celeba"])
    assert "starts from the run in" in str(found["dare/two-stream-celeba"])


def test_weights_that_are_not_there_are_found_before_any_run(tmp_path, monkeypatch):
    from affectlens.training import start

    tried = []

    def nothing(network, recipe, labels, fresh):
        tried.append(recipe.row)
        raise BadSetting("no weights")

    monkeypatch.setattr(start, "begin", nothing)
    (tmp_path / "affectnet").mkdir()
    source = parse(f"affectnet:{tmp_path / 'affectnet'}")
    rows = ["t6.5-breg-next", "t4.1-center", "t4.1-island"]
    small = ["t4.1-*:model_options.backbone=breg_next", "t4.1-*:size_px=16"]
    found = obstacles(planned(ANTONIADIS, rows, small, root=tmp_path), source, source, other_data=False)
    assert set(found) == {"antoniadis/t4.1-center", "antoniadis/t4.1-island"}
    assert tried == ["t4.1-center"]  # both rows begin with the same weights


@pytest.mark.parametrize("name", ["t5.1-baseline", "t5.1-*", "t3.1-baseline"])
def test_a_setting_reaches_a_row_under_each_of_its_names(name):
    (run,) = planned(ANTONIADIS, ["t3.1-baseline"], [f"{name}:epochs=6"])
    assert run.recipe.epochs == 6


def test_a_setting_for_no_row_that_is_run_is_refused():
    with pytest.raises(BadSetting, match=r"the setting 'vgg-\*:epochs' is for no row that is run; these are: stn"):
        planned(CACIOLAI, ["stn"], ["vgg-*:epochs=2"])


def test_a_finished_run_to_start_from_must_be_the_one_meant(tmp_path):
    svm = "t5.4-ccc-island-classic-svm"
    small = ["model_options.backbone=breg_next", "pretrained=false"]
    first, _ = planned(ANTONIADIS, [svm], small, root=tmp_path)
    finish(first.folder, replace(first.recipe, batch_size=64))
    (tmp_path / "affectnet").mkdir()
    source = parse(f"affectnet:{tmp_path / 'affectnet'}")
    found = obstacles(planned(ANTONIADIS, [svm], small, root=tmp_path), source, source, other_data=False)
    assert "another recipe: batch_size differs" in str(found[f"antoniadis/{svm}"])
