"""Columns of photos in, a table of rows out: the engine for other people's pipelines."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affectlens.core.columns import Row
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.tables import arrow_schema

if TYPE_CHECKING:
    import pyarrow


class BatchAnalyzer:
    """Analyzes batches of photos: an actor for Ray Data's `map_batches`, a function for the `map` of Hugging Face
    datasets and for Spark's `mapInArrow` and `mapInPandas` (docs/batch.md has one of each).

    It can be pickled; each process opens the model for itself, at its first batch.

    Args:
        column: of the photos: paths, bytes of files, structures with `bytes` or `path`, RGB uint8 arrays, PIL images.
        name: column that says what the rows call their photo; default the path, where it is one.
        keep: columns that each row of a photo repeats.
        options: of `Analyzer`; `model` and `detector` by name, so that they can be pickled.
    """

    def __init__(self, column: str = "image", name: str = "", keep: Sequence[str] = (), **options: Any) -> None:
        self._column, self._name, self._keep = column, name, tuple(keep)
        self._options = options
        self._opened: Analyzer | None = None

    @property
    def analyzer(self) -> Analyzer:
        """The engine of this process.  Raises what `Analyzer` raises."""
        if self._opened is None:
            self._opened = Analyzer(**self._options)
        return self._opened

    @property
    def schema(self) -> "pyarrow.Schema":
        """Of the rows, but for the columns that are kept.  Raises MissingExtra without the extra "parquet"."""
        return arrow_schema(self.analyzer.schema)

    def __call__(self, batch: "Mapping[str, Sequence[Any]] | pyarrow.Table") -> "pyarrow.Table":
        """N photos -> a row for each face, or one that says why there is none; the columns of `affectlens analyze`.

        `batch` is a dictionary of columns, an Arrow table or a data frame. An empty cell has a row that says so.

        Raises:
            BadSetting: there is no such column, or a cell holds something else. MissingExtra: as `schema`.
        """
        import pyarrow

        photos = _cells(batch, self._column)
        names = _cells(batch, self._name) if self._name else [""] * len(photos)
        rows: list[Row] = []
        repeated: list[int] = []
        for number, (photo, name) in enumerate(zip(photos, names, strict=True)):
            found = self._analysis(_source(photo), str(name)).to_rows()
            rows += found
            repeated += [number] * len(found)
        table = pyarrow.Table.from_pylist(rows, schema=self.schema)
        for key in self._keep:
            column = batch[key] if isinstance(batch, pyarrow.Table) else pyarrow.array(_cells(batch, key))
            table = table.append_column(key, column.take(pyarrow.array(repeated, pyarrow.int64())))
        return table

    def _analysis(self, photo: Any, name: str) -> Analysis:
        if photo is None:
            return self.analyzer.recognizer.failed(name, UnreadableMedia(Reason.EMPTY_FILE, "the cell is empty"))
        return self.analyzer.analyze(photo, name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def _cells(batch: Any, column: str) -> list[Any]:
    try:
        cells = batch[column]
    except KeyError as error:
        raise BadSetting(
            f"the batch has no column '{column}'; its columns are {', '.join(map(str, _names(batch)))}"
        ) from error
    return cells.to_pylist() if hasattr(cells, "to_pylist") else list(cells)


def _names(batch: Any) -> list[Any]:
    return batch.column_names if hasattr(batch, "column_names") else list(batch)


def _source(cell: Any) -> Any:
    """What `Analyzer.analyze` takes; None where there is nothing."""
    if isinstance(cell, Mapping):
        return cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, float) and math.isnan(cell):  # a data frame's
        return None
    return bytes(cell) if isinstance(cell, (bytearray, memoryview)) else cell
