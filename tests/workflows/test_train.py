"""What training checks before it reads the data."""

from dataclasses import replace

import pytest

from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.data.source import parse
from affectlens.training import data as training_data
from affectlens.training import export
from affectlens.training import fit as fitting
from affectlens.training import run as runs
from affectlens.training.recipe import find
from affectlens.training.run import last_checkpoint, locked
from affectlens.workflows.train import run_recipe


@pytest.mark.parametrize(
    ("row", "changes", "error", "message"),
    [
        ("default", {"model_options": {"widhts": (8, 8, 8, 8)}}, BadSetting, "did you mean 'widths'"),
        ("frozen", {"model_options": {"train": "heads"}}, BadSetting, "train must be full, head or frozen"),
        ("frozen", {"model_options": {"backbone": "breg_next"}}, BadModelFile, "bundled"),
    ],
)
def test_a_network_that_cannot_begin_is_refused_before_the_data_are_read(tmp_path, row, changes, error, message):
    recipe, read = replace(find(row), **changes), []
    with pytest.raises(error, match=message):
        run_recipe(recipe, parse(f"ferplus:{tmp_path}"), tmp_path / "run", load=lambda *_: read.append(1))
    assert (read, (tmp_path / "run").exists()) == ([], False)


def test_a_run_that_goes_on_needs_the_weights_that_it_began_with_no_more(tmp_path):
    """It is not asked for what it began with; here the data are what ends it."""

    class Read(AffectLensError):
        pass

    def load(*_):
        raise Read

    last = last_checkpoint(tmp_path / "run")
    last.parent.mkdir(parents=True)
    last.touch()
    recipe = replace(find("frozen"), model_options={"backbone": "breg_next"})
    with pytest.raises(Read):
        run_recipe(recipe, parse(f"ferplus:{tmp_path}"), tmp_path / "run", resume=True, load=load)


def test_a_folder_in_which_another_process_trains_is_refused_before_the_data_are_read(tmp_path):
    read, folder = [], tmp_path / "run"
    with locked(folder), pytest.raises(BadSetting, match=f"another process trains the run in '{folder}'"):
        run_recipe(find("default"), parse(f"ferplus:{tmp_path}"), folder, load=lambda *_: read.append(1))
    assert read == []


def test_a_run_has_its_folder_to_itself_from_its_data_to_its_export(tmp_path, make_ferplus, monkeypatch):
    folder, held = tmp_path / "run", []

    def check(name):
        with pytest.raises(BadSetting, match="another process trains"), locked(folder):
            pass
        held.append(name)

    for module, name in ((training_data, "load_data"), (fitting, "fit"), (runs, "keep_losses"), (export, "export")):
        act = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, act=act, name=name: check(name) or act(*given))
    make_ferplus(tmp_path / "ferplus")
    recipe = replace(find("caciolai"), epochs=1, batch_size=2, precision="32-true")
    finished = run_recipe(recipe, parse(f"ferplus:{tmp_path / 'ferplus'}"), folder)
    assert held == ["load_data", "fit", "keep_losses", "export"]
    assert finished.model.is_file()
    with locked(folder):
        pass
