"""The camera loop in a window that is not shown (SDL's dummy driver), and without one."""

import csv
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pygame
import pytest
import torch

from affectlens.apps.light.ambience import Ambience
from affectlens.apps.light.palette import Palette
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
    assert result.out == f"{len(shown)} frames shown, recorded in {tmp_path / 'kept'}\n"
    assert 1 <= len(shown) <= 10
    assert shown[-1][0].shape == (480, 480, 3)
    assert shown[-1][1].startswith("faces: 1, ")
    with (tmp_path / "kept" / "faces.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(shown)
    assert {(row["track"], row["expression"]) for row in rows} == {("0", "happiness")}
    video = open_video(tmp_path / "kept" / "live.mp4")
    assert len(list(video)) == len(shown)
    video.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_stopped_process_leaves_a_recording_that_plays(make_video, portrait, tmp_path):
    clip = make_video(tmp_path / "long.mp4", [cv2.resize(portrait, (240, 240))] * 400, fps=10)
    command = [sys.executable, "-m", "affectlens", "live", "--camera", clip, "--no-window", "--record", "kept"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = tmp_path / "kept" / "faces.csv"
    limit = time.monotonic() + 60
    while not (rows.is_file() and rows.stat().st_size > 0) and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    video = open_video(tmp_path / "kept" / "live.mp4")
    assert out == f"{len(list(video))} frames analyzed, recorded in kept\n"
    video.close()


def test_the_name_of_a_recorded_clip_is_a_formula_only_if_raw(cli, clip, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1+1.mp4").write_bytes(clip.read_bytes())
    for options, begun in (((), "'=1+1.mp4,"), (("--raw",), "=1+1.mp4,")):
        folder = tmp_path / f"kept{len(options)}"
        assert cli("live", "--camera", "=1+1.mp4", "--record", folder, *options).code == 0
        assert (folder / "faces.csv").read_text().splitlines()[1].startswith(begun)
    assert cli("live", "--camera", clip, "--raw").err == "error: --raw requires --record\n"


def test_a_recording_is_not_overwritten(cli, clip, shown, tmp_path):
    assert cli("live", "--camera", clip, "--record", tmp_path / "kept").code == 0
    again = cli("live", "--camera", tmp_path / "kept" / "live.mp4", "--record", tmp_path / "kept")
    assert (again.code, len(again.errors)) == (1, 1)
    assert "already contains a recording" in again.err


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
        self.left, self.image, self.released = 6, image, False

    def isOpened(self):  # noqa: N802  # OpenCV's name
        return True

    def read(self):
        self.left -= 1
        return (True, self.image) if self.left >= 0 else (False, None)

    def release(self):
        self.released = True


@pytest.mark.parametrize(("camera", "reason"), [("nowhere.mp4", "missing"), ("77", "no_camera")])
def test_what_cannot_be_opened_is_named_in_one_line(cli, camera, reason):
    result = cli("live", "--camera", camera)
    assert result.code == 1
    assert re.fullmatch(rf"error: '(camera:)?{camera}': [^\n]+ \({reason}\)\n", result.err)


def test_an_unplugged_camera_ends_it_with_a_warning(cli, shown, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Capture(np.full((60, 80, 3), 90, dtype=np.uint8)))
    result = cli("live", "--camera", 3)
    assert (result.code, len(result.errors)) == (0, 1)
    assert "warning: camera:3: the camera stopped delivering pictures after 6 frames (stream_lost)" in result.err


def test_a_recording_that_is_refused_lets_the_camera_go(cli, monkeypatch, tmp_path):
    camera = Capture(np.full((60, 80, 3), 90, dtype=np.uint8))
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    (tmp_path / "faces.csv").touch()
    result = cli("live", "--record", tmp_path)
    assert (result.code, len(result.errors)) == (1, 1)
    assert camera.released


def test_without_a_display_the_line_says_what_to_do(cli, clip, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":97")
    result = cli("live", "--camera", clip)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "use 'affectlens serve' for a page in the browser, or --no-window to run without one" in result.err


def test_without_a_window_analysis_and_recording_go_on(cli, clip, shown, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygame", None)
    result = cli("live", "--camera", clip, "--no-window", "--record", tmp_path / "kept")
    assert (result.code, result.err, shown) == (0, "", [])
    with (tmp_path / "kept" / "faces.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert result.out == f"{len(rows)} frames analyzed, recorded in {tmp_path / 'kept'}\n"


def test_ctrl_c_ends_it(cli, clip, monkeypatch, tmp_path):
    def interrupted(self, faces, time_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ambience, "__call__", interrupted)
    result = cli("live", "--camera", clip, "--no-window")
    assert (result.code, result.err, result.out) == (0, "", "1 frames analyzed\n")


@pytest.fixture
def palette(tmp_path):
    """A palette that shows happiness at once."""
    file = tmp_path / "palette.json"
    file.write_text(json.dumps({"colours": {"happiness": [255, 0, 255]}, "time_constant_s": 0, "warmth": 0}))
    return file


@pytest.mark.slow
def test_a_palette_shows_a_swatch_in_the_window(cli, clip, shown, palette):
    assert cli("live", "--camera", clip).code == 0
    without = shown.pop()[0]
    assert cli("live", "--camera", clip, "--palette", palette).code == 0
    corner = (slice(-40, -15), slice(-40, -15))
    red, green, blue = shown[-1][0][corner].mean(axis=(0, 1))
    assert min(red, blue) > 2 * green
    assert abs(red - blue) < 10
    assert np.ptp(shown[-1][0][corner].reshape(-1, 3), axis=0).tolist() == [0, 0, 0]
    assert np.ptp(without[corner]) > 0


def test_colours_that_are_never_used_are_mentioned(cli, clip, shown, palette):
    palette.write_text('{"colours": {"hapiness": [255, 0, 255]}}')
    result = cli("live", "--camera", clip, "--palette", palette)
    assert (result.code, len(result.errors)) == (0, 1)
    assert (
        "warning: the palette has a colour for 'hapiness', which the model does not have; its labels are neutral, hap"
        in result.err
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--light", "http://lamp"),
        ("--light", "mqtt://ann:s3cret@lamp"),
        ("--palette", "nowhere.json"),
    ],
)
def test_a_bad_lamp_or_palette_is_one_line(cli, clip, shown, options):
    result = cli("live", "--camera", clip, *options)
    assert (result.code, result.out, len(result.errors), shown) == (1, "", 1, [])
    assert "s3cret" not in result.err


@pytest.mark.slow
def test_offline_there_is_no_lamp(process, clip):
    result = process("live", "--camera", clip, "--no-window", "--offline", "--light", "wled://127.0.0.1")
    assert (result.code, result.out) == (1, "")
    assert result.err == "error: offline mode: connecting to the lamp 'wled://127.0.0.1' is not allowed\n"


@pytest.mark.slow
def test_a_dead_lamp_stops_nothing(cli, clip, shown):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"mqtt://ann:s3cret@127.0.0.1:{nobody.getsockname()[1]}/lamp/set"
        result = cli("live", "--camera", clip, "--no-window", "--light", url)
    assert (result.code, len(result.errors)) == (0, 1)
    assert result.err.startswith("warning: no response from mqtt://127.0.0.1:")
    assert "s3cret" not in result.err
    assert 1 <= int(result.out.removesuffix(" frames analyzed\n")) <= 10


class Lamp(http.server.BaseHTTPRequestHandler):
    """Answers as WLED does; keeps what it was told in `server.told`."""

    def do_POST(self):
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"success":true}')

    def log_message(self, *_):
        pass


def test_a_lamp_follows_the_face_and_is_left_with_nobodys_light(cli, clip, shown, palette):
    with http.server.HTTPServer(("127.0.0.1", 0), Lamp) as server:
        server.told = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        light = f"wled://127.0.0.1:{server.server_port}"
        result = cli("live", "--camera", clip, "--light", light, "--palette", palette)
        server.shutdown()
        thread.join()
    assert (result.code, result.err) == (0, "")
    red, green, blue = server.told[0]["seg"]["col"][0]
    assert min(red, blue) > 245 > 2 * green
    assert server.told[-1]["seg"]["col"] == [list(Palette().nobody)]
    assert server.told[-1]["bri"] == round(255 * Palette().nobody_brightness)


@pytest.mark.parametrize("camera", ["97", "nowhere.mp4"])
def test_what_cannot_be_opened_is_one_line(cli, camera):
    result = cli("live", "--camera", camera)
    assert (result.code, result.out, len(result.errors)) == (1, "", 1)


@pytest.mark.slow
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
