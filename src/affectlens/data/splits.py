"""Which split a sample belongs to where its data set does not say: a hash of its key, the same on every machine.

A key names what must not stand on two sides: the subject or video where the data set tells it, else the image.
"""

import zlib

SPELLINGS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Split by the name that a folder or a cell of a table gives it."""


def held_out(key: str, percent: int) -> bool:
    """Whether `key` falls into a fixed `percent` (0 to 100) of all keys; a smaller share is inside every larger one."""
    return zlib.crc32(key.encode()) % 100 < percent


def train_or_valid(key: str) -> str:
    """For training data without a validation split: "valid" for a tenth of the keys, else "train"."""
    return "valid" if held_out(key, 10) else "train"


def by_hash(key: str) -> str:
    """For data without splits: "test" for a tenth of the keys, "valid" for another tenth, else "train"."""
    if held_out(key, 10):
        return "test"
    return "valid" if held_out(key, 20) else "train"
