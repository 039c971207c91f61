"""The camera loop in a window that is not shown (SDL's dummy driver)."""

import csv

import cv2
import numpy as np
import pygame
import pytest
import torch

from affectlens.apps.live import window
from affectlens.core.expressions import FERPLUS
from affectlens.core.session import ModelSpec
from affectlens.runtime.video import open_video
from affectlens.training.export import write
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find


@pytest.fixture(autouse=True)
def dummy_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture(scope="module")
def clip(make_video, portrait, tmp_path_factory):
    face = cv2.resize(portrait[:260, 90:350], (240, 240), interpolation=cv2.INTER_AREA)
    return make_video(tmp_path_factory.mktemp("live") / "clip.mp4", [face] * 10, fps=20)


@pytest.fixture
def shown(monkeypatch):
    """The pictures and captions that the window was given."""
    found = []
    show = window.Window.show
    monkeypatch.setattr(
        window.Window, "show", lambda self, image, caption: found.append((image, caption)) or show(self, image, caption)
    )
    return found


def test_a_clip_is_shown_and_kept(cli, clip, shown, tmp_path):
    result = cli("live", "--camera", clip, "--record", tmp_path / "kept")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{len(shown)} frames shown, kept in {tmp_path / 'kept'}\n"
    assert 1 <= len(shown) <= 10
    assert shown[-1][0].shape == (480, 480, 3)
    assert shown[-1][1].startswith("1 faces, ")
    with (tmp_path / "kept" / "faces.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(shown)
    assert {(row["track"], row["expression"]) for row in rows} == {("0", "happiness")}
    video = open_video(tmp_path / "kept" / "live.mp4")
    assert len(list(video)) == len(shown)
    video.close()


def test_a_recording_is_not_overwritten(cli, clip, shown, tmp_path):
    assert cli("live", "--camera", clip, "--record", tmp_path / "kept").code == 0
    again = cli("live", "--camera", tmp_path / "kept" / "live.mp4", "--record", tmp_path / "kept")
    assert (again.code, len(again.errors)) == (1, 1)
    assert "already holds a recording" in again.err


def test_nothing_is_kept_unless_asked_for(cli, clip, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("live", "--camera", clip).code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_key_q_ends_it(cli, clip, shown, monkeypatch):
    monkeypatch.setattr(pygame.event, "get", lambda: [pygame.event.Event(pygame.KEYDOWN, key=pygame.K_q)])
    result = cli("live", "--camera", clip)
    assert (result.code, result.out) == (0, "1 frames shown\n")


class Capture:
    """A camera that gives six pictures and is then unplugged."""

    def __init__(self, image):
        self.left, self.image = 6, image

    def isOpened(self):  # noqa: N802  # OpenCV's name
        return True

    def read(self):
        self.left -= 1
        return (True, self.image) if self.left >= 0 else (False, None)

    def release(self):
        pass


def test_an_unplugged_camera_ends_it_with_a_warning(cli, shown, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Capture(np.full((60, 80, 3), 90, dtype=np.uint8)))
    result = cli("live", "--camera", 3)
    assert (result.code, len(result.errors)) == (0, 1)
    assert "warning: camera:3: the camera gave no more pictures after 6 frames (stream_lost)" in result.err


@pytest.mark.parametrize("camera", ["97", "nowhere.mp4"])
def test_what_cannot_be_opened_is_one_line(cli, camera):
    result = cli("live", "--camera", camera)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)


def test_a_trained_vgg_with_transformer_and_attention_reads_the_camera(cli, clip, shown, tmp_path):
    recipe = find("caciolai/vgg-stn-msa")
    torch.manual_seed(0)
    spec = ModelSpec(
        name="vgg",
        labels=FERPLUS,
        input=recipe.input_spec(),
        temperature=1.0,
        uncertain_below=0.4,
        recipe=recipe.name,
        provenance={},
        licence="",
    )
    write(ExpressionModule(recipe, len(FERPLUS)).network, spec, tmp_path / "model.onnx")
    result = cli("live", "--camera", clip, "--model", tmp_path / "model.onnx", "--record", tmp_path / "kept")
    assert (result.code, result.err) == (0, "")
    assert len(shown) >= 1
    with (tmp_path / "kept" / "faces.csv").open() as stream:
        assert {row["model"] for row in csv.DictReader(stream)} == {"vgg"}
