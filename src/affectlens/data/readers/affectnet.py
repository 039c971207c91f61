"""AffectNet (Mollahosseini et al. 2017, arXiv:1708.03985): faces from the web with an expression, valence and arousal.

Two layouts. First release: training.csv and validation.csv with the columns subDirectory_filePath, face_x, face_y,
face_width, face_height, facial_landmarks (68 points, x;y;...), expression, valence, arousal; the images under
Manually_Annotated_Images/ or next to the tables. Later release: train_set/ and val_set/, each with images/N.jpg
(224x224) and annotations/N_exp.npy, N_val.npy, N_aro.npy and, optionally, N_lnd.npy (x, y, x, y, ...). `?release=auto`
uses the first release if one of its tables exists.

Expressions: 0 Neutral, 1 Happy, 2 Sad, 3 Surprise, 4 Fear, 5 Disgust, 6 Anger, 7 Contempt, 8 None, 9 Uncertain,
10 Non-face; the last three are left out, and contempt too under `?classes=7`. A face whose valence or arousal is
outside [-1, 1] (-2 stands for none) keeps its expression and loses both.

The authors never published their test set: here the published validation set is the test split, and a tenth of the
training set, chosen by a hash of the image name, is the validation split. `?protocol=antoniadis` and `?protocol=dare`
are what these two works do: all of the training set is trained on, and the published validation set both selects and
reports.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.expressions import canonical
from affectlens.core.files import open_regular
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import number, rows, whole
from affectlens.data.splits import train_or_valid

LICENCE = (
    "Weights: for non-commercial research only. Trained on AffectNet, whose agreement allows non-commercial research "
    "and education. No face of it is contained."
)
OPTIONS = {"classes": ("8", "7"), "release": ("auto", "1", "2"), "protocol": ("", "antoniadis", "dare")}
NAMES = tuple(map(canonical, ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")))
_BOX = ("face_x", "face_y", "face_width", "face_height")
_COLUMNS = ("subDirectory_filePath", *_BOX, "facial_landmarks", "expression", "valence", "arousal")
_POINTS = 68
_MAX_BYTES = 1 << 20


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """Eight expressions in the order of their numbers; seven, without contempt, under `?classes=7`."""
    del directory
    return NAMES[: int(options["classes"])]


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Faces of one split with expression and landmarks, and valence and arousal where they are valid.

    Raises:
        BadData: the folder has neither layout, or a table, column, line or annotation is missing or damaged.
    """
    first = any((directory / name).is_file() for name in ("training.csv", "validation.csv"))
    later = any((directory / name).is_dir() for name in ("train_set", "val_set"))
    if not (first or later):
        raise BadData(
            f"AffectNet expects '{directory}' to hold training.csv and validation.csv, or train_set and val_set"
        )
    release = options["release"]
    if release == "auto":
        release = "1" if first else "2"
    if not (first if release == "1" else later):
        expected = "training.csv and validation.csv" if release == "1" else "train_set and val_set"
        raise BadData(f"AffectNet, release {release}, expects '{directory}' to hold {expected}")
    classes, shared = len(labels(directory, options)), bool(options["protocol"])
    yield from (_first_release if release == "1" else _later_release)(directory, split, classes, shared)


def _is_published_validation(split: str, shared: bool) -> bool:
    """Whether a split is read from the published validation set; `shared` where it is validation and test in one."""
    return split == "test" or (shared and split == "valid")


def _is_in(split: str, name: str, shared: bool) -> bool:
    """Whether the image of that name belongs to a split, among those of the set that the split is read from."""
    return shared or split == "test" or train_or_valid(name) == split


def _first_release(directory: Path, split: str, classes: int, shared: bool) -> Iterator[Sample | Dropped]:
    table = directory / ("validation.csv" if _is_published_validation(split, shared) else "training.csv")
    images = directory / "Manually_Annotated_Images"
    images = images if images.is_dir() else directory
    if not table.is_file():
        return  # this split is not there
    for place, row in rows(table, _COLUMNS):
        name = row["subDirectory_filePath"]
        if not _is_in(split, name.rpartition("/")[2], shared):
            continue
        label = whole(row["expression"], place, "expression")
        problem = _problem(label, classes, images / name)
        if problem:
            yield Dropped(f"{split}/{name}", problem)
            continue
        valence, arousal = _affect(*(number(row[column], place, column) for column in ("valence", "arousal")))
        points = row["facial_landmarks"]
        yield Sample(
            f"{split}/{name}",
            images / name,
            split,
            NAMES[label],
            valence=valence,
            arousal=arousal,
            landmarks_xy=_landmarks(points.split(";"), place) if points else None,
            box_xyxy=_box(row, place),
        )


