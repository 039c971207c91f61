"""CSV: a header and one line per row; empty cells for None, `true` and `false` for booleans."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from affectlens.core.columns import Schema
from affectlens.core.files import text_output
from affectlens.runtime.analysis import Analysis, Writer


@contextmanager
def build(file: Path | None, schema: Schema) -> Iterator[Writer]:
    """Write to a file, or to standard output; each analysis is there for other readers when its call returns.

    Raises:
        OSError: the file cannot be written.
    """
    with text_output(file) as stream:
        table = csv.DictWriter(stream, schema.names, lineterminator="\n")
        table.writeheader()
        stream.flush()

        def write(analysis: Analysis) -> None:
            table.writerows({name: _cell(value) for name, value in row.items()} for row in analysis.to_rows())
            stream.flush()

        yield write


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
