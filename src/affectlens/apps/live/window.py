"""The live window, based on pygame: shows pictures and reports key presses."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import AffectLensError, MissingExtra

TITLE = "affectlens"

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
_OF_DESKTOP = 0.9
"""How much of the desktop a window may take at first: bars of the desktop and of the window need room too."""


class Window:
    """A window that can be resized and begins no larger than the desktop; pictures keep their shape in it.

    A context manager.

    Raises:
        MissingExtra: the extra "live" is not installed. AffectLensError: there is no display.
    """

    def __init__(self, width: int, height: int) -> None:
        self._pygame = _pygame()
        try:
            if _nothing_to_show_on():
                raise self._pygame.error("there is no display")  # SDL would say it in lines of its own
            self._pygame.display.init()
            if self._pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
                raise self._pygame.error("there is no display")
            across, down = self._pygame.display.get_desktop_sizes()[0]
            scale = min(_OF_DESKTOP * across / width, _OF_DESKTOP * down / height, 1)
            size = (max(round(width * scale), 1), max(round(height * scale), 1))
            self._screen = self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
        except self._pygame.error as error:
            self._pygame.display.quit()
            raise AffectLensError(
                f"cannot open a window ({error}); use 'affectlens serve' for a page in the browser, or "
                "--no-window to run without one"
            ) from error
        self._pygame.display.set_caption(TITLE)

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, *_: object) -> None:
        self._pygame.display.quit()

    def show(self, image: NDArray[np.uint8], caption: str) -> bool:
        """Show (H, W, 3) RGB uint8, and a caption in the title; False once the user has closed the window or pressed q
        or Escape.
        """
        wanted = self._wanted()
        width, height = self._screen.get_size()
        scale = min(width / image.shape[1], height / image.shape[0])
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        surface = self._pygame.image.frombuffer(np.ascontiguousarray(image).tobytes(), image.shape[1::-1], "RGB")
        self._screen.fill((0, 0, 0))
        place = ((width - size[0]) // 2, (height - size[1]) // 2)
        self._screen.blit(self._pygame.transform.smoothscale(surface, size), place)
        self._pygame.display.flip()
        self._pygame.display.set_caption(f"{TITLE}: {caption}")
        return wanted

    def _wanted(self) -> bool:
        """Whether the user wants to go on."""
        keys = (self._pygame.K_q, self._pygame.K_ESCAPE)
        return not any(
            event.type == self._pygame.QUIT or (event.type == self._pygame.KEYDOWN and event.key in keys)
            for event in self._pygame.event.get()
        )


def _nothing_to_show_on() -> bool:
    """Whether this is a Linux without a desktop and without a graphics card."""
    named = any(os.environ.get(name) for name in _DISPLAYS)
    return sys.platform == "linux" and not named and not Path("/dev/dri").exists()


def require() -> None:
    """Raises MissingExtra where there is nothing to make a window with."""
    if importlib.util.find_spec("pygame") is None:
        raise MissingExtra("the live window", "live")


def _pygame() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on standard output
    require()
    import pygame

    return pygame
