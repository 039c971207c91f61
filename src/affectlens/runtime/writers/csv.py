"""CSV: a header and one line per row; empty cells for None, `true` and `false` for booleans. A text that a spreadsheet
would take for a formula begins with an apostrophe (`core.csv_lines`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from affectlens.core.columns import Schema
from affectlens.core.csv_lines import csv_line
from affectlens.core.files import text_output
from affectlens.core.messages import visible
from affectlens.runtime.analysis import Analysis, Writer


@contextmanager
def build(file: Path | None, schema: Schema, raw: bool = False) -> Iterator[Writer]:
    """Write to a file, or to standard output; each analysis is there for other readers when its call returns. With
    `raw`, texts are written as they are; without, control characters are escaped where standard output is a terminal.

    Raises:
        OSError: the file cannot be written.
    """
    with text_output(file) as stream:
        escaped = not raw and stream.isatty()

        def line(cells: Iterable[Any]) -> str:
            text = csv_line(cells, raw)
            return f"{visible(text[:-1])}\n" if escaped else text

        stream.write(line(schema.names))
        stream.flush()

        def write(analysis: Analysis) -> None:
            stream.writelines(line(map(row.get, schema.names)) for row in analysis.to_rows())
            stream.flush()

        yield write
