"""Options that several commands share."""

from typing import Annotated

import typer

from affectlens.runtime.analyzer import Prior

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
