"""Analyses to CSV and JSON lines, row by row as they come."""

import csv
import json
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from affectlens.runtime.analysis import Analysis, Row

Writer = Callable[[Analysis], None]


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


FORMATS: dict[str, Callable[[TextIO, Sequence[str]], Writer]] = {"csv": csv_writer, "jsonl": jsonl_writer}


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _line(row: Row, columns: Sequence[str]) -> str:
    return json.dumps({column: row[column] for column in columns}, ensure_ascii=False, allow_nan=False) + "\n"
