"""Class folders: images sorted into one folder per class.

Layout: DIR/train/CLASS/*, DIR/valid/CLASS/* (or val, validation) and DIR/test/CLASS/*; or DIR/CLASS/* without splits.
Images are the files with one of `SUFFIXES`; names that start with a dot or an underscore are skipped.

A class that is a known expression gets its standard name ("happy" becomes "happiness"); others are kept. Classes are in
the order of FER+, followed by the others, sorted; `?labels=a,b,c` sets the classes and their order, and leaves others
out.

Without splits, a tenth of the images each is assigned to test and validation by a hash of the file name, and at least
one of every class that has three (so the splits of small classes may change when they grow). If only the validation
folder is missing, a tenth of the training images is used instead, and at least one of every class that has two.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._classes import OUTSIDE, class_name, ordered
from affectlens.data.splits import SPELLINGS, by_hash_within

LICENCE = "Weights: under the terms of the images that they were trained on, which were the user's own class folders."
OPTIONS: dict[str, tuple[str, ...]] = {"labels": ()}
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The classes of all splits.

    Raises:
        BadData: there is no class folder.
    """
    roots = _splits(directory).values() or [directory]
    found = [folder.name for root in roots for folder in _folders(root) if next(_images(folder), None)]
    if not found:
        raise BadData(f"'{directory}' has no pictures in class folders; expected CLASS/*.jpg, or train/CLASS/*.jpg")
    return ordered(found, options["labels"])


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Images of one split.

    Raises:
        BadData: there is no class folder with pictures.
    """
    classes = labels(directory, options)
    splits = _splits(directory)
    borrowed = split == "valid" and "valid" not in splits
    root = splits.get("train" if borrowed else split) if splits else directory
    folders = _folders(root) if root else []
    held = _held(split, splits)
    chosen = _hashed(folders, split, held) if held else (path for folder in folders for path in _images(folder))
    for path in chosen:
        name = class_name(path.parent.name)
        sample_id = f"{split}/{path.parent.name}/{path.name}"
        yield Sample(sample_id, path, split, name) if name in classes else Dropped(sample_id, OUTSIDE)


def _held(split: str, splits: Mapping[str, Path]) -> tuple[str, ...]:
    """Splits that have no folder of their own, but a share of the images among which `split` is looked for."""
    if not splits:
        return ("test", "valid")
    return () if split == "test" or "valid" in splits else ("valid",)


def _hashed(folders: list[Path], split: str, held: tuple[str, ...]) -> Iterator[Path]:
    """Images of one split in class folders that hold several; folders of one label are one class."""

    def label(folder: Path) -> str:
        return class_name(folder.name)

    for _, same in groupby(sorted(folders, key=label), key=label):
        images = [path for folder in same for path in _images(folder)]
        theirs = by_hash_within([path.name for path in images], held)
        yield from (path for path, its_split in zip(images, theirs, strict=True) if its_split == split)


def _images(folder: Path) -> Iterator[Path]:
    """Pictures of one class, sorted by name."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "_")):
            yield path


def _splits(directory: Path) -> dict[str, Path]:
    """Folder of each split; empty where the class folders are not sorted into splits."""
    return {SPELLINGS[folder.name]: folder for folder in _folders(directory) if folder.name in SPELLINGS}


def _folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise BadData(f"expected a folder with class folders, but '{directory}' is not a folder")
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
