import json
import sys

import pytest

from affectlens.apps.cli.main import main
from affectlens.core.errors import BadData
from affectlens.training.module import ExpressionModule
from affectlens.training.recipes import caciolai
from affectlens.training.tables import rows_of
from affectlens.workflows import reproduce

SHORT = [f"--set={setting}" for setting in ("epochs=1", "batch_size=2", "precision=32-true")]


@pytest.fixture(scope="module")
def reproduced(make_ferplus, tmp_path_factory):
    """The folder below which `baseline` was reproduced: ferplus, runs, results."""
    root = tmp_path_factory.mktemp("reproduce")
    make_ferplus(root / "ferplus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["affectlens", *arguments(root, "--row", "baseline", *SHORT)])
        with pytest.raises(SystemExit) as done:
            main()
    assert done.value.code == 0
    return root


def arguments(root, *more, work="caciolai"):
    return [
        *("reproduce", work, "--data", f"ferplus:{root / 'ferplus'}"),
        *("--out", str(root / "results"), "--runs", str(root / "runs"), *more),
    ]


def table_of(text):
    """Row -> column -> cell of the table in Markdown."""
    header, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): dict(zip(header[1:], cells[1:], strict=False)) for cells in rows}


@pytest.mark.slow
def test_a_row_leaves_its_run_and_what_is_worth_keeping_of_it(reproduced):
    run, kept = reproduced / "runs" / "caciolai-baseline", reproduced / "results" / "caciolai" / "baseline"
    assert (run / "model.onnx").is_file()
    names = {"recipe.json", "labels.json", "versions.json", "curves.csv", "curves.png", "log.txt"}
    assert {file.name for file in kept.iterdir()} == names | {"confusion.png", "metrics.json"}
    for name in ("recipe.json", "labels.json", "versions.json", "curves.csv"):
        assert (kept / name).read_bytes() == (run / name).read_bytes()
    found = json.loads((kept / "metrics.json").read_text())
    assert found["facts"] == {
        "data": "ferplus",
        "protocol": "caciolai",
        "split": "test",
        "options": {"protocol": "caciolai", "mode": "votes"},
    }
    assert found["parameters"] == 43_737
    assert found["test"]["faces"] == 4
    assert len(found["test"]["labels"]) == 7
    assert found["validation"]["metrics"]["faces"] == 4


def test_the_table_has_the_papers_figure_and_the_measured_one_of_every_row(reproduced):
    folder = reproduced / "results" / "caciolai"
    table = table_of((folder / "README.md").read_text())
    assert list(table) == list(caciolai.ROWS)
    assert {row: cells["paper"] for row, cells in table.items()} == {
        name: f"{100 * row.paper['accuracy']:.2f}" for name, row in rows_of(caciolai.TABLES).items()
    }
    test = json.loads((folder / "baseline" / "metrics.json").read_text())["test"]
    measured = table["baseline"]["accuracy"]
    assert measured.startswith(f"**{100 * test['accuracy']:.2f}** (")
    assert (table["baseline"]["epochs"], table["baseline"]["parameters"]) == ("1 of 300, last", "43,737")
    assert all(table[row]["accuracy"] == "not run" for row in caciolai.ROWS if row != "baseline")


def test_a_second_call_neither_trains_nor_tests_again_and_prints_the_table(reproduced, cli, monkeypatch):
    for name in ("run_recipe", "score"):
        monkeypatch.setattr(reproduce, name, lambda *_, **__: pytest.fail("it was done again"))
    result = cli(*arguments(reproduced, "--row", "baseline", *SHORT))
    assert (result.code, result.err) == (0, "")
    said = f"already tested with epochs=1, see '{reproduced / 'results' / 'caciolai' / 'baseline'}'"
    assert said in result.out
    assert result.out.rstrip().endswith((reproduced / "results" / "caciolai" / "README.md").read_text().rstrip())


