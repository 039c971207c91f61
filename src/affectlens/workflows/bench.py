"""Measure the speed of this installation on this machine."""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.preprocessing import to_input
from affectlens.core.session import model_file, open_session, read_spec, run_model
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.environment import environment
from affectlens.runtime.media import PORTRAIT
from affectlens.runtime.record import Recorder
from affectlens.runtime.sample_frames import sample_frames

_BATCH = 64


def bench(clip: str | Path | None = None, *, repeats: int = 50, frames: int = 300) -> dict[str, Any]:
    """Time the bundled model, alone and in the pipeline; takes half a minute.

    Args:
        clip: video with one face for the video measurements; by default the moving portrait of the package.
        repeats: number of timed calls of network and pipeline; the median is reported.
        frames: number of frames per video.

    Returns:
        "network_ms_per_face" (batch size 1, one thread), "network_faces_per_s" (batches of 64, all cores),
        "pipeline_ms_per_frame" and "pipeline_ms_per_frame_5" (640x480, one face and five, "faces_in_frame" and
        "faces_in_frame_5" were found), "video_fps_1" and "video_fps_5" (from the file to the last row; None without the
        extra `video`), "cold_start_s" and "cold_start_peak_mb" (a new process that analyzes one photo; the best of
        three), and those of `environment`.

    Raises:
        BadSetting: `repeats` or `frames` is below 1. MissingExtra: `clip` without the extra `video`. BadData: the clip
            cannot be read or does not show one face.
    """
    if repeats < 1 or frames < 1:
        raise BadSetting(f"repeats and frames must be >= 1, got {repeats} and {frames}")
    with_videos = importlib.util.find_spec("av") is not None
    if clip is not None and not with_videos:
        raise MissingExtra("measuring a clip", "video")
    analyzer = Analyzer()
    if clip is not None and len(analyzer.analyze(next(_frames(1, 1, clip))).faces) != 1:
        raise BadData(f"the clip must show exactly one face, but '{clip}' does not in its first frame")
    frame, crowd = (next(sample_frames(faces=faces)) for faces in (1, 5))
    analysis = analyzer.analyze(frame)
    cold = {"cold_start_s": _cold_start_s(), "cold_start_peak_mb": _children_peak_mb()}  # before this process grows
    return {
        "network_ms_per_face": _median_ms(_network(frame), repeats),
        "network_faces_per_s": _faces_per_s(frame, repeats),
        "pipeline_ms_per_frame": _median_ms(lambda: analyzer.analyze(frame), repeats),
        "pipeline_ms_per_frame_5": _median_ms(lambda: analyzer.analyze(crowd), repeats),
        **(_videos(analyzer, clip, frames) if with_videos else {"video_fps_1": None, "video_fps_5": None}),
        **cold,
        "faces_in_frame": len(analysis.faces),
        "faces_in_frame_5": len(analyzer.analyze(crowd).faces),
        **environment(),
    }


def _videos(analyzer: Analyzer, clip: str | Path | None, frames: int) -> dict[str, float | None]:
    """Frames per second of a video with one face and of one with five."""
    rates: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for faces in (1, 5):
            with Recorder(Path(folder, f"{faces}.mp4")) as video:
                for i, image in enumerate(_frames(frames, faces, clip)):
                    video.write(image, i / 30)
            start = time.perf_counter()
            found = sum(len(analysis.faces) for analysis in analyzer.video(video.file))
            rates[f"video_fps_{faces}"] = round(frames / (time.perf_counter() - start), 1)
            if found < 0.9 * faces * frames:
                raise BadData(
                    f"found {found} of {faces * frames} faces in {frames} frames; the clip must show exactly one face"
                )
    return rates


def _frames(count: int, faces: int, clip: str | Path | None) -> Iterator[NDArray[np.uint8]]:
    """`sample_frames`.  Raises BadData where the clip cannot be read."""
    try:
        return sample_frames(count, faces, clip)
    except UnreadableMedia as error:
        raise BadData(f"'{clip}': {error.detail} ({error.reason})") from error


def _network(frame: NDArray[np.uint8]) -> Callable[[], object]:
    """One call of the network alone on one face in one thread."""
    return _call(frame, faces=1, threads=1)


def _faces_per_s(frame: NDArray[np.uint8], repeats: int) -> float:
    """Throughput of the network in batches on all cores."""
    return round(1000 * _BATCH / _median_ms(_call(frame, _BATCH, threads=0), repeats), 1)


def _call(frame: NDArray[np.uint8], faces: int, threads: int) -> Callable[[], object]:
    session = open_session(model_file("bundled"), threads)
    batch = to_input([frame] * faces, read_spec(session, "bundled").input)
    return lambda: run_model(session, batch)


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of `call` in milliseconds, after three calls to warm up."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times)), 3)


def _cold_start_s() -> float:
    """Best of three wall times of a new process that analyzes one photo."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-m", "affectlens", "analyze", str(PORTRAIT), "--format", "csv"]
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return round(min(times), 3)


def _children_peak_mb() -> int | None:
    """Peak resident memory of the processes started so far; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
