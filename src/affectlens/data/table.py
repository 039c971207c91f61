"""Labelled faces of one split as arrays in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.landmarks import as_68
from affectlens.core.sample import Dropped, Sample
from affectlens.data.images import KEEP_BYTES, KEEP_SIDE_PX, Images, Stored

_EMPTY: NDArray[np.float32] = np.empty(0, dtype=np.float32)
_NO_FLAGS: NDArray[np.bool_] = np.empty(0, dtype=bool)
"""Stand for a column that was not given."""
_LARGE_IN_A_ROW = 256
"""After so many large images in a row the others are not opened just to see their size."""


@dataclass(frozen=True, eq=False)
class FaceTable:
    """N faces of one split.

    Attributes:
        ids: (N,) sample ids.
        images: N images, grayscale or RGB uint8: `Images`, or an array (N, H, W) or (N, H, W, 3).
        votes: (N, C) float32, each row a distribution over `labels`; all 0 if unknown.
        targets: (N,) int64 index into `labels`, -1 if there is no majority label.
        labels: names of the C classes.
        valence, arousal: (N,) float32 in [-1, 1], NaN where unknown.
        landmarks_xy: (N, K, 2) float32, pixels of the image, NaN where unknown; K is 0 if no face has any.
        age_years: (N,) float32, NaN where unknown.
        groups: column -> (N,) values, "" where unknown.
        attributes: (N, A) float32 of 0 and 1, NaN where unknown. attribute_names: (A,) their names, or () if the data
            have none.
        find_face: (N,) true where the image is a larger picture in which the face is still to be found.
        dropped: reason -> number of entries of the data set that were left out for it.
    """

    ids: tuple[str, ...]
    images: Images | NDArray[np.uint8]
    votes: NDArray[np.float32]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    valence: NDArray[np.float32] = field(default_factory=lambda: _EMPTY)
    arousal: NDArray[np.float32] = field(default_factory=lambda: _EMPTY)
    landmarks_xy: NDArray[np.float32] = field(default_factory=lambda: _EMPTY)
    age_years: NDArray[np.float32] = field(default_factory=lambda: _EMPTY)
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    attributes: NDArray[np.float32] = field(default_factory=lambda: _EMPTY)
    attribute_names: tuple[str, ...] = ()
    find_face: NDArray[np.bool_] = field(default_factory=lambda: _NO_FLAGS)
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faces, classes = len(self.ids), len(self.labels)
        for name, shape in (("landmarks_xy", (faces, 0, 2)), ("attributes", (faces, 0))):
            if getattr(self, name) is _EMPTY:
                object.__setattr__(self, name, np.empty(shape, dtype=np.float32))
        for name in ("valence", "arousal", "age_years"):
            if getattr(self, name) is _EMPTY:
                object.__setattr__(self, name, np.full(faces, np.nan, dtype=np.float32))
        if self.find_face is _NO_FLAGS:
            object.__setattr__(self, "find_face", np.zeros(faces, dtype=bool))
        columns = [self.valence, self.arousal, self.landmarks_xy, self.age_years, self.attributes, self.find_face]
        lengths = {len(column) for column in [*columns, *self.groups.values(), self.images]}
        if (self.votes.shape, self.targets.shape) != ((faces, classes), (faces,)) or lengths != {faces}:
            shapes = (len(self.images), self.votes.shape, self.targets.shape)
            raise BadData(f"array shapes {shapes} do not match {faces} faces and {classes} classes")
        if self.attribute_names and len(self.attribute_names) != self.attributes.shape[1]:
            raise BadData(
                f"expected one name for each of {self.attributes.shape[1]} attributes, got {len(self.attribute_names)}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) true where a face has a majority label."""
        return self.targets >= 0

    def with_images(self, images: Images, dropped: Mapping[str, int]) -> "FaceTable":
        """The table with other pictures of the same faces; landmarks are dropped, because they no longer apply."""
        return replace(self, images=images, dropped=dropped, landmarks_xy=_EMPTY)

    def keep(self, mask: NDArray[np.bool_], reason: str = "") -> "FaceTable":
        """The rows where the (N,) `mask` is true; if a `reason` is given, the others are counted in `dropped`."""
        changes: dict[str, object] = {
            "ids": tuple(name for name, kept in zip(self.ids, mask, strict=True) if kept),
            "groups": {name: column[mask] for name, column in self.groups.items()},
        }
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray | Images):
                changes[part.name] = value[mask]
        if reason and not mask.all():
            changes["dropped"] = Counter(self.dropped) + Counter({reason: int((~mask).sum())})
        return replace(self, **changes)  # type: ignore[arg-type]


