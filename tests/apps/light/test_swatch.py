import io

import numpy as np
from rich.console import Console

from affectlens.apps.light.palette import Light
from affectlens.apps.light.swatch import TerminalSwatch, draw_swatch

ORANGE = Light((255, 128, 0), 1.0)


def test_a_terminal_shows_one_line_that_goes_away():
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=60)
    with TerminalSwatch(console) as swatch:
        swatch.show(Light((0, 0, 255), 1.0), "1 faces")
        swatch.show(ORANGE, "2 faces")
    written = console.file.getvalue()
    assert "\x1b[48;2;255;128;0m" in written
    assert "#ff8000  2 faces" in written
    assert written.endswith("\x1b[2K")


def test_elsewhere_nothing_is_written():
    console = Console(file=io.StringIO())
    with TerminalSwatch(console) as swatch:
        swatch.show(ORANGE, "2 faces")
    assert console.file.getvalue() == ""


def test_a_square_in_the_corner_of_a_picture():
    for shape in ((480, 640, 3), (30, 20, 3)):
        picture = np.zeros(shape, dtype=np.uint8)
        draw_swatch(picture, Light((255, 128, 0), 0.5))
        drawn = (picture == Light((255, 128, 0), 0.5).on_screen).all(axis=-1)
        assert drawn.sum() >= 100
        assert not drawn[: shape[0] // 3].any()
        assert picture[0, 0].tolist() == [0, 0, 0]
