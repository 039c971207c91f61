"""Lines of CSV files in which no spreadsheet finds a formula: names of files and labels are written by other people."""

import re
from collections.abc import Iterable
from typing import Any

_BEGINNING = r"('*[=+\-@\t\r\n＝＋－＠])"
GUARDED = rf"^'{_BEGINNING}"
"""A text that `csv_line` has guarded; its first group, and what follows, is the text itself. Python, Arrow and DuckDB
read this expression alike.
"""

_FORMULA = re.compile(f"^{_BEGINNING}")
_TO_QUOTE = re.compile(r'[",;\t\r\n]')
"""Some spreadsheets split at semicolons and tabs as well."""


def csv_line(cells: Iterable[Any], raw: bool = False) -> str:
    """A row with its line end: nothing for None, `true` and `false` for booleans.

    A text that begins like a formula, or like one behind apostrophes, gets an apostrophe before it, which `text_of`
    takes away. With `raw`, texts are written as they are.
    """
    return ",".join(_written(cell, raw) for cell in cells) + "\n"


def text_of(cell: str) -> str:
    """The text that `csv_line` has written as this cell."""
    return re.sub(GUARDED, r"\1", cell)


def _written(cell: Any, raw: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if not isinstance(cell, str):
        return str(cell)
    text = cell if raw else _FORMULA.sub(r"'\1", cell)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if _TO_QUOTE.search(text) else text
