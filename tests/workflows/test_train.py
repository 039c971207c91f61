"""What training checks before it reads the data."""

from dataclasses import replace

import pytest

from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.data.source import parse
from affectlens.training.recipe import find
from affectlens.training.run import last_checkpoint
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
