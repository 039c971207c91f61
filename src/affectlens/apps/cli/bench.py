"""`affectlens bench`: speed of this installation on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import note, say
from affectlens.workflows import bench as measuring


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(bench)


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    repeats: Annotated[
        int, typer.Option(min=3, help="Number of timed calls of network and pipeline; the median is reported.")
    ] = 50,
    clip: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Clip with one face for the video measurements.  [default: the portrait, moving]"
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=10, help="Number of frames per video.")] = 300,
) -> None:
    """Time the bundled model.

    Measures the network per face (batch size 1 in one thread, and batches on all cores), the whole pipeline per 640x480
    frame with one face and with five, and the cold start: wall time (best of three) and peak memory of a new process
    that analyzes one photo. With the extra 'video', also measures whole 640x480 videos with one face and with five,
    from the file to the last row, in frames per second.
    """
    note("measuring, which takes half a minute")
    result = measuring.bench(clip, repeats=repeats, frames=frames)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    say(f"network, batch 1, one thread      {result['network_ms_per_face']:8.2f} ms per face")
    say(f"network, batches of 64, all cores {result['network_faces_per_s']:8.0f} faces per second")
    say(f"pipeline, 640x480, one face       {result['pipeline_ms_per_frame']:8.2f} ms per frame")
    say(f"pipeline, 640x480, five faces     {result['pipeline_ms_per_frame_5']:8.2f} ms per frame")
    for faces in (1, 5):
        if (fps := result[f"video_fps_{faces}"]) is not None:
            say(f"video, 640x480, {faces} face{'s' if faces > 1 else ' '}         {fps:8.1f} frames per second")
    say(f"cold start, one photo, whole CLI  {result['cold_start_s']:8.2f} s, {result['cold_start_peak_mb'] or '?'} MB")
