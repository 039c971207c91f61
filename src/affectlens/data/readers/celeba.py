"""CelebA (Liu et al. 2015, arXiv:1411.7766): 202,599 faces with 40 attributes each, for training features.

Layout: list_attr_celeba.txt (line 1 the count, line 2 the names, then "000001.jpg -1 1 ..."), list_eval_partition.txt
("000001.jpg 0"; 0, 1, 2: train, valid, test) and img_align_celeba/ (178x218).

The data set has no expressions; the attribute Smiling gives the labels not_smiling and smiling. `attributes` are 0 and
1 in the order of `ATTRIBUTES`, found by name.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._tables import lines

LICENCE = (
    "Weights: for non-commercial research only. Trained on CelebA, whose agreement allows non-commercial research. No "
    "face of it is contained."
)
OPTIONS: dict[str, tuple[str, ...]] = {}
# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)
# fmt: on
NAMES = ("not_smiling", "smiling")
_SMILING = ATTRIBUTES.index("Smiling")
_SPLITS = {"0": "train", "1": "valid", "2": "test"}


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The two values of the attribute Smiling."""
    del directory, options
    return NAMES


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Faces of one split with `attributes`.

    Raises:
        BadData: a table, an attribute or the image folder is missing, or a line is malformed.
    """
    del options
    folder = directory / "img_align_celeba"
    if not folder.is_dir():
        raise BadData(
            f"CelebA expects the folder '{folder}', with list_attr_celeba.txt and list_eval_partition.txt next to it"
        )
    images = set(os.listdir(folder))
    splits = _splits(directory / "list_eval_partition.txt")
    table = lines(directory / "list_attr_celeba.txt")
    next(table, None)
    place, header = next(table, (str(directory / "list_attr_celeba.txt"), ""))
    names = header.split()
    missing = [name for name in ATTRIBUTES if name not in names]
    if missing:
        raise BadData(f"{place}: expected the names of {len(ATTRIBUTES)} attributes, but '{missing[0]}' is missing")
    columns = [names.index(name) for name in ATTRIBUTES]
    for place, line in table:
        name, *values = line.split() or [""]
        if len(values) != len(names) or not {"1", "-1"}.issuperset(values):
            raise BadData(f"{place}: expected an image name and {len(names)} values of 1 or -1, got '{line[:40]}...'")
        if name not in splits:
            raise BadData(f"{place}: list_eval_partition.txt has no entry for '{name}'")
        if splits[name] != split:
            continue
        if name not in images:
            yield Dropped(f"{split}/{name}", "image file is missing")
            continue
        bits = np.array([values[column] == "1" for column in columns], dtype=np.float32)
        yield Sample(f"{split}/{name}", folder / name, split, NAMES[int(bits[_SMILING])], attributes=bits)


def _splits(table: Path) -> dict[str, str]:
    """Split by image name."""
    splits = {}
    for place, line in lines(table):
        name, _, partition = line.partition(" ")
        if partition.strip() not in _SPLITS:
            raise BadData(f"{place}: expected an image name and 0, 1 or 2, got '{line}'")
        splits[name] = _SPLITS[partition.strip()]
    return splits
