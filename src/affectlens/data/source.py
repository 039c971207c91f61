"""Data sets by name: `ferplus:DIR?protocol=caciolai` is the reader `ferplus` on the folder DIR with an option; several
joined by `+` are one hybrid data set.

In addition to its own options, every reader accepts `?meta=FILE`, see `data.meta`; `?max=N`, N >= 1: at most N training
samples, those of the lowest hash; and `?find_faces=yes`: its pictures are searched for their faces, whatever the other
parts of a hybrid need.
"""

import heapq
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from affectlens.core import catalog
from affectlens.core.catalog import unknown
from affectlens.core.errors import AffectLensError, BadData, BadSetting
from affectlens.core.expressions import FERPLUS, label_fault
from affectlens.core.messages import describe, one_line
from affectlens.core.sample import Dropped, Sample
from affectlens.data import table
from affectlens.data.meta import with_meta
from affectlens.data.table import FaceTable

SPLITS = ("train", "valid", "test")
_EVERY_READER = {"find_faces": ("no", "yes")}
"""Options that readers do not see."""


@dataclass(frozen=True)
class SourcePart:
    """One reader on one folder or file.

    Attributes:
        given: options that differ from their defaults. meta: file with ages and groups. max_train: most training
            samples, at least 1; None for all.
    """

    reader: str
    directory: Path
    given: Mapping[str, str] = field(default_factory=dict)
    meta: Path | None = None
    max_train: int | None = None

    def __post_init__(self) -> None:
        allowed = self.module.OPTIONS | _EVERY_READER
        for key, value in self.given.items():
            if key not in allowed:
                raise BadSetting(unknown("option", key, [*allowed, "meta", "max"], f"of '{self.reader}'"))
            if allowed[key] and value not in allowed[key]:
                raise BadSetting(
                    unknown("value", value, list(allowed[key]), f"of the option '{key}' of '{self.reader}'")
                )

    @property
    def module(self) -> ModuleType:
        """The reader's module."""
        return catalog.load("data.readers", self.reader)

    @property
    def options(self) -> dict[str, str]:
        """All options of the reader, those not given at their defaults, and what else differs from its default."""
        allowed: dict[str, tuple[str, ...]] = self.module.OPTIONS
        own = {key: self.given.get(key, values[0] if values else "") for key, values in allowed.items()}
        own |= {} if self.max_train is None else {"max": str(self.max_train)}
        return own | ({"find_faces": "yes"} if self.finds_faces else {})

    @property
    def finds_faces(self) -> bool:
        """Whether faces are to be found in its pictures."""
        return self.given.get("find_faces") == "yes"

    @property
    def licence(self) -> str:
        """What the data say about models trained on them: the reader, or the files where they say it themselves."""
        stored = getattr(self.module, "stored_licence", None)
        with self._failures():
            text: str = (stored(self.directory) if stored else "") or self.module.LICENCE
        return text

    def labels(self) -> tuple[str, ...]:
        """The classes that the reader gives under these options.  Raises BadData where they are no names."""
        with self._failures():
            names = self.module.labels(self.directory, self.options)
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            raise BadData(f"labels() of the reader '{self.reader}' must return a tuple of strings, got {names!r:.60}")
        return tuple(names)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Those of the samples' attributes, of the reader or of the files where they say it themselves; () for none."""
        stored = getattr(self.module, "stored_attributes", None)
        with self._failures():
            names: tuple[str, ...] = stored(self.directory) if stored else getattr(self.module, "ATTRIBUTES", ())
        return names

    def samples(self, split: str) -> Iterator[Sample | Dropped]:
        """What the reader yields, with the columns of the meta file.

        Raises:
            BadData: the folder does not have the reader's layout, or the reader yields something else than it must.
        """
        samples = self._read(split) if self.max_train is None or split != "train" else self._fewer(self.max_train)
        if self.finds_faces:
            samples = (replace(one, find_face=True) if isinstance(one, Sample) else one for one in samples)
        return samples if self.meta is None else with_meta(samples, self.meta)

    def _fewer(self, count: int) -> Iterator[Sample | Dropped]:
        """What the reader yields for training, of the samples only the `count` of the lowest hashes."""
        entries = (entry for entry in self._read("train") if isinstance(entry, Sample))
        kept = set(heapq.nsmallest(count, (_hashed(entry.id) for entry in entries)))
        for entry in self._read("train"):
            if isinstance(entry, Sample) and _hashed(entry.id) not in kept:
                yield Dropped(entry.id, "more than max", entry.path, entry.content)
            else:
                yield entry

    def _read(self, split: str) -> Iterator[Sample | Dropped]:
        """What the reader yields, checked."""
        with self._failures():
            yield from self._checked(split)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Whatever else a reader raises for a damaged file becomes BadData."""
        try:
            yield
        except AffectLensError:
            raise
        except Exception as error:
            said = describe(error) if isinstance(error, OSError) else one_line(error)
            raise BadData(f"cannot read '{self.directory}' as {self.reader}: {said}") from error

    def _checked(self, split: str) -> Iterator[Sample | Dropped]:
        entries = self.module.read(self.directory, split, self.options)
        if not isinstance(entries, Iterable):
            raise BadData(
                f"read() of the reader '{self.reader}' must return an iterable of samples, got {type(entries).__name__}"
            )
        labels: tuple[str, ...] = ()
        for entry in entries:
            if isinstance(entry, Sample):
                labels = labels or self.labels()
                if wrong := _wrong(entry, labels):
                    raise BadData(f"reader '{self.reader}', sample '{entry.id}': {wrong}")
            elif not isinstance(entry, Dropped):
                raise BadData(f"the reader '{self.reader}' must yield Sample or Dropped objects, got {entry!r:.60}")
            yield entry


def _hashed(sample_id: str) -> tuple[int, str]:
    """An order of samples that has nothing to do with their names."""
    return zlib.crc32(sample_id.encode()), sample_id


def _wrong(sample: Any, labels: tuple[str, ...]) -> str:
    """What a sample of a reader with these labels must not hold; "" for nothing."""
    if not isinstance(sample.path, Path):
        return f"path must be a Path, got {sample.path!r}"
    if sample.expression is not None and sample.expression not in labels:
        return f"the expression '{sample.expression}' is not among the reader's labels: {', '.join(labels)}"
    if sample.votes is not None and sample.votes.shape != (len(labels),):
        return f"votes must have the shape ({len(labels)},), got {sample.votes.shape}"
    return ""


@dataclass(frozen=True)
class DataSource:
    """One data set on disk, or several that are used as one."""

    parts: tuple[SourcePart, ...]

    @property
    def reader(self) -> str:
        """Names of the readers joined by "+"."""
        return "+".join(part.reader for part in self.parts)

    @property
    def licence(self) -> str:
        """What the readers say about models trained on these data."""
        return " ".join(dict.fromkeys(part.licence for part in self.parts))

    @property
    def options(self) -> dict[str, str]:
        """Options of all parts that are not empty; where parts share a key its values are joined by "+"."""
        merged: dict[str, str] = {}
        for part in self.parts:
            for key, value in part.options.items():
                merged[key] = value if key not in merged else f"{merged[key]}+{value}"
        return {key: value for key, value in merged.items() if value.strip("+")}

    @property
    def name(self) -> str:
        """Readers and options in one line, without folders: `ferplus&protocol=standard&mode=votes`."""
        return name_of(self.reader, self.options)

    def with_default(self, reader: str, key: str, value: str) -> "DataSource":
        """The source with an option set in every part of `reader` that does not set it itself.

        Raises:
            BadSetting: the reader does not know the option or the value.
        """

        def changed(part: SourcePart) -> SourcePart:
            if part.reader != reader:
                return part
            if key == "max":
                return part if part.max_train is not None else replace(part, max_train=_max(value, key))
            return replace(part, given={key: value, **part.given})

        return DataSource(tuple(map(changed, self.parts)))

    def without_meta(self) -> "DataSource":
        """The source without its meta files, for where only the images matter."""
        return DataSource(tuple(replace(part, meta=None) for part in self.parts))

    def labels(self) -> tuple[str, ...]:
        """Classes of all parts: those of FER+ in its order, then others as they come.

        Raises:
            BadData: a model could not have these labels.
        """
        names = tuple(dict.fromkeys(name for part in self.parts for name in part.labels()))
        if fault := label_fault(names):
            raise BadData(f"the labels of {self.reader}: {fault}")
        if len(self.parts) == 1:
            return names
        return (*(name for name in FERPLUS if name in names), *(name for name in names if name not in FERPLUS))

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Those of the first part that has any."""
        return next(filter(None, (part.attribute_names for part in self.parts)), ())

    def samples(self, split: str) -> Iterator[Sample | Dropped]:
        """All samples of a split; those of a hybrid get their reader's name into the id and as group `dataset`.

        Raises:
            BadSetting: `split` is not one of `SPLITS`. BadData: the folder does not have the reader's layout.
        """
        if split not in SPLITS:
            raise BadSetting(f"split must be one of {', '.join(SPLITS)}, got '{split}'")
        if len(self.parts) == 1:
            yield from self.parts[0].samples(split)
            return
        labels = self.labels()
        for number, part in enumerate(self.parts, start=1):
            columns = [labels.index(name) for name in part.labels()]
            for sample in part.samples(split):
                if isinstance(sample, Sample):
                    votes = None
                    if sample.votes is not None:
                        votes = np.zeros(len(labels), dtype=np.float32)
                        votes[columns] = sample.votes
                    groups = {**sample.groups, "dataset": part.reader}
                    yield replace(sample, id=_joined(sample.id, split, number, part), votes=votes, groups=groups)
                else:
                    yield replace(sample, id=_joined(sample.id, split, number, part))

    def load(self, split: str, decode: bool = True) -> FaceTable:
        """All faces of a split; without `decode`, images in files are decoded only when they are asked for.

        Raises:
            As `samples`.
        """
        try:
            return table.load(self.samples(split), self.labels(), self.attribute_names, decode)
        except BadData as error:
            raise BadData(f"{self.reader}, split '{split}': {error}") from error


