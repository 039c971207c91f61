"""What README and docs/ say can be done: links lead somewhere, commands run on small files, and so does the Python."""

import contextlib
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.main import get_command

import affectlens.models
from affectlens.apps.cli.main import app
from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.data.readers.celeba import ATTRIBUTES
from affectlens.models.layers import mobile_facenet
from affectlens.runtime.media import PORTRAIT

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = pytest.mark.parametrize("page", [page for page in PAGES if page.name != "cli.md"], ids=lambda page: page.name)
DEVICE = re.compile(r"camera:|rtsp:|s3:|mqtt:|wled:|live|serve")
"""What a test has not; a call with a word that begins so is only compared with `--help`."""


@dataclass(frozen=True)
class Call:
    """A call of a program on a page: its words, and the file that its output goes to, or ""."""

    program: str
    words: tuple[str, ...]
    file: str

    @property
    def needs_device(self):
        return any(DEVICE.match(word) for word in self.words)


def calls(page, *programs):
    """The calls of some programs in the console blocks of a page, in order."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            parts = re.sub(r"\s+#.*", "", line.removeprefix("$ ")).split(" && ") if line.startswith("$ ") else ()
            for part in parts:
                command, _, file = re.sub(r"^[A-Z_]+=\S+ ", "", part).partition(" > ")
                program, *words = shlex.split(command)
                found += [Call(program, tuple(words), file.strip())] if program in programs else []
    return found


def blocks(name):
    """The Python of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def without_work(command, optional=False):
    """The command and all below it parse their words and do nothing; with `optional`, words may be missing."""
    for part in getattr(command, "commands", {}).values():
        without_work(part, optional)
    if not hasattr(command, "commands"):
        command.callback = lambda **_: None
        for parameter in command.params if optional else ():
            parameter.required = False
    return command


@WRITTEN
def test_every_command_on_a_page_is_understood(page):
    command, lenient = without_work(get_command(app)), without_work(get_command(app), optional=True)
    for call in calls(page, "affectlens"):
        command(list(call.words), standalone_mode=False)  # raises what would be printed as usage
    for line in re.findall(r"`affectlens ([a-z][^`]* [^`]*)`", page.read_text(encoding="utf-8")):
        lenient(shlex.split(line), standalone_mode=False)  # a sentence does not name every word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    targets = re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    local = [target.partition("#")[0] for target in targets if not re.match(r"https?://|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


