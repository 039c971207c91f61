"""Analyses to CSV, JSON lines and Parquet, row by row as they come."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from affectlens.core.errors import MissingExtra
from affectlens.runtime.analysis import Analysis, Row

if TYPE_CHECKING:
    import pyarrow

Writer = Callable[[Analysis], None]

_ROWS_AT_ONCE = 5000
_TEXTS = frozenset({"source", "expression", "va_source", "quality", "reason", "model"})
_WHOLE = frozenset({"frame", "face", "track"})


def csv_writer(stream: TextIO, columns: Sequence[str]) -> Writer:
    """Writes the header now and one line per row later; empty cells for None, `true` and `false` for booleans."""
    table = csv.DictWriter(stream, columns, lineterminator="\n")
    table.writeheader()
    stream.flush()

    def write(analysis: Analysis) -> None:
        table.writerows({key: _cell(value) for key, value in row.items()} for row in analysis.to_rows())
        stream.flush()

    return write


def jsonl_writer(stream: TextIO, columns: Sequence[str]) -> Writer:
    """One JSON object per row with all columns; null for None."""

    def write(analysis: Analysis) -> None:
        stream.writelines(_line(row, columns) for row in analysis.to_rows())
        stream.flush()

    return write


@contextmanager
def parquet_writer(file: Path, columns: Sequence[str]) -> Iterator[Writer]:
    """Collects some thousand rows at a time; the file can be read when the context is left, for whatever reason.

    Raises:
        MissingExtra: the extra "parquet" is not installed.
    """
    schema = arrow_schema(columns)
    import pyarrow
    from pyarrow import parquet

    rows: list[Row] = []
    with parquet.ParquetWriter(file, schema) as table:

        def flush() -> None:
            if rows:
                table.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows.clear()

        def write(analysis: Analysis) -> None:
            rows.extend(analysis.to_rows())
            if len(rows) >= _ROWS_AT_ONCE:
                flush()

        try:
            yield write
        finally:
            flush()


def arrow_schema(columns: Sequence[str]) -> "pyarrow.Schema":
    """Types of the columns: text as strings, frame, face and track as 64-bit integers, `uncertain` as booleans, all
    else as doubles.

    Raises:
        MissingExtra: the extra "parquet" is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("writing Parquet", "parquet") from error
    return pyarrow.schema([(name, _type(pyarrow, name)) for name in columns])


def _type(pyarrow: Any, column: str) -> "pyarrow.DataType":
    if column in _TEXTS:
        return pyarrow.string()
    if column in _WHOLE:
        return pyarrow.int64()
    return pyarrow.bool_() if column == "uncertain" else pyarrow.float64()


FORMATS: dict[str, Callable[[TextIO, Sequence[str]], Writer]] = {"csv": csv_writer, "jsonl": jsonl_writer}


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _line(row: Row, columns: Sequence[str]) -> str:
    return json.dumps({column: row[column] for column in columns}, ensure_ascii=False, allow_nan=False) + "\n"