def name_of(reader: str, options: Mapping[str, str]) -> str:
    """A reader and those of its options that are not empty, in one line."""
    return "&".join([reader, *(f"{key}={value}" for key, value in options.items() if value)])


def has_faces(source: DataSource, split: str) -> bool:
    """Whether a split has any entry that its reader does not drop.

    Raises:
        BadData: a table of the data set is damaged.
    """
    return any(isinstance(entry, Sample) for entry in source.samples(split))


def load_if_usable(source: DataSource, split: str) -> FaceTable | None:
    """All faces of a split, or None where the data set has none that its reader does not drop.

    Raises:
        BadData: a table of the data set is damaged.
    """
    return source.load(split) if has_faces(source, split) else None


def parse(spec: str) -> DataSource:
    """`name:DIR[?key=value&...][+name:DIR...]` -> DataSource.

    Raises:
        BadData: it is neither that nor a path, or the folder or meta file does not exist. BadSetting: the reader does
            not have an option or value. UnknownName: no such reader.
    """
    return DataSource(tuple(_part(text) for text in re.split(r"\+(?=\w+:)", spec)))


def _part(text: str) -> SourcePart:
    name, colon, rest = text.partition(":")
    folder, _, query = rest.partition("?")
    if colon and not folder:
        raise BadData(f"'{text}' names no folder; data sets are named NAME:FOLDER, such as ferplus:DIR")
    if not colon:
        raise BadData(
            f"'{text}' is neither a folder nor a CSV or Parquet file; other data sets are named NAME:FOLDER, such as "
            "ferplus:DIR"
        )
    catalog.load("data.readers", name)
    given: dict[str, str] = {}
    for setting in filter(None, query.split("&")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise BadSetting(f"options of a data set must have the form KEY=VALUE, got '{setting}' in '{text}'")
        given[key] = value
    meta, most = given.pop("meta", None), given.pop("max", None)
    directory = Path(os.path.expanduser(folder))
    if not directory.exists():
        advice = "; parts are joined as NAME:FOLDER+NAME:FOLDER" if "+" in text else ""
        raise BadData(f"data folder '{directory}' does not exist{advice}")
    meta_file = None if meta is None else Path(os.path.expanduser(meta))
    if meta_file is not None and not meta_file.is_file():
        raise BadData(f"meta file '{meta_file}' does not exist")
    return SourcePart(name, directory, given, meta_file, None if most is None else _max(most, text))


def _max(value: str, where: str) -> int:
    """The number of `?max=`.  Raises BadSetting."""
    if not value.isdecimal() or not int(value):
        raise BadSetting(f"max must be a whole number of training samples, at least 1, got '{value}' in '{where}'")
    return int(value)


def _joined(sample_id: str, split: str, number: int, part: SourcePart) -> str:
    """The id in a hybrid: SPLIT/NUMBER.READER/REST, unique also where a reader comes twice."""
    return f"{split}/{number}.{part.reader}/{sample_id.removeprefix(f'{split}/')}"