class Pictures:
    """Writes different crops of the portrait, and how many it wrote."""

    def __init__(self, portrait):
        self._portrait, self.count = portrait, 0

    def face(self, side=48):
        """(side, side, 3) RGB."""
        left, top = 110 + self.count % 37, 30 + self.count % 31
        self.count += 1
        return cv2.resize(self._portrait[top : top + 140, left : left + 140], (side, side))

    def put(self, file, invert=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        face = self.face()
        cv2.imwrite(str(file), (255 - face if invert else face)[..., ::-1])


def write_data(folder, pictures):
    """Small data sets below `folder`, each in the layout that its reader knows."""
    for split in ("Train", "Valid", "Test"):
        lines = []
        for number in range(16):
            pictures.put(folder / "ferplus" / f"FER2013{split}" / f"fer{number}.png")
            votes = ["10" if column == number % 8 else "0" for column in range(10)]
            lines.append(f'fer{number}.png,"(0, 0, 48, 48)",{",".join(votes)}')
        write_lines(folder / "ferplus" / f"FER2013{split}" / "label.csv", lines)
    lines = ["emotion,pixels,Usage"]
    for number in range(21):
        pixels = cv2.cvtColor(pictures.face(), cv2.COLOR_RGB2GRAY).ravel()
        usage = ("Training", "PublicTest", "PrivateTest")[number // 7 % 3]
        lines.append(f"{number % 7},{' '.join(map(str, pixels))},{usage}")
    write_lines(folder / "fer2013" / "fer2013.csv", lines)
    points = np.stack(np.meshgrid(np.linspace(4, 44, 17), np.linspace(8, 44, 4)), axis=-1).reshape(-1)
    for part, count in (("train_set", 48), ("val_set", 8)):
        for number in range(count):
            pictures.put(folder / "affectnet" / part / "images" / f"{number}.jpg")
            (folder / "affectnet" / part / "annotations").mkdir(exist_ok=True)
            for name, value in {"exp": str(number % 8), "val": "0.25", "aro": "-0.5", "lnd": points}.items():
                np.save(folder / "affectnet" / part / "annotations" / f"{number}_{name}.npy", value)
    for number in range(40):
        pictures.put(folder / "rafdb" / "Image" / "aligned" / f"train_{number:05d}_aligned.jpg")
        pictures.put(folder / "ckplus" / "happy" / f"S{number:03d}_004_00000017.png")
    pictures.put(folder / "rafdb" / "Image" / "aligned" / "test_0001_aligned.jpg")
    labels = [f"train_{number:05d}.jpg {1 + number % 7}" for number in range(40)]
    write_lines(folder / "rafdb" / "EmoLabel" / "list_patition_label.txt", [*labels, "test_0001.jpg 4"])
    attributes = [f"{number:06d}.jpg " + " ".join((" 1", "-1")[number % 2] for _ in ATTRIBUTES) for number in range(24)]
    write_lines(folder / "celeba" / "list_attr_celeba.txt", ["24", " ".join(ATTRIBUTES), *attributes])
    write_lines(
        folder / "celeba" / "list_eval_partition.txt", [f"{number:06d}.jpg {number // 2 % 3}" for number in range(24)]
    )
    for number in range(24):
        pictures.put(folder / "celeba" / "img_align_celeba" / f"{number:06d}.jpg")
    write_videos(folder / "affwild2", pictures)


def write_videos(folder, pictures):
    """Aff-Wild2 of twelve training videos and one of the published validation set, with four frames each."""
    videos = {str(number): "Train_Set" for number in range(12)} | {"seen": "Validation_Set"}
    for video, part in videos.items():
        write_lines(
            folder / "EXPR_Set" / part / f"{video}.txt",
            ["Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise", "0", "4", "-1", "4"],
        )
        write_lines(
            folder / "VA_Set" / part / f"{video}.txt",
            ["valence,arousal", "0.1,0.2", "0.6,-0.3", "0.2,0.2", "-0.5,0.1"],
        )
        for frame in range(1, 5):
            pictures.put(folder / "cropped_aligned" / video / f"{frame:05d}.jpg")


def write_lines(file, lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, portrait, make_video, process):
    """A folder with what the pages name, the home folder with its data sets in it."""
    folder = tmp_path_factory.mktemp("prepared")
    pictures = Pictures(portrait)
    for name in ("photo.jpg", "party.jpg", "group.jpg", "holiday/a.jpg", "scans/a.png", "photos/a.jpg", "photos/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PORTRAIT.read_bytes())
    (folder / "photos" / "late.jpg").symlink_to("../late.jpg")
    make_video(folder / "clip.mp4", [portrait] * 20)
    assert process("analyze", folder / "clip.mp4", "--out", folder / "clip.csv").code == 0
    for number in range(30):
        pictures.put(folder / "pictures" / "calm" / f"calm{number}.png")
        pictures.put(folder / "pictures" / "excited" / f"excited{number}.png", invert=True)
    pictures.put(folder / "crops" / "face.png")
    write_lines(folder / "rooms.csv", ["source,room", "a.jpg,hall"])
    write_data(folder / "home" / "data", pictures)
    write_lines(folder / "ages.csv", ["id,age_years", "0.jpg,7"])
    (folder / "FOLDER").symlink_to(folder / "home" / "data" / "ferplus")
    return folder


@pytest.fixture
def place(prepared, tmp_path, monkeypatch, small_networks):
    """A copy of `prepared` as working folder; a package that the pages' own code can be added to."""
    folder = shutil.copytree(prepared, tmp_path / "place", symlinks=True)
    torch.save({"state_dict": mobile_facenet.MobileFaceNet().state_dict()}, folder / "mobilefacenet.pth.tar")
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(affectlens.models, "__path__", [*affectlens.models.__path__, str(folder)])
    return folder


FEWER_ROWS = {
    "--table t4.1": "--row t4.1-center",
    "--row t6.2-* --seeds 3 --jobs 2": "--row t6.2-layers-1-tau-0.05 --seeds 1 --jobs 1",
    "--table t6.2 --seeds 3 --data": "--row t6.2-layers-1-tau-0.05 --data",
    "--row stn* --set epochs=60 --set stn-msa:": "--row stn --set epochs=60 --set stn:",
    "vats --data fer2013:": "vats --row swin-se --data fer2013:",
    "dare --data affectnet:": "dare --row two-stream-celeba --data affectnet:",
}
"""Calls of many runs -> of one; what they have in common is tested with the workflow."""


def shorter(words):
    """The same call with an epoch of a small network, without weights from a hub, or with few points and faces."""
    if words[:2] == ("plot", "landscape"):
        return [*words, "--points", "3", "--faces", "8"]
    if words[0] == "finetune":
        return [*words, "--set", "epochs=1"]
    if words[0] == "temporal":
        return [*words, "--epochs", "1"]
    if words[0] not in ("train", "reproduce"):
        return words
    for long, short in FEWER_ROWS.items():
        if long in (text := " ".join(words)):
            words = tuple(text.replace(long, short).split())
    settings = ["epochs=1", "batch_size=16", "train_share=0.2"]
    if words[1].startswith(("antoniadis", "dare", "vats")):
        settings.append("size_px=56" if words[1].startswith("dare") else "size_px=64")
        begins_with_a_run = "two-stream-celeba" in " ".join(words)
        settings += [] if begins_with_a_run else ["pretrained=false"]
    if words[1].startswith("dare"):
        settings.append("model_options.backbone=small")
    return [*words, *(word for setting in settings for word in ("--set", setting))]


@pytest.mark.parametrize("page", ["docs/add_a_model.md", "docs/light.md"])
def test_the_example_of_a_new_file_passes_the_linter(page):
    (example,) = blocks(page)
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "src/affectlens/models/new.py", "-"]
    done = subprocess.run(command, input=example, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_of_a_model_refuses_what_it_says(contribute):
    contribute("models", "three_layers", *blocks("docs/add_a_model.md"))
    with pytest.raises(BadSetting, match="width must be > 0, got 0"):
        catalog.build("models", "three_layers", 8, 1, options={"width": 0})


@pytest.mark.slow
@pytest.mark.no_cover
@WRITTEN
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:Tensorflow not installed")  # of UMAP
def test_every_command_on_a_page_runs(page, cli, place):
    if page.name == "add_a_model.md":
        (place / "three_layers.py").write_text(blocks("docs/add_a_model.md")[0])
    for call in calls(page, "affectlens", "sqlite3"):
        if call.needs_device:
            continue
        if call.program == "sqlite3":
            (place / "late.jpg").write_bytes(PORTRAIT.read_bytes())
            with contextlib.closing(sqlite3.connect(call.words[0])) as base:
                rows = ["|".join(row) for row in base.execute(call.words[1])]
            assert rows
            if call.file:
                write_lines(Path(call.file), rows)
            continue
        done = cli(*shorter(call.words))
        assert done.code == 0, (call.words, done.err)
        if call.file:
            Path(call.file).write_text(done.out.replace("work: caciolai", "work: mine"))  # "edit it", says the page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/outputs.md"])
def test_the_python_of_a_page_runs(name, place):
    for block in blocks(name):
        exec(compile(block, name, "exec"), {})
    made = {"README.md": "drawn.jpg", "docs/outputs.md": "explained.png"}
    assert cv2.imread(made[name]) is not None


@pytest.mark.slow
def test_the_service_answers_its_page(place, portrait, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "affectlens", "serve", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout.readline() == f"http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
            (block,) = blocks("docs/service.md")
            exec(compile(block.replace("8600", port), "service.md", "exec"), {"pictures": [portrait]})
            assert capsys.readouterr().out.count("happiness") == 20 + 1
            page = (ROOT / "docs/service.md").read_text(encoding="utf-8")
            for call in re.findall(r"^\$ (curl .*)$", page, re.MULTILINE):
                answer = subprocess.run(
                    shlex.split(call.replace("8600", port)), capture_output=True, text=True, check=True
                )
                assert '"expression":"happiness"' in answer.stdout
        finally:
            serving.send_signal(signal.SIGINT)
