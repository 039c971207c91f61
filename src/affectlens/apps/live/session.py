"""A live session: the frames of a camera shown, recorded and followed by a light."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from affectlens.apps.light.ambience import Ambience
from affectlens.apps.light.driver import LampThread
from affectlens.apps.light.lamp import open_lamp
from affectlens.apps.light.palette import Light, Palette
from affectlens.apps.light.swatch import TerminalSwatch, draw_swatch
from affectlens.apps.live.window import Window
from affectlens.core.errors import BadSetting
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.draw import draw_live
from affectlens.runtime.record import Recorder
from affectlens.runtime.video import Frame, Frames, open_video
from affectlens.runtime.writers import csv

_RATE_OVER_S = 2.0


class AmbientLight:
    """Light that follows the faces, on the terminal and on a lamp if there is one; that one ends with nobody's."""

    def __init__(self, palette: Palette, lamp: str | None, stack: ExitStack, console: Console) -> None:
        self._ambience = Ambience(palette)
        self._swatch = stack.enter_context(TerminalSwatch(console))
        self._lamp = LampThread(open_lamp(lamp)) if lamp else None
        if self._lamp:
            stack.callback(self._lamp.close, palette.light(()))

    def follow(self, analysis: Analysis, caption: str) -> Light:
        """The light of this moment."""
        light = self._ambience(analysis.faces, analysis.time_s or 0.0)
        self._swatch.show(light, caption)
        if self._lamp:
            self._lamp.set(light)
        return light


class _CallRate:
    """Counts how often it is called, in calls per second over the last two seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def __call__(self) -> float:
        times = self._times
        times.append(time.perf_counter())
        while times[0] < times[-1] - _RATE_OVER_S:
            times.popleft()
        return (len(times) - 1) / max(times[-1] - times[0], 1e-3)


class Recording:
    """A folder with the pictures that were shown and the rows of their faces."""

    def __init__(self, folder: Path, analyzer: Analyzer, stack: ExitStack, raw: bool = False) -> None:
        if (folder / "faces.csv").exists():
            raise BadSetting(f"'{folder}' already contains a recording; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._write = stack.enter_context(csv.build(folder / "faces.csv", analyzer.schema, raw))
        self._video = stack.enter_context(Recorder(folder / "live.mp4"))

    def add(self, analysis: Analysis, picture: NDArray[np.uint8]) -> None:
        """Record one frame and its rows."""
        self._write(analysis)
        self._video.write(picture, analysis.time_s or 0.0)


def show(
    analyses: Iterable[Analysis], windowed: bool, light: AmbientLight | None, recording: Recording | None
) -> tuple[int, Analysis | None]:
    """Show and record analyses until the user quits, the frames end, or the first of them fails.

    Returns:
        How many were shown, and the analysis with the error that ended them, or None.
    """
    window: Window | None = None
    rate = _CallRate()
    shown = 0
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        for analysis in analyses:
            if analysis.image is None:
                if analysis.time_s is None or not shown:
                    return shown, analysis
                continue
            shown += 1
            caption = f"faces: {len(analysis.faces)}, frames per second: {rate():.0f}"
            colour = light.follow(analysis, caption) if light else None
            if not windowed and not recording:
                continue
            picture = draw_live(analysis.image, analysis.faces, analysis.measures)
            if colour:
                draw_swatch(picture, colour)
            if recording:
                recording.add(analysis, picture)
            if windowed:
                window = window or stack.enter_context(Window(picture.shape[1], picture.shape[0]))
                if not window.show(picture, caption):
                    break
    return shown, None


def open_paced(name: str) -> Frames:
    """Open a camera, a stream, or a clip, which is played at its own pace.

    Raises:
        UnreadableMedia, MissingExtra, BadSetting: as `open_video`.
    """
    frames = open_video(name)
    return frames if frames.live else _Paced(frames)


class _Paced:
    """The frames of a clip at the pace of its times, as a camera would give them."""

    live = True
    duration_s: float | None = None

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        start_s = time.monotonic()
        for frame in self._frames:
            time.sleep(max(start_s + frame.time_s - time.monotonic(), 0))
            yield frame

    def close(self) -> None:
        self._frames.close()