def load(
    samples: Iterable[Sample | Dropped],
    labels: tuple[str, ...],
    attribute_names: tuple[str, ...] = (),
    decode: bool = True,
) -> FaceTable:
    """Samples as a table: small images decoded now, unless `decode` is off, the others when they are asked for.

    `attribute_names` are those of the samples' attributes; samples with another number of them count as without any.

    What a reader dropped, and small images that cannot be decoded, are counted in `dropped` by reason.

    Raises:
        BadData: nothing is left, or a sample's label or votes do not fit `labels`.
    """
    kept: list[Sample] = []
    entries: list[NDArray[np.uint8] | Stored] = []
    dropped: Counter[str] = Counter()
    room = KEEP_BYTES
    large = 0  # in a row
    for sample in samples:
        if isinstance(sample, Dropped):
            dropped[sample.reason] += 1
            continue
        try:
            entry = _entry(sample, room, decode=decode and large < _LARGE_IN_A_ROW)
        except BadData:
            dropped["image cannot be decoded"] += 1
            continue
        large = large + 1 if isinstance(entry, Stored) else 0
        room -= entry.nbytes if isinstance(entry, np.ndarray) else 0
        entries.append(entry)
        kept.append(sample)
    if not kept:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dropped.items())
        raise BadData(f"the data set has no samples{f' (left out: {reasons})' if reasons else ''}")
    return _table(kept, Images(entries), labels, attribute_names, dropped)


def _entry(sample: Sample, room: int, decode: bool) -> NDArray[np.uint8] | Stored:
    """The pixels of a small image, or the place of a large one (and, without `decode`, of any in a file)."""
    stored = Stored.of(sample)
    if stored is None:
        raise BadData(f"sample '{sample.id}' has no image")
    if not isinstance(stored, Stored) or not decode:
        return stored
    pixels = stored.decode()
    return pixels if max(pixels.shape[:2]) <= KEEP_SIDE_PX and pixels.nbytes <= room else stored


def _table(
    samples: list[Sample],
    images: Images,
    labels: tuple[str, ...],
    attribute_names: tuple[str, ...],
    dropped: Mapping[str, int],
) -> FaceTable:
    """Columns from samples."""
    number = {label: i for i, label in enumerate(labels)}
    votes = np.zeros((len(samples), len(labels)), dtype=np.float32)
    targets = np.full(len(samples), -1, dtype=np.int64)
    for row, sample in enumerate(samples):
        if sample.expression is not None:
            if sample.expression not in number:
                raise BadData(
                    f"the label of sample '{sample.id}' must be one of {', '.join(labels)}, got '{sample.expression}'"
                )
            targets[row] = number[sample.expression]
            votes[row, targets[row]] = 1
        if sample.votes is not None:
            if sample.votes.shape != (len(labels),):
                raise BadData(f"sample '{sample.id}' has {len(sample.votes)} votes, expected {len(labels)}")
            votes[row] = sample.votes
    given = [len(sample.attributes) for sample in samples if sample.attributes is not None]
    bits = (len(attribute_names) or max(given)) if given else 0
    names = sorted({name for sample in samples for name in sample.groups})
    return FaceTable(
        tuple(sample.id for sample in samples),
        images,
        votes,
        targets,
        labels,
        valence=_floats([sample.valence for sample in samples]),
        arousal=_floats([sample.arousal for sample in samples]),
        landmarks_xy=_landmarks(samples),
        age_years=_floats([sample.age_years for sample in samples]),
        groups={name: np.array([sample.groups.get(name, "") for sample in samples]) for name in names},
        attributes=_stack([sample.attributes for sample in samples], (bits,)),
        attribute_names=attribute_names if bits else (),
        find_face=np.array([sample.find_face for sample in samples], dtype=bool),
        dropped=dict(dropped),
    )


def _floats(values: list[float | None]) -> NDArray[np.float32]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


def landmarks_in_box(sample: Sample) -> NDArray[np.float32] | None:
    """The landmarks in pixels of the cut-out face, or None without any."""
    if sample.landmarks_xy is None or sample.box_xyxy is None:
        return sample.landmarks_xy
    return sample.landmarks_xy - np.maximum(np.round(sample.box_xyxy[:2]), 0)


def _landmarks(samples: list[Sample]) -> NDArray[np.float32]:
    """(N, K, 2); faces with five landmarks stand in the places of these where others have 68."""
    points = [landmarks_in_box(sample) for sample in samples]
    most = max((len(place) for place in points if place is not None), default=0)
    if most == 68:
        points = [as_68(place) if place is not None and len(place) == 5 else place for place in points]
    return _stack(points, (most, 2))


def _stack(values: list[NDArray[np.float32] | None], shape: tuple[int, ...]) -> NDArray[np.float32]:
    column = np.full((len(values), *shape), np.nan, dtype=np.float32)
    for row, value in enumerate(values):
        if value is not None and value.shape == shape:
            column[row] = value
    return column
