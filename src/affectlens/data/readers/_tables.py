"""Text tables of data sets, read line by line, with the location for error messages."""

import csv
from collections.abc import Iterator
from pathlib import Path

from affectlens.core.errors import BadData


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """Place ("FILE, line N") and text of every line up to the last that is not blank.

    Raises:
        BadData: the file is missing or no text.
    """
    if not file.is_file():
        raise BadData(f"the label table '{file}' does not exist")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"cannot read '{file}' as a text table: {error}") from error
    for number, line in enumerate(text.rstrip().splitlines(), start=1):
        yield f"{file}, line {number}", line


def cells(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of every line of a CSV file without a header.

    Raises:
        As `lines`.
    """
    for place, line in lines(file):
        yield place, next(csv.reader([line]))


def rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells by column of every row of a CSV file, which must have `columns` and may have others.

    Raises:
        BadData: the file is missing or no text, lacks a column, or a row has more or fewer cells than the header.
    """
    if not file.is_file():
        raise BadData(f"the label table '{file}' does not exist")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or ()
            missing = [name for name in columns if name not in found]
            if missing:
                raise BadData(f"'{file}' lacks the column '{missing[0]}'; found: {', '.join(found) or 'nothing'}")
            for row in reader:
                place = f"{file}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise BadData(f"{place}: expected {len(found)} cells, one per column")
                yield place, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"cannot read '{file}' as a text table: {error}") from error


def number(text: str, place: str, what: str) -> float:
    """`text` as a number, which may be NaN.

    Raises:
        BadData: it is none; the message names `place` and `what`.
    """
    try:
        return float(text)
    except ValueError as error:
        raise BadData(f"{place}: {what} must be a number, got '{text}'") from error


def whole(text: str, place: str, what: str) -> int:
    """`text` ("3", "3.0", "3.0000000e+00") as a whole number.

    Raises:
        BadData: it is none; the message names `place` and `what`.
    """
    value = number(text, place, what)
    if not value.is_integer():
        raise BadData(f"{place}: {what} must be an integer, got '{text}'")
    return int(value)
