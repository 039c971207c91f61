"""Inspection of a data set: counts per split and class, sizes, unreadable files, and faces that occur in two splits."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.sample import Dropped, Sample
from affectlens.data import near_duplicates
from affectlens.data.images import Stored, pixels_of
from affectlens.data.source import SPLITS, DataSource


@dataclass
class SplitFacts:
    """One split, every entry of it counted once: `files` = `labelled` + `unlabelled` + all of `dropped` and `bad`.

    Attributes:
        files: entries of the data set.
        labelled: faces with one label. unlabelled: faces without (no majority, or valence and arousal only).
        classes: label -> faces, in the order of the data set's labels.
        affect: faces with valence and arousal.
        dropped: reason -> entries that the reader leaves out.
        bad: (id, what is wrong) of images that cannot be decoded.
        sizes: (width, height) in pixels -> images.
    """

    files: int = 0
    labelled: int = 0
    unlabelled: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    affect: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass(frozen=True)
class NearDuplicate:
    """An image with its nearest image in another split: `bits` of 256 in which their hashes differ."""

    id: str
    other: str
    bits: int
    identical: bool


@dataclass(frozen=True)
class Inspection:
    """A data set in numbers.

    Attributes:
        splits: facts of each split that has any entry.
        near_duplicates: (split, other split) -> images of the first that are also in the second: pixel for pixel
            (`identical`), or by their hash within `data.near_duplicates.MAX_DIFFERING_BITS`, also mirrored. Images that
            readers drop are counted too.
    """

    splits: dict[str, SplitFacts]
    near_duplicates: dict[tuple[str, str], list[NearDuplicate]]


@dataclass
class _Fingerprints:
    """What is remembered of the images of one split."""

    ids: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    hashes: list[NDArray[np.int8]] = field(default_factory=list)
    mirrored: list[NDArray[np.int8]] = field(default_factory=list)


def entries(source: DataSource) -> Iterator[tuple[str, Sample | Dropped]]:
    """(split, entry) of all splits; a missing split has no entries.

    Raises:
        BadData: the folder does not have the reader's layout, or a table of it is damaged.
    """
    for split in SPLITS:
        for entry in source.samples(split):
            yield split, entry


def inspect(found: Iterator[tuple[str, Sample | Dropped]], labels: tuple[str, ...]) -> Inspection:
    """Look at every entry and every image once."""
    splits: dict[str, SplitFacts] = {}
    prints: dict[str, _Fingerprints] = {}
    for split, entry in found:
        facts = splits.setdefault(split, SplitFacts(classes=dict.fromkeys(labels, 0)))
        facts.files += 1
        if not _remember(entry, facts, prints.setdefault(split, _Fingerprints())):
            continue
        if isinstance(entry, Dropped):
            facts.dropped[entry.reason] += 1
            continue
        facts.affect += entry.valence is not None and entry.arousal is not None
        if entry.expression is None:
            facts.unlabelled += 1
        else:
            facts.labelled += 1
            facts.classes[entry.expression] += 1
    if not splits:
        raise BadData("the data set has no entries")
    pairs = [(a, b) for b in splits for a in splits if SPLITS.index(a) > SPLITS.index(b)]
    return Inspection(splits, {(a, b): _near_duplicates(prints[a], prints[b]) for a, b in pairs})


def _remember(entry: Sample | Dropped, facts: SplitFacts, prints: _Fingerprints) -> bool:
    """Note size and fingerprints of the image; False where it cannot be decoded."""
    try:
        stored = Stored.of(entry)
        pixels = None if stored is None else pixels_of(stored)
    except BadData as error:
        facts.bad.append((entry.id, str(error)))
        return False
    if pixels is not None:
        facts.sizes[(pixels.shape[1], pixels.shape[0])] += 1
        prints.ids.append(entry.id)
        prints.digests.append(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest())
        prints.hashes.append(near_duplicates.hash_one(pixels))
        prints.mirrored.append(near_duplicates.hash_one(pixels, mirrored=True))
    return True


def _near_duplicates(ours: _Fingerprints, theirs: _Fingerprints) -> list[NearDuplicate]:
    """Images of `ours` that are also in `theirs`."""
    if not ours.ids or not theirs.ids:
        return []
    exact = {digest: row for row, digest in enumerate(theirs.digests)}
    pool = np.stack([*theirs.hashes, *theirs.mirrored])
    bits, rows = near_duplicates.nearest_hash(np.stack(ours.hashes), pool)
    result = []
    for row, name in enumerate(ours.ids):
        same = exact.get(ours.digests[row])
        if same is not None:
            result.append(NearDuplicate(name, theirs.ids[same], 0, identical=True))
        elif bits[row] <= near_duplicates.MAX_DIFFERING_BITS:
            result.append(NearDuplicate(name, theirs.ids[rows[row] % len(theirs.ids)], int(bits[row]), identical=False))
    return result
