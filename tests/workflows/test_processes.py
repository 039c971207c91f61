import logging
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.training.recipes.caciolai import BASELINE
from affectlens.workflows.plan import Planned, Task
from affectlens.workflows.processes import in_processes

TASK = Task((), None, False, None)


class Messages(list):
    """A progress that keeps messages."""

    message = list.append


def planned(row, after=None):
    folder, before = (Path(f"caciolai-{name}") if name else None for name in (row, after))
    return Planned(replace(BASELINE, row=row), folder, Path("results") / row, before)


def work(one, task, progress):
    """What a row does is in its name."""
    if one.recipe.row == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if one.recipe.row == "sleeps":
        progress.message("sleeping")
        time.sleep(600)
    if one.recipe.row == "refused":
        return BadSetting("not like this")
    progress.message(f"{one.name}: up to 3 epochs")
    logging.getLogger("affectlens").warning("an image\nis damaged")
    return None


def left_over():
    """Processes of runs; a service of other tests may have some of its own."""
    return [one for one in multiprocessing.active_children() if one.name.startswith("caciolai")]


@pytest.mark.slow
def test_a_run_that_is_killed_costs_itself_and_those_that_start_from_it():
    messages = Messages()
    rows = [planned("killed"), planned("good"), planned("refused"), planned("later", after="killed")]
    found = {one.recipe.row: error for one, error in in_processes(work, rows, TASK, 3, messages)}
    assert found["good"] is None
    assert str(found["killed"]) == "its process was killed, probably for lack of memory"
    assert type(found["killed"]) is AffectLensError
    assert isinstance(found["refused"], BadSetting)
    assert isinstance(found["later"], BadModelFile)
    assert messages == ["caciolai/good: up to 3 epochs", "caciolai/good: warning: an image is damaged"]
    assert not left_over()


@pytest.mark.slow
def test_runs_end_with_the_one_who_waits_for_them():
    class Stop(Messages):
        def message(self, text):
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(in_processes(work, [planned("sleeps")], TASK, 2, Stop()))
    assert not left_over()
    assert time.monotonic() - begun < 300
