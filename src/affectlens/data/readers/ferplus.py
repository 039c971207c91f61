"""FER+: the FER2013 faces with the votes of ten raters (Barsoum et al. 2016, arXiv:1608.01041).

Layout: FER2013Train/, FER2013Valid/ and FER2013Test/, each with fer*.png (48x48, gray) and a headless label.csv:
file name, face box, then the votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown,
and not-a-face.

The votes are processed as in the authors' code: a single vote for a label counts as an outlier and is zeroed; a face
whose most frequent answer is unknown or not-a-face is dropped; those two columns are cut off and the rest normalised.
Under the majority protocol `expression` is the label with more than half of the votes that the outlier rule left
(unknown and not-a-face counted among them), else None.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.expressions import FERPLUS
from affectlens.core.sample import Sample

LABELS = FERPLUS
LICENCE = (
    "Weights: Apache-2.0, as the code. Trained on FER2013 faces, published for the ICML 2013 challenge as research "
    "data, with the FER+ votes (MIT licence). No face of it is contained. Check whether your use of weights learned "
    "from research data is allowed where you are."
)
"""Goes into every model that is trained on these faces."""
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
_COLUMNS = 12


def read(directory: Path, split: str) -> Iterator[Sample]:
    """Faces of one split ("train", "valid", "test") with `votes`, and `expression` by the majority protocol.

    Raises:
        BadData: a folder, label file or image is missing, or a line does not have name, box and ten votes.
    """
    folder = directory / FOLDERS[split]
    table = folder / "label.csv"
    if not table.is_file():
        raise BadData(f"FER+ expects '{table}'; name the folder that holds FER2013Train, FER2013Valid and FER2013Test")
    try:
        rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"'{table}' is not a table of text: {error}") from error
    for number, row in enumerate(rows, start=1):
        counts = _counts(row, table, number)
        top = int(counts.argmax())
        if counts[top] == 0 or top >= len(FERPLUS):
            continue
        path = folder / row[0]
        if not path.is_file():
            raise BadData(f"{table}, line {number}: image '{path.name}' does not exist")
        majority = FERPLUS[top] if counts[top] > 0.5 * counts.sum() else None
        votes = counts[: len(FERPLUS)] / counts[: len(FERPLUS)].sum()
        yield Sample(id=f"{split}/{row[0]}", path=path, split=split, expression=majority, votes=votes)


def _counts(row: list[str], table: Path, number: int) -> NDArray[np.float32]:
    """(10,) float32 vote counts of one line with single votes zeroed."""
    if len(row) != _COLUMNS:
        raise BadData(f"{table}, line {number}: {len(row)} columns, expected name, box and ten votes")
    try:
        counts = np.array([int(value) for value in row[2:]], dtype=np.float32)
    except ValueError as error:
        raise BadData(f"{table}, line {number}: votes must be whole numbers, got {row[2:]}") from error
    counts[counts <= 1] = 0
    return counts