def test_a_row_that_was_tested_after_other_epochs_stays_as_it_is(reproduced, cli, monkeypatch):
    monkeypatch.setattr(reproduce, "run_recipe", lambda *_, **__: pytest.fail("it was trained again"))
    result = cli(*arguments(reproduced, "--row", "baseline", *SHORT, "--set=epochs=9"))
    assert (result.code, result.err) == (0, "")
    assert "already tested with epochs=1" in result.out
    assert "caciolai/baseline: up to" not in result.out


def test_before_a_row_is_trained_its_epochs_are_said(reproduced, cli, monkeypatch):
    def stop(recipe, source, folder, resume, **_):
        raise BadData(f"resume is {resume}")

    monkeypatch.setattr(reproduce, "run_recipe", stop)
    result = cli(*arguments(reproduced, "--row", "stn", "--set=epochs=9"))
    folder = reproduced / "runs" / "caciolai-stn"
    assert f"caciolai/stn: up to 9 epochs, in '{folder}'" in result.out
    assert result.err == "error: resume is False\n"


@pytest.mark.parametrize("tested", [True, False])
def test_what_was_made_of_other_data_is_not_passed_off_as_these(reproduced, cli, monkeypatch, tmp_path, tested):
    for name in ("run_recipe", "score"):
        monkeypatch.setattr(reproduce, name, lambda *_, **__: pytest.fail("it was done"))
    out = reproduced / "results" if tested else tmp_path
    other = f"ferplus:{reproduced / 'ferplus'}?protocol=standard"
    own = f"ferplus:{reproduced / 'ferplus'}"
    call = arguments(reproduced, "--row", "baseline", *SHORT, "--out", out)
    result = cli(*[other if word == own else word for word in call])
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert (
        "was started with other data: ferplus&protocol=caciolai&mode=votes, got ferplus&protocol=standard" in result.err
    )


@pytest.mark.slow
def test_an_interrupted_row_goes_on_when_it_is_called_again(reproduced, cli, monkeypatch, tmp_path):
    def interrupt(module):
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    call = arguments(
        reproduced, "--row", "stn", *SHORT, "--set=epochs=2", "--runs", tmp_path, "--out", tmp_path / "out"
    )
    with monkeypatch.context() as patch:
        patch.setattr(ExpressionModule, "on_train_epoch_end", interrupt)
        result = cli(*call)
    assert result.code == 130
    assert "resume the run to continue" in result.err
    assert cli(*call).code == 0
    log = (tmp_path / "caciolai-stn" / "log.txt").read_text()
    assert "training from epoch 1 of 2" in log


def test_a_finished_run_that_was_not_tested_is_tested_and_not_trained(reproduced, cli, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "run_recipe", lambda *_, **__: pytest.fail("it was trained again"))
    result = cli(*arguments(reproduced, "--row", "baseline", "--out", tmp_path, *SHORT))
    assert (result.code, result.err) == (0, "")
    again, first = (
        json.loads((place / "caciolai" / "baseline" / "metrics.json").read_text())
        for place in (tmp_path, reproduced / "results")
    )
    assert again == first


def test_a_finished_run_of_other_settings_is_not_tested_as_if_it_were_this_one(reproduced, cli, tmp_path):
    result = cli(*arguments(reproduced, "--row", "baseline", "--out", tmp_path, *SHORT, "--set=seed=7"))
    assert (result.code, len(result.errors)) == (1, 1)
    assert "was started with another recipe: seed differs" in result.err
    assert not (tmp_path / "caciolai").exists()


def test_other_data_than_those_of_the_table_are_refused(cli, tmp_path):
    result = cli("reproduce", "caciolai", "--data", f"table:{tmp_path}", "--out", tmp_path / "out")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "'caciolai' expects data of 'ferplus', got 'table'; name such data, or set other_data" in result.err
    result = cli("reproduce", "caciolai", "--row", "stn", "--data", f"table:{tmp_path}", "--out", tmp_path / "out")
    assert "'caciolai/stn' expects data of 'ferplus', got 'table'; name such data, or set other_data" in result.err


