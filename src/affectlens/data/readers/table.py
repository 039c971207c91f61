"""Users' own tables: CSV or Parquet, one row per face.

Layout: a .csv or .parquet file, or a folder with data.csv or with shards *.parquet. Only the image is required:

- `path`: the image, relative to the table; or `image`: its encoded bytes (Parquet).
- `expression`; `votes`: numbers >= 0, one per class, normalised to sum to 1; `valence`, `arousal`: in [-1, 1].
- `split`: train, valid (or val, validation) or test. If it is empty, the split is chosen by a hash of `group_subject`,
    if present (so that nobody is in two splits), otherwise of the row's name.
- `id`: the row's name; by default the path, or else the number of the row.
- `age_years`; `landmarks`: x, y, x, y, ... in pixels of the image; `attributes`: 0 and 1.
- `group_NAME`: the value of the group NAME.

Lists are list columns in Parquet, and in CSV numbers separated by spaces, commas or semicolons. Other columns are
ignored.

A class that is a known expression gets its standard name; others are kept. Classes, and the votes, are in the order of
FER+, followed by the others, sorted; eight votes are those of FER+ unless the table has other classes. `?labels=a,b,c`
sets the classes and their order, and leaves others out; votes in shards of `affectlens data prepare` are matched by
name.
"""

import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, MissingExtra
from affectlens.core.expressions import FERPLUS
from affectlens.core.files import open_regular
from affectlens.core.messages import first_line
from affectlens.core.parquet_file import batches_of
from affectlens.core.sample import Dropped, Sample
from affectlens.data.readers._classes import OUTSIDE, class_name, ordered
from affectlens.data.readers._tables import number, rows
from affectlens.data.splits import SPELLINGS, by_hash

LICENCE = "Weights: under the terms of the images that they were trained on, which were a table of the user's own."
OPTIONS: dict[str, tuple[str, ...]] = {"labels": ()}
LABELS_KEY = b"labels"
"""Key of the schema's metadata that holds the classes as a JSON list."""
LICENCE_KEY = b"licence"
"""Key of the schema's metadata that holds what the shards' source says in the place of `LICENCE`."""
ATTRIBUTES_KEY = b"attributes"
"""Key of the schema's metadata that holds the names of the attributes as a JSON list."""
UNFINISHED, OLD_UNFINISHED = ".affectlens-prepare-", ".partial"
"""How the name of the folder of shards that are being written begins, and the name in earlier versions; beside such a
folder no shard counts as complete."""
_GROUP = "group_"
_COLUMNS = (
    *("path", "image", "expression", "votes", "valence", "arousal"),
    *("split", "id", "age_years", "landmarks", "attributes"),
)
Row = Mapping[str, object]


