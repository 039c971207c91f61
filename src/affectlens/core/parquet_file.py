"""Reading of Parquet files in parts that fit into memory."""

from collections.abc import Iterator, Sequence
from typing import Any

_MOST_BYTES, _MOST_ROWS = 1 << 28, 256


def batches_of(file: Any, columns: Sequence[str]) -> Iterator[Any]:
    """Record batches with some columns of a `pyarrow.parquet.ParquetFile`, in order.

    A dictionary lets a small file hold large cells many times over, so a batch has as few rows as would fit if each
    cell were as large as its column.
    """
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        largest = max((group.column(i).total_uncompressed_size for i in range(group.num_columns)), default=0)
        rows = max(1, min(_MOST_ROWS, _MOST_BYTES // max(largest, 1)))
        yield from file.iter_batches(rows, row_groups=[number], columns=list(columns))
