"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from affectlens.runtime.analyzer import Prior


class Split(StrEnum):
    """Parts of a data set."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


ModelOption = Annotated[
    str, typer.Option(help="Expression model: 'bundled', a run folder, or an ONNX file exported by affectlens.")
]
DetectorOption = Annotated[str, typer.Option(help="mtcnn, whole (the image is the face) or yunet:FILE.")]
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
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
