"""Typed Parquet, with the unit and meaning of each column in its metadata."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectlens.core.columns import Row, Schema
from affectlens.core.errors import BadSetting
from affectlens.core.files import output_file
from affectlens.runtime.analysis import Analysis, Writer
from affectlens.runtime.tables import arrow_schema

_MAX_ROWS = 5000


@contextmanager
def build(file: Path | None, schema: Schema) -> Iterator[Writer]:
    """Write to a file, some thousand rows at a time; it takes its name when the context is left, for whatever reason.

    Raises:
        BadSetting: there is no file. MissingExtra: the extra "parquet" is not installed. OSError: it cannot be written.
    """
    if file is None:
        raise BadSetting("Parquet cannot be written to the terminal; name a file")
    types = arrow_schema(schema)
    import pyarrow
    from pyarrow import parquet

    rows: list[Row] = []
    interruption: BaseException | None = None
    with output_file(file) as unfinished, parquet.ParquetWriter(unfinished, types) as table:

        def flush() -> None:
            if rows:
                table.write_table(pyarrow.Table.from_pylist(rows, schema=types))
                rows.clear()

        def write(analysis: Analysis) -> None:
            rows.extend(analysis.to_rows())
            if len(rows) >= _MAX_ROWS:
                flush()

        try:
            yield write
        except BaseException as error:
            interruption = error
        flush()
    if interruption is not None:
        raise interruption