def labels(directory: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """The classes of all splits; none where the table has neither expressions nor votes.

    Raises:
        BadData: as `read`. MissingExtra: the table is Parquet and pyarrow is not installed.
    """
    option = options.get("labels", "")
    if option:
        return ordered((), option)
    if stored := _stored_labels(directory):
        return stored
    found: set[str] = set()
    votes = None
    for place, _, row in _rows(directory, ("expression", "votes")):
        found.add(class_name(_text(row.get("expression"))))
        votes = _numbers(row.get("votes"), place, "votes") if votes is None else votes
    found.discard("")
    if votes is not None and len(votes) == len(FERPLUS) and found <= set(FERPLUS):
        return FERPLUS
    return ordered(found, "")


def read(directory: Path, split: str, options: Mapping[str, str]) -> Iterator[Sample | Dropped]:
    """Rows of one split.

    Raises:
        BadData: there is no such table, it has no image column, a cell is malformed, or two rows have one name.
        MissingExtra: the table is Parquet and pyarrow is not installed.
    """
    classes = labels(directory, options)
    voted = (_stored_labels(directory) if options.get("labels") else ()) or classes
    seen: set[str] = set()
    for place, file, row in _rows(directory, _COLUMNS):
        name = _text(row.get("id")) or _text(row.get("path")) or f"{file.stem}/{place.rpartition(' ')[2]}"
        if _split(name, row, place) != split:
            continue
        sample_id = name if name.startswith(f"{split}/") else f"{split}/{name}"
        if sample_id in seen:
            raise BadData(f"{place}: duplicate id '{name}'; give each row a unique id in the column 'id'")
        seen.add(sample_id)
        yield _sample(sample_id, split, place, file, row, classes, voted)


def _sample(
    sample_id: str, split: str, place: str, file: Path, row: Row, classes: tuple[str, ...], voted: tuple[str, ...]
) -> Sample | Dropped:
    """One row as a sample with `classes`; `voted` are those of the column votes."""
    expression = class_name(_text(row.get("expression"))) or None
    votes = _votes(row.get("votes"), place, classes, voted)
    valence, arousal = (_number(row.get(name), place, name) for name in ("valence", "arousal"))
    if expression is not None and expression not in classes:
        return Dropped(sample_id, OUTSIDE)
    if any(value is not None and not -1 <= value <= 1 for value in (valence, arousal)):
        return Dropped(sample_id, "valence or arousal outside -1 to 1")
    if expression is None and votes is None and valence is None and arousal is None:
        return Dropped(sample_id, "neither expression, votes nor valence")
    content = row.get("image")
    path = file if isinstance(content, bytes) else file.parent / _text(row.get("path"))
    if not path.is_file():
        return Dropped(sample_id, "image file is missing")
    landmarks = _numbers(row.get("landmarks"), place, "landmarks")
    if landmarks is not None and len(landmarks) % 2:
        raise BadData(f"{place}: landmarks must have x and y for each point, got {len(landmarks)} numbers")
    return Sample(
        sample_id,
        path,
        split,
        expression,
        votes,
        valence=valence,
        arousal=arousal,
        landmarks_xy=None if landmarks is None else landmarks.reshape(-1, 2),
        content=content if isinstance(content, bytes) else None,
        age_years=_number(row.get("age_years"), place, "age_years"),
        attributes=_numbers(row.get("attributes"), place, "attributes"),
        groups={key.removeprefix(_GROUP): _text(value) for key, value in row.items() if key.startswith(_GROUP)},
    )


def _split(name: str, row: Row, place: str) -> str:
    given = _text(row.get("split"))
    if not given:
        return by_hash(_text(row.get(f"{_GROUP}subject")) or name)
    if given not in SPELLINGS:
        raise BadData(f"{place}: split must be one of {', '.join(SPELLINGS)}, got '{given}'")
    return SPELLINGS[given]


def _votes(value: object, place: str, classes: tuple[str, ...], voted: tuple[str, ...]) -> NDArray[np.float32] | None:
    """(C,) shares of `classes` that sum to 1 from the votes for `voted`; None where none of them has any."""
    votes = _numbers(value, place, "votes")
    if votes is None or not votes.any():
        return None
    if len(votes) != len(voted):
        raise BadData(f"{place}: got {len(votes)} votes for {len(voted)} classes; name the classes with ?labels=a,b,c")
    if not (np.isfinite(votes).all() and votes.min() >= 0):
        raise BadData(f"{place}: votes must be >= 0, got {votes.tolist()}")
    chosen = np.array([votes[voted.index(name)] if name in voted else 0 for name in classes], dtype=np.float32)
    return chosen / chosen.sum() if chosen.any() else None


def _text(value: object) -> str:
    """A cell as text, "" where it is empty."""
    return "" if value is None or value != value else str(value).strip()


def _number(value: object, place: str, what: str) -> float | None:
    """A cell as a number, None where it is empty or NaN."""
    text = _text(value)
    result = number(text, place, what) if text else math.nan
    return None if math.isnan(result) else result


def _numbers(value: object, place: str, what: str) -> NDArray[np.float32] | None:
    """A cell as float32 numbers, None where it is empty."""
    if isinstance(value, str):
        value = [text for text in re.split(r"[\s,;\[\]]+", value) if text]
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float32).reshape(-1)
    except (ValueError, TypeError) as error:
        raise BadData(f"{place}: {what} must be a list of numbers, got '{value}'") from error
    return array if len(array) else None


