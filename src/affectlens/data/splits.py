"""Assignment of samples to splits if the data set has none: by a hash of a key, the same on every machine.

If a class would be missing from a split, the other keys of the class are taken into account (`by_hash_within`). The key
identifies what must not occur in two splits: the subject or video if the data set states it, otherwise the image.
"""

import zlib
from collections import Counter
from collections.abc import Sequence

SPELLINGS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Split by the name that a folder or a cell of a table gives it."""


def held_out(key: str, percent: int) -> bool:
    """Whether `key` falls into a fixed `percent` (0 to 100) of all keys; a smaller share is inside every larger one."""
    return _place(key) < percent


def train_or_valid(key: str) -> str:
    """For training data without a validation split: "valid" for a tenth of the keys, else "train"."""
    return _by_hash(key, ("valid",))


def by_hash(key: str) -> str:
    """For data without splits: "test" for a tenth of the keys, "valid" for another tenth, else "train"."""
    return _by_hash(key, ("test", "valid"))


def by_hash_within(keys: Sequence[str], held: tuple[str, ...]) -> list[str]:
    """The split of each of one class's keys: a tenth for each of `held`, the rest is "train".

    A split without any gets that of the lowest hash in the largest split, so that a class of a few pictures is trained,
    validated and tested too. Fewer keys than splits are left to their hashes.
    """
    splits = [_by_hash(key, held) for key in keys]
    for split in ("train", *held):
        if split in splits or len(keys) <= len(held):
            continue
        counts = Counter(splits)
        largest = max(counts, key=lambda name: (counts[name], name))
        places = [i for i, theirs in enumerate(splits) if theirs == largest]
        splits[min(places, key=lambda i: (_place(keys[i]), keys[i]))] = split
    return splits


def _by_hash(key: str, held: tuple[str, ...]) -> str:
    return next((split for number, split in enumerate(held, 1) if held_out(key, 10 * number)), "train")


def _place(key: str) -> int:
    return zlib.crc32(key.encode()) % 100
