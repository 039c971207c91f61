"""JSON Lines: one object per row with all columns; null for None. Characters that control terminals are escaped."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectlens.core.columns import Schema
from affectlens.core.files import text_output
from affectlens.core.messages import visible_json
from affectlens.runtime.analysis import Analysis, Writer


@contextmanager
def build(file: Path | None, schema: Schema) -> Iterator[Writer]:
    """Write to a file, or to standard output; each analysis is there for other readers when its call returns.

    Raises:
        OSError: the file cannot be written.
    """
    del schema  # every row names its columns
    with text_output(file) as stream:

        def write(analysis: Analysis) -> None:
            lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in analysis.to_rows())
            stream.writelines(f"{visible_json(line)}\n" for line in lines)
            stream.flush()

        yield write
