"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from affectlens.core import catalog
from affectlens.runtime.recognizer import Prior
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.temporal import Smoothing


class Split(StrEnum):
    """Parts of a data set."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


ModelOption = Annotated[
    str, typer.Option(help="Expression model: 'bundled', a run folder, or an ONNX file exported by affectlens.")
]
_DETECTORS = ", ".join(catalog.available("faces.detectors"))
DetectorOption = Annotated[
    str,
    typer.Option(
        help=f"Face detector: {_DETECTORS}, or NAME:FILE with a model file (yunet). whole: the whole image is the face."
    ),
]
MinFace = Annotated[
    int | None,
    typer.Option(metavar="PX", help="Minimum length of the longer side of a face box, in pixels.  [default: 40]"),
]
PriorOption = Annotated[
    Prior,
    typer.Option(help="'balanced' treats all expressions as equally frequent, which finds rare ones more often."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Forbid all network use by this process.")]
Data = Annotated[
    str,
    typer.Option(metavar="SPEC", help="Data set, as NAME:FOLDER[?key=value...]; for example ferplus:~/data/ferplus."),
]
SplitOption = Annotated[Split, typer.Option(help="Split of the data set to use.")]
ReportFolder = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write report.html and report.json to this folder.")
]
FindFaces = Annotated[
    bool,
    typer.Option("--find-faces", help="Use the largest face found in each picture of more than 128 pixels a side."),
]
Every = Annotated[int, typer.Option(metavar="N", min=1, help="Videos: analyze every N-th frame.")]
Fps = Annotated[float | None, typer.Option(metavar="F", help="Videos: analyze at most F frames per second.")]
Smooth = Annotated[
    bool, typer.Option(help="Videos: change expression and uncertain only when the change is clear over time.")
]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Videos: learn how each person looks at rest, and treat that as neutral.")
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="CSV: write names and labels that begin like a formula (=, +, -, @) as they are, without an apostrophe "
        "before them; spreadsheets would compute them.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def video_settings(every: int, fps: float | None, smooth: bool, baseline: bool) -> VideoSettings:
    """What `Every`, `Fps`, `Smooth` and `Baseline` ask for.  Raises BadSetting."""
    return VideoSettings(every, fps, smoothing=Smoothing(baseline=baseline) if smooth else None)
