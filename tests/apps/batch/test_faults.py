"""A batch that is killed between any two steps of writing goes on as if nothing had been."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from affectlens.apps.batch.run import run
from affectlens.apps.batch.work import UNFINISHED, BatchSettings

KILLED = """
import os, signal, sys
from pathlib import Path
from affectlens.apps.batch import manifest, run, shards, work

source, folder, where, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
home, name = {
    "write": (shards._File, "write"),
    "close": (shards._File, "close"),
    "fsync": (shards, "sync"),
    "rename": (Path, "replace"),
    "manifest": (manifest.Manifest, "commit"),
}[where]
original, calls = getattr(home, name), 0

def deadly(*arguments):
    global calls
    if where == "rename" and not arguments[1].name.startswith("part-"):  # an annotated copy
        return original(*arguments)
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

setattr(home, name, deadly)
run.run(source, folder, work.BatchSettings(annotate_in=folder), workers=0, max_rows=3)
"""


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("where", ["write", "close", "fsync", "rename", "manifest"])
@pytest.mark.parametrize("count", [1, 4])
def test_it_goes_on(where, count, photos, read_back, tmp_path):
    folder = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, photos, folder, where, str(count)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    rows, states = read_back(folder)
    assert len(rows) == len({row["source"] for row in rows})
    assert ("not yet", None) in states.values()
    outcome = run(str(photos), folder, BatchSettings(annotate_in=folder), workers=0, max_rows=3, resume=True)
    rows, states = read_back(folder)
    assert sorted(row["source"] for row in rows) == sorted(states)
    assert (len(states), outcome.done, outcome.failed, outcome.waiting) == (12, 10, 2, 0)
    assert len(list((folder / "annotated").glob("*.faces.jpg"))) == 10
    assert not (folder / UNFINISHED).exists()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("where", ["rename", "close"])
def test_a_video_of_several_shards_that_was_killed_between_them_goes_on(where, make_video, read_back, tmp_path):
    films, folder = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    make_video(films / "wall.mp4", [np.full((60, 80, 3), 90, dtype=np.uint8)] * 8)
    done = subprocess.run([sys.executable, "-c", KILLED, films, folder, where, "2"], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(folder.glob("part-*.parquet"))) == (1 if where == "rename" else 0)
    assert read_back(folder)[1] == {f"{films}/wall.mp4": ("not yet", None)}
    outcome = run(str(films), folder, BatchSettings(annotate_in=folder), workers=0, max_rows=3, resume=True)
    assert (outcome.done, outcome.shards, outcome.rows) == (1, 3, 8)
    rows, _ = read_back(folder)
    assert len({row["frame"] for row in rows}) == 8
