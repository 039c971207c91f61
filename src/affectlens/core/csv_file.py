"""Reading of CSV files, whatever is in them."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.files import limited_lines, open_text


def csv_lines(file: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and cells of every row that is not blank, read one by one.

    Raises:
        BadData: the file cannot be read, is not encoded in UTF-8 or no CSV, or has a line or a cell that is too long.
    """
    try:
        with open_text(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(limited_lines(stream), delimiter=separator)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error, BadData) as error:
        raise BadData(f"cannot read '{file}' as a text table: {_said(error)}") from error


def csv_cells(line: str, where: str, separator: str = ",") -> list[str]:
    """The cells of one line.  Raises BadData, which names `where`."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise BadData(f"{where}: {error}") from error


def csv_rows(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Place ("FILE, line N") and cells by column of every row below the header, which must have `columns`.

    Raises:
        BadData: as `csv_lines`, or the file lacks a column, or a row has more or fewer cells than the header.
    """
    lines = csv_lines(file)
    _, found = next(lines, (0, []))
    if missing := [name for name in columns if name not in found]:
        raise BadData(f"'{file}' lacks the column '{missing[0]}'; found: {', '.join(found) or 'nothing'}")
    for number, cells in lines:
        place = f"{file}, line {number}"
        if len(cells) != len(found):
            raise BadData(f"{place}: expected {len(found)} cells, one per column")
        yield place, dict(zip(found, cells, strict=True))


def _said(error: Exception) -> str:
    """What is wrong, without the name of the file."""
    return getattr(error, "strerror", None) or str(error)
