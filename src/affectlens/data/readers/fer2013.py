"""FER2013 (Goodfellow et al. 2013, arXiv:1307.0414): 35,887 gray faces of 48x48 with one label each.

Layout: fer2013.csv with the columns emotion (0 Angry, 1 Disgust, 2 Fear, 3 Happy, 4 Sad, 5 Surprise, 6 Neutral), pixels
(2,304 numbers in one cell) and Usage (Training 28,709, PublicTest 3,589, PrivateTest 3,589: train, valid, test).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.expressions import canonical
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import rows

LICENCE = (
    "Weights: Apache-2.0, as the code. Trained on FER2013 faces, published for the ICML 2013 challenge as research "
    "data. No face of it is contained. Check whether your use of weights learned from research data is allowed where "
    "you are."
)
OPTIONS: dict[str, tuple[str, ...]] = {}
NAMES = tuple(map(canonical, ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")))
_SPLITS = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
_SIDE_PX = 48


@dataclass(frozen=True)
class Line:
    """One row of fer2013.csv; `where` names it in messages."""

    where: str
    emotion: str
    text: str
    usage: str

    def pixels(self) -> NDArray[np.uint8]:
        """(48, 48) uint8.

        Raises:
            BadData: the cell does not hold 2,304 numbers from 0 to 255.
        """
        try:
            values = np.array(self.text.split(), dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise BadData(f"{self.where}: pixels must be integers from 0 to 255") from error
        if values.size != _SIDE_PX**2 or values.min() < 0 or values.max() > 255:
            raise BadData(f"{self.where}: expected {_SIDE_PX**2} pixels from 0 to 255, got {values.size}")
        return values.astype(np.uint8).reshape(_SIDE_PX, _SIDE_PX)


def lines(table: Path) -> Iterator[Line]:
    """Rows of fer2013.csv in order.

    Raises:
        BadData: the file or a column is missing, a row is cut short, or the file is no text.
    """
    for place, row in rows(table, ("emotion", "pixels", "Usage")):
        yield Line(place, row["emotion"], row["pixels"], row["Usage"])


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The seven expressions in the file's order."""
    del directory, options
    return NAMES


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Faces of one split.

    Raises:
        BadData: the file or a column is missing, or pixels are not 2,304 numbers.
    """
    del options
    table = directory / "fer2013.csv" if directory.is_dir() else directory
    for number, line in enumerate(lines(table)):
        if line.usage not in _SPLITS:
            raise BadData(f"{line.where}: Usage must be one of {', '.join(_SPLITS)}, got '{line.usage}'")
        if _SPLITS[line.usage] != split:
            continue
        sample_id = f"{split}/{number:05d}"
        if line.emotion not in {"0", "1", "2", "3", "4", "5", "6"}:
            yield Dropped(sample_id, "label outside 0 to 6", table, line.pixels())
        else:
            yield Sample(sample_id, table, split, NAMES[int(line.emotion)], content=line.pixels())
