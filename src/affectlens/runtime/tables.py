"""Tables of `affectlens analyze` read back: the faces of their videos, one after the other."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.series import Series

_NEEDED = ("source", "time_s", "track", "expression", "uncertain", "valence", "arousal")


def read_series(file: Path) -> list[Series]:
    """The faces of all videos in a table (.parquet, .csv or .jsonl), in order of their appearance.

    Raises:
        BadSetting: another suffix. BadData: not such a table, or no face of a video in it.
        MissingExtra: the extra "parquet" is not installed. OSError: the file cannot be read.
    """
    table = _read(file)
    missing = [name for name in _NEEDED if name not in table.column_names]
    labels = tuple(name.removeprefix("p_") for name in table.column_names if name.startswith("p_"))
    if missing or len(labels) < 2:
        lacking = ", ".join(missing) or "probabilities (p_...)"
        raise BadData(f"'{file}' is no table of 'affectlens analyze': it lacks {lacking}")
    try:
        return _series(table, labels, file)
    except (ValueError, TypeError) as error:
        raise BadData(f"'{file}' has a cell of another kind than its column: {error}") from error


def _series(table: Any, labels: tuple[str, ...], file: Path) -> list[Series]:
    """The faces in a table that has all columns."""
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in _NEEDED}
    probabilities = np.stack([np.asarray(table.column(f"p_{label}"), dtype=np.float64) for label in labels], axis=1)
    tracks = np.asarray(columns["track"], dtype=np.float64)
    followed = np.flatnonzero(np.isfinite(tracks))
    if not len(followed):
        raise BadData(f"'{file}' holds no face of a video")
    rows: dict[tuple[str, int], list[int]] = {}
    for row in followed.tolist():
        rows.setdefault((str(columns["source"][row]), int(tracks[row])), []).append(row)
    return [
        Series(
            source,
            track,
            labels,
            np.asarray(columns["time_s"][at], dtype=np.float64),
            probabilities[at],
            tuple(str(label) for label in columns["expression"][at]),
            _booleans(columns["uncertain"][at]),
            np.asarray(columns["valence"][at], dtype=np.float64),
            np.asarray(columns["arousal"][at], dtype=np.float64),
        )
        for (source, track), at in rows.items()
    ]


def _booleans(cells: Any) -> NDArray[np.bool_]:
    if not all(isinstance(cell, (bool, np.bool_)) for cell in cells):
        raise ValueError("'uncertain' is true or false")
    return np.asarray(cells, dtype=bool)


def _read(file: Path) -> Any:
    """The file as an Arrow table."""
    try:
        import pyarrow
        from pyarrow import csv, json, parquet
    except ImportError as error:
        raise MissingExtra("reading tables", "parquet") from error
    text = {"source": pyarrow.string(), "expression": pyarrow.string()}
    options = csv.ConvertOptions(column_types=text, strings_can_be_null=True)
    readers = {
        ".parquet": lambda: parquet.read_table(file),
        ".csv": lambda: csv.read_csv(file, convert_options=options),
        ".jsonl": lambda: json.read_json(file),
    }
    if file.suffix.lower() not in readers:
        raise BadSetting(f"tables are .parquet, .csv or .jsonl, got '{file}'")
    file.open("rb").close()  # Arrow says at length what the system says in a line
    try:
        return readers[file.suffix.lower()]()
    except pyarrow.ArrowInvalid as error:
        raise BadData(f"'{file}' cannot be read as a table: {str(error).partition(chr(10))[0]}") from error