def _rows(directory: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Path, Row]]:
    """Place, file and cells of every row; Parquet files give only `columns` and groups."""
    for file in _files(directory):
        if file.suffix == ".csv":
            yield from ((place, file, row) for place, row in rows(file, ("path",)))
        else:
            yield from _parquet_rows(file, columns)


def _files(directory: Path) -> list[Path]:
    if directory.is_file():
        files = [directory] if directory.suffix in (".csv", ".parquet") else []
    else:
        files = [path for path in (directory / "data.csv",) if path.is_file()]
        shards = sorted(directory.glob("*.parquet"))
        unfinished = [path for name in (f"{UNFINISHED}*", OLD_UNFINISHED) for path in directory.glob(name)]
        if unfinished:
            raise BadData(
                f"'{directory}' is incomplete: its preparation was interrupted or is still running "
                f"('{unfinished[0].name}')"
            )
        if files and shards:
            raise BadData(
                f"'{directory}' contains both data.csv and {len(shards)} Parquet files; name the file to read"
            )
        files += shards
    if not files:
        raise BadData(
            f"'{directory}' is not a table; expected a .csv or .parquet file, or a folder with data.csv or *.parquet"
        )
    return files


def stored_licence(directory: Path) -> str:
    """What the shards' own metadata say about models trained on them; "" where they say nothing."""
    shards = sorted(directory.glob("*.parquet")) if directory.is_dir() else [directory]
    return " ".join(dict.fromkeys(text for file in shards if (text := _metadata(file, LICENCE_KEY, ""))))


def stored_attributes(directory: Path) -> tuple[str, ...]:
    """Names of the attributes in the metadata of shards that `affectlens data prepare` wrote; none in other files."""
    return _stored(directory, ATTRIBUTES_KEY)


def _stored_labels(directory: Path) -> tuple[str, ...]:
    """The classes in the metadata of shards that `affectlens data prepare` wrote; none in other files."""
    return _stored(directory, LABELS_KEY)


def _stored(directory: Path, key: bytes) -> tuple[str, ...]:
    for file in _files(directory):
        try:
            stored = tuple(json.loads(_metadata(file, key, "[]")))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadData(f"'{file}': the metadata '{key.decode()}' is not a JSON list: {error}") from error
        if not all(isinstance(name, str) for name in stored):
            raise BadData(f"'{file}': the metadata '{key.decode()}' is not a list of names")
        if stored:
            return stored
    return ()


def _metadata(file: Path, key: bytes, default: str) -> str:
    """An entry of a Parquet file's metadata, as `affectlens data prepare` writes them."""
    if file.suffix != ".parquet":
        return default
    try:
        with open_regular(file) as stream:
            found = (_parquet().read_schema(stream).metadata or {}).get(key)
        return default if found is None else found.decode()
    except (OSError, ValueError) as error:
        raise BadData(f"cannot read '{file}' as Parquet: {first_line(error)}") from error


def _parquet() -> Any:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("reading Parquet", "parquet") from error


def _parquet_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Path, Row]]:
    try:
        with open_regular(file) as stream, _parquet().ParquetFile(stream) as table:
            names = table.schema_arrow.names
            if not {"path", "image"} & set(names):
                raise BadData(f"'{file}' lacks the column 'path' or 'image'; found: {', '.join(names)}")
            chosen = [name for name in names if name in columns or name.startswith(_GROUP)]
            count = 0
            for batch in batches_of(table, chosen):
                for count, row in enumerate(batch.to_pylist(), start=count + 1):  # noqa: B020
                    yield f"{file}, row {count}", file, row
    except (OSError, ValueError) as error:
        raise BadData(f"cannot read '{file}' as Parquet: {first_line(error)}") from error