def _later_release(directory: Path, split: str, classes: int, shared: bool) -> Iterator[Sample | Dropped]:
    folder = directory / ("val_set" if _is_published_validation(split, shared) else "train_set")
    images, annotations = folder / "images", folder / "annotations"
    if not folder.is_dir():
        return  # this split is not there
    if not (images.is_dir() and annotations.is_dir()):
        raise BadData(f"AffectNet expects '{folder}' to hold the folders images and annotations")
    names = {file.stem for file in images.glob("*.jpg")}
    names |= {file.name.removesuffix("_exp.npy") for file in annotations.glob("*_exp.npy")}
    for name in sorted(names, key=lambda name: (len(name), name)):
        image, expression = images / f"{name}.jpg", annotations / f"{name}_exp.npy"
        if not _is_in(split, image.name, shared):
            continue
        if not expression.is_file():
            yield Dropped(f"{split}/{image.name}", "image without a label")
            continue
        label = whole(_value(expression), str(expression), "expression")
        problem = _problem(label, classes, image)
        if problem:
            yield Dropped(f"{split}/{image.name}", problem)
            continue
        files = (annotations / f"{name}_val.npy", annotations / f"{name}_aro.npy")
        valence, arousal = _affect(*(number(_value(file), str(file), "the annotation") for file in files))
        points = annotations / f"{name}_lnd.npy"
        yield Sample(
            f"{split}/{image.name}",
            image,
            split,
            NAMES[label],
            valence=valence,
            arousal=arousal,
            landmarks_xy=_landmarks(_array(points), str(points)) if points.is_file() else None,
        )


def _problem(label: int, classes: int, image: Path) -> str | None:
    """Why a face is left out, or None."""
    if not 0 <= label <= 10:
        return "label outside 0 to 10"
    if label >= len(NAMES):
        return "label is none, uncertain or no face"
    if label >= classes:
        return "contempt, with classes=7"
    return None if image.is_file() else "image file is missing"


def _affect(valence: float, arousal: float) -> tuple[float | None, float | None]:
    """Both, or neither where one is NaN or outside [-1, 1]."""
    return (valence, arousal) if -1 <= valence <= 1 and -1 <= arousal <= 1 else (None, None)


def _box(row: Mapping[str, str], place: str) -> NDArray[np.float32]:
    """(4,) x1, y1, x2, y2 in pixels of the stored image."""
    x, y, width, height = (number(row[column], place, column) for column in _BOX)
    box = np.array([x, y, x + width, y + height], dtype=np.float32)
    if not np.isfinite(box).all():
        raise BadData(f"{place}: the face box must be four numbers, got {x}, {y}, {width}, {height}")
    return box


def _landmarks(values: Sequence[str] | NDArray[np.generic], place: str) -> NDArray[np.float32]:
    """(68, 2) from x, y, x, y, ..."""
    try:
        return np.asarray(values).astype(np.float32).reshape(_POINTS, 2)
    except ValueError as error:
        raise BadData(f"{place}: expected {_POINTS} landmarks with x and y, got {np.size(values)} values") from error


def _value(file: Path) -> str:
    """The one value of an annotation, which is a number or a text."""
    array = _array(file)
    if array.size != 1:
        raise BadData(f"'{file}' must contain one value, got {array.size}")
    return str(array.item())


def _array(file: Path) -> NDArray[np.generic]:
    try:
        with open_regular(file, _MAX_BYTES) as stream:
            array: NDArray[np.generic] = np.load(stream, allow_pickle=False)
    except Exception as error:  # NumPy raises many types for a file that is not its own, and advises to unpickle it
        raise BadData(f"the annotation '{file}' is missing or not an array") from error
    return array
