import io

import pyarrow as pa
from pyarrow import parquet

from affectlens.core.parquet_file import batches_of


def opened(table, **options):
    stream = io.BytesIO()
    parquet.write_table(table, stream, **options)
    return parquet.ParquetFile(stream)


def test_rows_come_in_order_some_at_a_time():
    file = opened(pa.table({"a": range(700), "b": range(700)}), row_group_size=600)
    batches = list(batches_of(file, ["a"]))
    assert [batch.num_rows for batch in batches] == [256, 256, 88, 100]
    assert [row["a"] for batch in batches for row in batch.to_pylist()] == list(range(700))


def test_cells_that_a_dictionary_makes_large_come_one_by_one():
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5, pa.int32()), pa.array([bytes(200_000_000)]))
    file = opened(pa.table({"a": column}), compression="zstd", store_schema=False)
    assert [batch.num_rows for batch in batches_of(file, ["a"])] == [1] * 5
