"""RAF-DB (Li et al. 2017, CVPR, pp. 2852-2861), basic expressions: 12,271 training and 3,068 test faces.

Layout: EmoLabel/list_patition_label.txt (sic) with lines like "train_00001.jpg 5", and
Image/aligned/train_00001_aligned.jpg (100x100); both in the folder itself or, as in the archive, in its subfolder
basic/. 1 Surprise, 2 Fear, 3 Disgust, 4 Happy, 5 Sad, 6 Anger, 7 Neutral.

There is no published validation split; a tenth of the training set, chosen by a hash of the image name, is used.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.expressions import canonical
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import lines, whole
from affectlens.data.splits import train_or_valid

LICENCE = (
    "Weights: for non-commercial research only. Trained on RAF-DB, which is given for non-commercial research. No face "
    "of it is contained."
)
OPTIONS: dict[str, tuple[str, ...]] = {}
NAMES = tuple(map(canonical, ("Surprise", "Fear", "Disgust", "Happy", "Sad", "Anger", "Neutral")))
_TABLE = Path("EmoLabel", "list_patition_label.txt")


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The seven expressions in the order of their numbers."""
    del directory, options
    return NAMES


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Faces of one split.

    Raises:
        BadData: the label table is missing, or a line of it is not a train_ or test_ image and a number.
    """
    root = next((root for root in (directory, directory / "basic") if (root / _TABLE).is_file()), None)
    if root is None:
        raise BadData(f"RAF-DB expects '{directory}' to hold {_TABLE} and Image/aligned, or both in basic/")
    del options
    for place, line in lines(root / _TABLE):
        name, _, text = line.partition(" ")
        if not name.startswith(("train_", "test_")):
            raise BadData(f"{place}: expected a line like 'train_00001.jpg 5', got '{line}'")
        label = whole(text, place, "label")
        if split != ("test" if name.startswith("test_") else train_or_valid(name)):
            continue
        path = root / "Image" / "aligned" / f"{Path(name).stem}_aligned.jpg"
        if not 1 <= label <= len(NAMES):
            yield Dropped(f"{split}/{name}", f"label outside 1 to {len(NAMES)}")
        elif not path.is_file():
            yield Dropped(f"{split}/{name}", "image file is missing")
        else:
            yield Sample(f"{split}/{name}", path, split, NAMES[label - 1])
