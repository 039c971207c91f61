"""Ambient light that follows the faces smoothly over time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectlens.apps.light.palette import Light, Palette, encoded, linear
from affectlens.core.affect import Face


class Ambience:
    """Follows one video or stream; takes the faces of its frames, in their order, and gives the light of each moment.

    It begins with the light of nobody and approaches that of the faces, colour in linear light and brightness, as
    `Palette.time_constant_s` says, at any frame rate. Where nobody is seen the light of the last faces stays for
    `Palette.nobody_after_s`. Times that do not advance change nothing; where they go back, it goes on from there.
    """

    def __init__(self, palette: Palette | None = None) -> None:
        self._palette = palette or Palette()
        self._goal = self._palette.light(())
        self._now = _vector(self._goal)
        self._time_s: float | None = None
        self._alone_s = 0.0

    def __call__(self, faces: Sequence[Face], time_s: float) -> Light:
        """The light at `time_s`, seconds since any moment, with these faces in view."""
        step_s = 0.0 if self._time_s is None else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        self._alone_s = 0.0 if faces else self._alone_s + step_s
        if faces or self._alone_s >= self._palette.nobody_after_s:
            self._goal = self._palette.light(faces)
        self._now = self._now + self._gain(step_s) * (_vector(self._goal) - self._now)
        colour = self._now[:3]
        return Light(encoded(colour / colour.max()), round(float(self._now[3]), 4))

    def _gain(self, step_s: float) -> float:
        """The share of the way that is gone in so many seconds."""
        constant_s = self._palette.time_constant_s
        return float(-np.expm1(-step_s / constant_s)) if constant_s else 1.0


def _vector(light: Light) -> NDArray[np.float64]:
    """(4,) linear red, green and blue at full brightness, and brightness; all in [0, 1]."""
    return np.array([*linear(light.rgb), light.brightness])
