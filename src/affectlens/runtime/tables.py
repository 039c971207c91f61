"""Tables of `affectlens analyze` in Arrow format, and reading them back: the faces of their videos, one by one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectlens.core.columns import PROBABILITY, Column, Kind, Schema
from affectlens.core.csv_file import csv_lines
from affectlens.core.csv_lines import GUARDED, text_of
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.files import limited_lines, open_regular, open_text
from affectlens.core.headers import schema_in
from affectlens.core.messages import first_line
from affectlens.core.series import Series

if TYPE_CHECKING:
    import pyarrow

_NEEDED = ("source", "time_s", "track", "expression", "uncertain", "valence", "arousal")


def read_series(file: Path) -> list[Series]:
    """The faces of all videos in a table (.parquet, .csv or .jsonl), in order of their appearance.

    Raises:
        BadSetting: another suffix. BadData: not such a table, or no face of a video in it.
        MissingExtra: the extra "parquet" is not installed. OSError: the file cannot be read.
    """
    try:
        table = read_arrow(file)
    except FileNotFoundError as error:
        raise BadData(f"the table '{file}' does not exist") from error
    missing = [name for name in _NEEDED if name not in table.column_names]
    labels = schema_in(table.column_names).labels
    if missing or len(labels) < 2:
        lacking = ", ".join(missing) or f"probabilities ({PROBABILITY}...)"
        raise BadData(f"'{file}' is not a table of 'affectlens analyze': it lacks {lacking}")
    return _series(table, labels, file)


def _series(table: Any, labels: tuple[str, ...], file: Path) -> list[Series]:
    """The faces in a table that has all columns."""
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in _NEEDED}
    probabilities = np.stack(
        [np.asarray(table.column(f"{PROBABILITY}{label}"), np.float64) for label in labels], axis=1
    )
    tracks = np.asarray(columns["track"], dtype=np.float64)
    followed = np.flatnonzero(np.isfinite(tracks))
    if not len(followed):
        raise BadData(f"'{file}' contains no face from a video")
    if any(columns["uncertain"][row] is None for row in followed.tolist()):
        raise BadData(f"'{file}' has a face whose 'uncertain' is neither true nor false")
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
            np.asarray(columns["uncertain"][at], dtype=bool),
            np.asarray(columns["valence"][at], dtype=np.float64),
            np.asarray(columns["arousal"][at], dtype=np.float64),
        )
        for (source, track), at in rows.items()
    ]


def arrow_schema(schema: Schema) -> "pyarrow.Schema":
    """The columns as Arrow's: texts and categories as strings, whole numbers as 64-bit integers, truth values as
    booleans, reals as doubles; metadata hold kind, unit and meaning of each.

    Raises:
        MissingExtra: the extra "parquet" is not installed.
    """
    pyarrow = _pyarrow("writing Parquet")
    return pyarrow.schema(
        [
            pyarrow.field(
                column.name,
                _type(pyarrow, column),
                metadata={"kind": column.kind, "unit": column.unit, "meaning": column.meaning},
            )
            for column in schema.columns
        ]
    )


def schema_of_table(table: Any) -> Schema:
    """What is known of the columns of an Arrow table: by their names, and in Parquet by what the file says of them."""
    known = schema_in(table.column_names)
    unknown = [field for field in table.schema if field.name not in known.names]
    told = [column for column in map(_column_of, unknown) if column is not None]
    return Schema(known.labels, (*known.extra, *told))


def _column_of(field: Any) -> Column | None:
    """The column that the metadata of an Arrow field describe; None where they describe none."""
    facts = {name.decode(): value.decode() for name, value in (field.metadata or {}).items()}
    if facts.get("kind") not in list(Kind):
        return None
    return Column(field.name, Kind(facts["kind"]), facts.get("meaning", ""), unit=facts.get("unit", ""))


def read_arrow(file: Path) -> Any:
    """A table (.parquet, .csv or .jsonl) with the types of the columns that are known.

    Raises:
        BadSetting: another suffix. BadData: it cannot be read, or a cell is of another kind than its column.
        MissingExtra: the extra "parquet" is not installed. OSError: the file cannot be read.
    """
    pyarrow = _pyarrow("reading tables")
    suffix = file.suffix.lower()
    if suffix not in (".parquet", ".csv", ".jsonl"):
        raise BadSetting(f"tables must be .parquet, .csv or .jsonl files, got '{file}'")
    open_regular(file).close()  # Arrow says at length what the system says in a line, and waits for pipes
    try:
        if suffix == ".parquet":
            return _read_parquet(file)
        return _read_csv(file) if suffix == ".csv" else _read_jsonl(file)
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # OSError: what a damaged Parquet file is to Arrow
        raise BadData(f"cannot read '{file}' as a table: {first_line(error)}") from error


def _known_types(names: Sequence[str]) -> dict[str, Any]:
    """The types of those columns of a header that are known."""
    return {field.name: field.type for field in arrow_schema(schema_in(names)) if field.name in names}


def _read_parquet(file: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(file)
    known = _known_types(table.column_names)
    types = [field.with_type(known.get(field.name, field.type)) for field in table.schema]
    return table.cast(pyarrow.schema(types))


def _read_csv(file: Path) -> Any:
    import pyarrow
    from pyarrow import compute, csv

    _, names = next(csv_lines(file), (0, []))
    options = csv.ConvertOptions(
        column_types=_known_types(names),
        strings_can_be_null=True,
        null_values=[""],
        true_values=["true", "True"],
        false_values=["false", "False"],
    )
    lines = csv.ParseOptions(newlines_in_values=True)
    table = csv.read_csv(file, parse_options=lines, convert_options=options)
    cells = (
        compute.replace_substring_regex(column, GUARDED, r"\1") if pyarrow.types.is_string(column.type) else column
        for column in table.columns
    )
    return pyarrow.table(list(cells), [text_of(name) for name in table.column_names])


def _read_jsonl(file: Path) -> Any:
    import pyarrow
    from pyarrow import json as arrow_json

    with open_text(file) as stream:
        first = next(limited_lines(stream), "")
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise BadData(f"cannot read '{file}' as a table: its first line is not a JSON object")
    schema = pyarrow.schema(list(_known_types(list(row)).items()))
    return arrow_json.read_json(file, parse_options=arrow_json.ParseOptions(explicit_schema=schema))


def _type(pyarrow: Any, column: Column) -> Any:
    types = {Kind.INTEGER: pyarrow.int64, Kind.BOOLEAN: pyarrow.bool_, Kind.REAL: pyarrow.float64}
    return types.get(column.kind, pyarrow.string)()


def _pyarrow(what: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(what, "parquet") from error
    return pyarrow
