"""Text tables of data sets, read line by line, with the location for error messages."""

from collections.abc import Iterator
from pathlib import Path

from affectlens.core.csv_file import csv_cells, csv_rows
from affectlens.core.errors import BadData
from affectlens.core.files import read_text


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """Place ("FILE, line N") and text of every line up to the last that is not blank.

    Raises:
        BadData: the file is missing or no text.
    """
    if not file.is_file():
        raise BadData(f"the label table '{file}' does not exist")
    try:
        text = read_text(file, encoding="utf-8-sig")
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
        yield place, csv_cells(line, place)


def rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells by column of every row of a CSV file, which must have `columns` and may have others.

    Raises:
        BadData: the file is missing or no text, lacks a column, or a row has more or fewer cells than the header.
    """
    if not file.is_file():
        raise BadData(f"the label table '{file}' does not exist")
    yield from csv_rows(file, columns)


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
