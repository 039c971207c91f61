import os
import shutil
import subprocess
import sys

import numpy as np
import pygame
import pytest

from affectlens.apps.live.window import Window
from affectlens.core.errors import AffectLensError, MissingExtra

PICTURE = np.zeros((40, 60, 3), dtype=np.uint8)
PICTURE[:, :30] = (200, 100, 50)


@pytest.fixture(autouse=True)
def dummy_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def on_screen():
    return pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)


def test_a_picture_is_shown_with_its_caption():
    with Window(60, 40) as window:
        assert window.show(PICTURE, "2 faces")
        np.testing.assert_array_equal(on_screen(), PICTURE)
        assert pygame.display.get_caption()[0] == "affectlens: 2 faces"
    assert not pygame.display.get_init()


def test_a_picture_keeps_its_shape_in_a_window_of_another():
    with Window(240, 80) as window:
        window.show(PICTURE, "")
        screen = on_screen()
    assert screen.shape == (80, 240, 3)
    assert (screen[:, :60].max(), screen[:, 180:].max()) == (0, 0)
    assert screen[40, 70].tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    "event",
    [
        pygame.event.Event(pygame.QUIT),
        pygame.event.Event(pygame.KEYDOWN, key=pygame.K_q),
        pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE),
    ],
)
def test_closing_the_window_q_and_escape_end_it(event):
    with Window(60, 40) as window:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a))
        assert window.show(PICTURE, "")
        pygame.event.post(event)
        assert not window.show(PICTURE, "")


def test_a_window_begins_no_larger_than_the_desktop():
    pygame.display.init()
    across, down = pygame.display.get_desktop_sizes()[0]
    with Window(4 * across, 2 * down) as window:
        window.show(PICTURE, "")
        height, width = on_screen().shape[:2]
    assert (width, height) == (round(0.9 * across), round(0.45 * down))


def test_without_a_display_there_is_one_line(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":97")
    with pytest.raises(AffectLensError, match=r"cannot open a window \(.+\); use 'affectlens serve' .* --no-window "):
        Window(60, 40)


def test_a_picture_that_nobody_would_see_is_no_window(monkeypatch):
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(AffectLensError, match="cannot open a window"):
        Window(60, 40)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(MissingExtra, match=r"affectlens\[live\]"):
        Window(60, 40)


def test_a_real_window_on_a_virtual_screen(tmp_path):
    if not shutil.which("Xvfb"):
        pytest.skip("no Xvfb on this machine (Debian's package xvfb)")
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"], pass_fds=[write])
    try:
        os.close(write)
        display = os.read(read, 10).decode().strip()
        script = (
            "import numpy as np\n"
            "from affectlens.apps.live.window import Window\n"
            "import pygame\n"
            "with Window(60, 40) as window:\n"
            "    assert window.show(np.full((40, 60, 3), 90, dtype=np.uint8), 'x')\n"
            "    print(pygame.display.get_driver())\n"
        )
        environment = os.environ | {"DISPLAY": f":{display}", "SDL_VIDEODRIVER": "x11"}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "x11"), done.stderr
    finally:
        server.terminate()
        server.wait(10)
        os.close(read)
