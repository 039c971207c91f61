"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from affectlens.core import catalog
from affectlens.runtime.pipeline import VideoSettings
from affectlens.runtime.recognizer import Prior
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
    str, typer.Option(help=f"{_DETECTORS}, or NAME:FILE with a model file (yunet). whole: the image is the face.")
]
MinFace = Annotated[
    int | None, typer.Option(metavar="PX", help="Side of the smallest face to look for.  [default: 40]")
]
PriorOption = Annotated[
    Prior,
    typer.Option(help="'balanced' takes all expressions for equally frequent: rare ones are found more often."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Refuse any use of the network by this process.")]
Data = Annotated[
    str, typer.Option(metavar="SPEC", help="NAME:FOLDER[?key=value...]; for example ferplus:~/data/ferplus.")
]
SplitOption = Annotated[Split, typer.Option(help="Which part of the data.")]
ReportFolder = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write report.html and report.json there.")
]
FindFaces = Annotated[
    bool,
    typer.Option("--find-faces", help="Search pictures of more than 128 pixels a side for their largest face."),
]
Every = Annotated[int, typer.Option(metavar="N", min=1, help="Of videos: analyze each N-th frame.")]
Fps = Annotated[float | None, typer.Option(metavar="F", help="Of videos: analyze at most F frames per second.")]
Smooth = Annotated[
    bool, typer.Option(help="Of videos: expression and uncertain change only where the change is clear over time.")
]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Of videos: learn how each person looks at rest, and read it as neutral.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def video_settings(every: int, fps: float | None, smooth: bool, baseline: bool) -> VideoSettings:
    """What `Every`, `Fps`, `Smooth` and `Baseline` ask for.  Raises BadSetting."""
    return VideoSettings(every, fps, smoothing=Smoothing(baseline=baseline) if smooth else None)
