"""What README and docs/ say can be done: links lead somewhere, commands are understood, those of the tutorial run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.main import get_command

from affectlens.apps.cli.main import app
from affectlens.runtime.media import PORTRAIT

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEVICE = "<!-- device -->"
"""Stands before blocks that need what a test has not: they are only compared with `--help`."""


def commands(page, device=True):
    """The calls of affectlens in the console blocks of a page, as words."""
    found = []
    blocks = re.findall(rf"({DEVICE}\n)?```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in (line for mark, block in blocks if device or not mark for line in block.splitlines()):
        calls = re.sub(r"\s+#.*| > .*", "", line.removeprefix("$ ")).split(" && ") if line.startswith("$ ") else ()
        found += [tuple(shlex.split(call)[1:]) for call in calls if call.startswith("affectlens ")]
    return found


def without_work(command):
    """The command and all below it parse their words and do nothing."""
    for part in getattr(command, "commands", {}).values():
        without_work(part)
    if not hasattr(command, "commands"):
        command.callback = lambda **_: None
    return command


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "cli.md"], ids=lambda page: page.name)
def test_every_command_on_a_page_is_understood(page):
    command = without_work(get_command(app))
    for words in commands(page):
        command(list(words), standalone_mode=False)  # raises what would be printed as usage


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    targets = re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    local = [target.partition("#")[0] for target in targets if not re.match(r"https?://|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory, portrait, make_video):
    """A folder with what the pages name: photo.jpg, clip.mp4, photos/, pictures/ with a folder for each label."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "photo.jpg").write_bytes(PORTRAIT.read_bytes())
    make_video(folder / "clip.mp4", [portrait] * 20)
    (folder / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "photos" / name).write_bytes(PORTRAIT.read_bytes())
    numbers = np.random.default_rng(0)
    for label in ("calm", "excited"):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(30):
            left, top = numbers.integers(110, 190), numbers.integers(30, 80)
            face = portrait[top : top + 140, left : left + 140]
            face = face if label == "calm" else 255 - face
            cv2.imwrite(str(folder / "pictures" / label / f"{label}{number}.png"), face[..., ::-1])
    return folder


def test_the_tutorial_runs_from_its_beginning_to_its_end(place):
    calls = commands(ROOT / "docs" / "tutorial.md", device=False)
    assert len(calls) > 10
    for words in calls:
        call = [sys.executable, "-m", "affectlens", *words]
        done = subprocess.run(call, cwd=place, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, (words, done.stderr)
    made = ["drawn/photo.faces.jpg", "drawn/clip.faces.mp4", "runs/mine/model.onnx", "report/report.html"]
    assert [name for name in made if not (place / name).is_file()] == []
