"""CK+ (Lucey et al. 2010, CVPR workshops, pp. 94-101): 593 posed sequences from neutral to peak, 327 with a label.

Layout: cohn-kanade-images/Sxxx/yyy/*.png and Emotion/Sxxx/yyy/*_emotion.txt, which holds one float: 0 neutral, 1 anger,
2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise. A folder with anger/, contempt/, disgust/, fear/, happy/,
sadness/ and surprise/ instead is CK+48: 981 peak frames of 48x48, named like S010_004_00000017.png, without neutral.

The data set labels sequences, not frames. As most works do, the last three frames are the expression (`?last=`) and the
first is neutral (`?first=`); a frame that is both is neutral. `?classes=7` leaves the frames of contempt out.

There are no published splits, and frames of one person must not occur in two splits: subjects are assigned by a hash of
their name, a tenth each to test and validation. `groups` contain the subject.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.expressions import canonical
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import lines, whole
from affectlens.data.splits import by_hash

LICENCE = (
    "Weights: for non-commercial research only. Trained on CK+, whose agreement allows non-commercial research. No "
    "face of it is contained."
)
OPTIONS: dict[str, tuple[str, ...]] = {"classes": ("8", "7"), "last": (), "first": ()}
_FOLDERS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
NAMES = tuple(map(canonical, _FOLDERS))
_IMAGES = "cohn-kanade-images"


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The expressions in the order of their numbers: CK+48 has no neutral, `?classes=7` no contempt."""
    names = NAMES if (directory / _IMAGES).is_dir() else NAMES[1:]
    return tuple(name for name in names if not _left_out(name, options))


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Frames of the subjects of one split.

    Raises:
        BadData: the folder has neither layout, a label file is damaged, or an image's name does not tell its subject.
        BadSetting: `last` or `first` is not a whole number.
    """
    faces = _from_sequences if (directory / _IMAGES).is_dir() else _from_classes
    for sample in faces(directory, split, options):
        if isinstance(sample, Sample) and _left_out(sample.expression, options):
            yield Dropped(sample.id, "contempt, with classes=7")
        else:
            yield sample


def _left_out(expression: str | None, options: Mapping[str, str]) -> bool:
    return expression == "contempt" and options["classes"] == "7"


def _from_sequences(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    images, emotion = directory / _IMAGES, directory / "Emotion"
    if not emotion.is_dir():
        raise BadData(f"CK+ expects the folder '{emotion}', with the label of each sequence in {_IMAGES}")
    first, last = _count(options, "first", 1), _count(options, "last", 3)
    sequences = {(folder.parent.name, folder.name) for folder in images.glob("*/*") if folder.is_dir()}
    sequences |= {(file.parent.parent.name, file.parent.name) for file in emotion.glob("*/*/*_emotion.txt")}
    for subject, name in sorted(sequences):
        if by_hash(subject) != split:
            continue
        sequence_id = f"{split}/{subject}/{name}"
        frames = sorted((images / subject / name).glob("*.png"))
        files = sorted((emotion / subject / name).glob("*_emotion.txt"))
        label = _label(files[0]) if files else None
        if label is None:
            yield Dropped(sequence_id, "sequence without a label")
        elif not 0 <= label < len(NAMES):
            yield Dropped(sequence_id, f"label outside 0 to {len(NAMES) - 1}")
        elif not frames:
            yield Dropped(sequence_id, "image file is missing")
        else:
            for i, frame in enumerate(frames):
                if i < first or i >= len(frames) - last:
                    expression = "neutral" if i < first else NAMES[label]
                    yield Sample(f"{sequence_id}/{frame.name}", frame, split, expression, groups={"subject": subject})


def _from_classes(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample]:
    del options
    folders = [directory / name for name in _FOLDERS[1:] if (directory / name).is_dir()]
    if not folders:
        raise BadData(
            f"CK+ expects '{directory}' to hold {_IMAGES} and Emotion, or the class folders {', '.join(_FOLDERS[1:])}"
        )
    for folder in folders:
        for path in sorted(folder.glob("*.png")):
            named = re.match(r"S\d+(?=_)", path.name)
            if named is None:
                raise BadData(f"cannot tell the subject from '{path}'; expected a name like S010_004_00000017.png")
            subject = named.group()
            if by_hash(subject) == split:
                sample_id = f"{split}/{folder.name}/{path.name}"
                yield Sample(sample_id, path, split, canonical(folder.name), groups={"subject": subject})


def _label(file: Path) -> int:
    text = "".join(line for _, line in lines(file))
    return whole(text.strip(), str(file), "label")


def _count(options: Mapping[str, str], name: str, default: int) -> int:
    text = options[name]
    if text and not text.isdecimal():
        raise BadSetting(f"{name} must be a number of frames, got '{text}'")
    return int(text) if text else default
