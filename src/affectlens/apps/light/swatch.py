"""Display of the light without a lamp: on the terminal and in a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.text import Text

from affectlens.apps.light.palette import Light


class TerminalSwatch:
    """One line that changes in its place and goes away in the end; nothing where `console` is no terminal.

    A context manager.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> "TerminalSwatch":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, light: Light, caption: str) -> None:
        """The light's colour, and a caption beside it."""
        if self._live:
            red, green, blue = light.on_screen
            patch = Text("      ", style=f"on rgb({red},{green},{blue})")
            self._live.update(Text.assemble(patch, f"  #{red:02x}{green:02x}{blue:02x}  {caption}"))


def draw_swatch(picture: NDArray[np.uint8], light: Light) -> None:
    """Draw the light as a framed square into the lower right corner of (H, W, 3) RGB uint8."""
    height, width = picture.shape[:2]
    side, gap = max(round(min(height, width) / 12), 12), max(round(min(height, width) / 60), 3)
    corner, far = (width - gap - side, height - gap - side), (width - gap, height - gap)
    cv2.rectangle(picture, corner, far, light.on_screen, -1)
    cv2.rectangle(picture, corner, far, (255, 255, 255), 1)