def test_without_a_row_those_with_published_figures_on_these_data_are_run(make_ferplus, cli, monkeypatch, tmp_path):
    begun = []

    def stop(recipe, *_, **__):
        begun.append(recipe.name)
        raise BadData("enough")

    monkeypatch.setattr(reproduce, "run_recipe", stop)
    make_ferplus(tmp_path / "ferplus")
    assert cli(*arguments(tmp_path)).errors == ["error: enough"]
    assert begun == [f"caciolai/{row}" for row in caciolai.ROWS]
    assert not (tmp_path / "results").exists()


def test_a_row_is_tested_on_other_data_if_they_are_named(reproduced, cli, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "run_recipe", lambda *_, **__: pytest.fail("a run began"))
    monkeypatch.setattr(caciolai, "PAPER_DATA", "folder", raising=False)
    other = f"ferplus:{reproduced / 'ferplus'}?protocol=standard&classes=7"
    result = cli(*arguments(reproduced, "--row", "baseline", *SHORT, "--test", other, "--out", tmp_path))
    assert result.code == 0
    row = table_of(result.out)["baseline"]
    assert row["data"] == "ferplus, standard, classes 7, 7 classes, 4 faces; batch_size=2"
    assert row["paper"] == "60.61 (folder)"


def test_notes_of_ones_own_stay_in_the_table(reproduced, cli, tmp_path):
    (tmp_path / "caciolai").mkdir()
    (tmp_path / "caciolai" / "notes.md").write_text("The seed is 0 because it is the default.\n")
    assert cli(*arguments(reproduced, "--row", "baseline", "--out", tmp_path, *SHORT)).code == 0
    text = (tmp_path / "caciolai" / "README.md").read_text()
    assert text.endswith("\n\nThe seed is 0 because it is the default.\n")


@pytest.fixture
def untouched(monkeypatch, make_ferplus, tmp_path):
    """A place with data where training would be noticed."""
    monkeypatch.setattr(reproduce, "run_recipe", lambda *_, **__: pytest.fail("a run began"))
    make_ferplus(tmp_path / "ferplus")
    return tmp_path


@pytest.mark.parametrize(
    ("work", "more", "named"),
    [
        ("caciolay", (), "unknown recipe 'caciolay'; did you mean 'caciolai'?"),
        ("default", (), "'default' has no published table"),
        ("finetune", (), "'finetune' has no published table"),
        ("caciolai", ("--row", "baselin"), "unknown row 'baselin' of 'caciolai'; did you mean 'baseline'?"),
        ("caciolai", ("--row", "baseline", "--row", "stm"), "unknown row 'stm' of 'caciolai'; did you mean 'stn'?"),
        ("caciolai", ("--set", "epoch=1"), "unknown recipe key 'epoch'; did you mean 'epochs'?"),
        ("caciolai", ("--data", "ferplus:nowhere"), "data folder 'nowhere' does not exist"),
        ("caciolai", ("--data", "ferpluss:."), "unknown reader 'ferpluss'; did you mean 'ferplus'?"),
    ],
)
def test_what_does_not_exist_is_one_line_before_anything_is_trained(cli, untouched, work, more, named):
    result = cli(*arguments(untouched, *more, work=work))
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert named in result.err
    assert not (untouched / "results").exists()


def test_a_tested_row_of_other_settings_is_not_taken_for_this_one(reproduced, cli):
    result = cli(*arguments(reproduced, "--row", "baseline", "--set", "seed=5"))
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)
    assert "was started with another recipe: " in result.err
    assert "results" in result.err


def test_a_run_of_other_settings_is_not_mixed_in(reproduced, cli, tmp_path):
    runs = tmp_path / "runs" / "caciolai-baseline"
    runs.mkdir(parents=True)
    for name in ("recipe.json", "labels.json", "versions.json"):
        (runs / name).write_bytes((reproduced / "runs" / "caciolai-baseline" / name).read_bytes())
    result = cli(
        *arguments(reproduced, "--row", "baseline", "--runs", tmp_path / "runs", "--out", tmp_path / "results")
    )
    assert (result.code, len(result.errors)) == (1, 1)
    assert "was started with another recipe: batch_size differs" in result.err
