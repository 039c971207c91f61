"""From columns of photos to a table of rows: the engine for third-party pipelines."""

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
    """Analyze batches of photos: usable as an actor in Ray Data's `map_batches`, and as a function in the `map` of
    Hugging Face datasets and in Spark's `mapInArrow` and `mapInPandas` (docs/batch.md has an example of each).

    It can be pickled; each process loads the model with its first batch.

    Args:
        column: column of the photos: paths, bytes of files, structures with `bytes` or `path`, RGB uint8 arrays, or PIL
            images.
        name: column with the name of each photo in the results; by default the path, if there is one.
        keep: columns to copy into every row of a photo.
        options: options of `Analyzer`; give `model` and `detector` by name, so that they can be pickled.
    """

    def __init__(self, column: str = "image", name: str = "", keep: Sequence[str] = (), **options: Any) -> None:
        self._column, self._name, self._keep = column, name, tuple(keep)
        self._options = options
        self._opened: Analyzer | None = None

    @property
    def analyzer(self) -> Analyzer:
        """The analyzer of this process.  Raises the same errors as `Analyzer`."""
        if self._opened is None:
            self._opened = Analyzer(**self._options)
        return self._opened

    @property
    def schema(self) -> "pyarrow.Schema":
        """Schema of the rows, without the columns in `keep`.  Raises MissingExtra without the extra "parquet"."""
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
