"""`affectlens bench`: how fast this installation is on this machine."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from affectlens.apps.cli.console import out
from affectlens.core.preprocessing import to_input
from affectlens.core.session import model_file, open_session, read_spec
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import PORTRAIT, read_image

_FRAME = (480, 640)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(bench)


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    repeats: Annotated[int, typer.Option(min=3, help="Timed calls of network and pipeline; their median counts.")] = 50,
) -> None:
    """Time the bundled model.

    Network per face at batch 1 in one thread, whole pipeline per 640x480 frame with one face, and cold start: the wall
    time (best of three) and peak memory of a new process that analyzes one photo.
    """
    frame = _letterbox(read_image(PORTRAIT))
    analyzer = Analyzer()
    analysis = analyzer.analyze(frame)
    result = {
        "network_ms_per_face": _median_ms(_network(frame), repeats),
        "pipeline_ms_per_frame": _median_ms(lambda: analyzer.analyze(frame), repeats),
        "cold_start_s": _cold_start_s(),
        "cold_start_peak_mb": _children_peak_mb(),
        "faces_in_frame": len(analysis.faces),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    out.print(f"network, batch 1, one thread      {result['network_ms_per_face']:8.2f} ms per face")
    out.print(f"pipeline, 640x480, one face       {result['pipeline_ms_per_frame']:8.2f} ms per frame")
    out.print(
        f"cold start, one photo, whole CLI  {result['cold_start_s']:8.2f} s, {result['cold_start_peak_mb'] or '?'} MB"
    )


def _letterbox(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` scaled to the height of a 640x480 frame, in its middle."""
    height, width = _FRAME
    scaled = cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    left = (width - scaled.shape[1]) // 2
    frame[:, left : left + scaled.shape[1]] = scaled
    return frame


def _network(frame: NDArray[np.uint8]) -> Callable[[], object]:
    """One call of the network alone on one face in one thread."""
    session = open_session(model_file("bundled"), threads=1)
    spec = read_spec(session, "bundled")
    feed = {session.get_inputs()[0].name: to_input([frame], spec.input)}
    return lambda: session.run(None, feed)


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
