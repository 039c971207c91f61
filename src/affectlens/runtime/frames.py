"""Rows as typed data frames, and tables read back from files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from affectlens.core.columns import Column, Kind, Row, Schema
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.runtime.tables import read_arrow, schema_of_table

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {Kind.TEXT: "string", Kind.INTEGER: "Int64", Kind.BOOLEAN: "boolean", Kind.REAL: "float64"}
"""Types of pandas that keep their values where cells are empty; reals are NaN there."""


@runtime_checkable
class Tabular(Protocol):
    """What has rows, such as an `Analysis`."""

    @property
    def schema(self) -> Schema:
        """The columns of the rows."""
        ...

    def to_rows(self) -> list[Row]:
        """One dictionary per face, or one with the reason."""
        ...


def to_pandas(analyses: "Tabular | Iterable[Tabular | Iterable[Tabular]]") -> "pd.DataFrame":
    """Rows of one analysis, or of several with the same columns, as one typed data frame; also accepts the result of
    `analyses_of`.

    Text is "string", integers are "Int64", booleans "boolean", reals float64, and `expression`, `va_source` and
    `reason` are categories with all their possible values, so data frames of photos without a face can be concatenated
    with others and keep their types.

    Raises:
        MissingExtra: pandas is not installed. BadSetting: the argument is empty or something else, or the analyses have
            different columns.
    """
    pandas = _pandas("to_pandas()")
    rows: list[Row] = []
    schema: Schema | None = None
    for analysis in _each(analyses):
        schema = schema or analysis.schema
        if analysis.schema.names != schema.names:
            raise BadSetting("analyses from models or measures with different columns cannot be combined in one table")
        rows += analysis.to_rows()
    if schema is None:
        raise BadSetting("a data frame needs at least one analysis, which defines its columns")
    return typed(pandas.DataFrame(rows, columns=list(schema.names)), schema)


def _each(analyses: Any) -> Iterator[Tabular]:
    """The analyses one by one.  Raises BadSetting."""
    if isinstance(analyses, Tabular):
        yield analyses
    elif isinstance(analyses, Iterable) and not isinstance(analyses, (str, bytes, Path)):
        for one in analyses:
            yield from _each(one)
    else:
        raise BadSetting(f"expected analyses, as returned by Analyzer.analyze, got {type(analyses).__name__}")


def read_table(path: str | Path) -> "pd.DataFrame":
    """Read a table of `affectlens analyze` or a shard of `affectlens batch` (.parquet, .csv or .jsonl), with the types
    of `to_pandas`. Columns of a measure that is not installed here get the type stated in a Parquet file; in other
    files they keep the type they are read with.

    Raises:
        BadSetting: unknown suffix. BadData: the file is not such a table. MissingExtra: pandas, or the extra "parquet",
            is not installed. OSError: the file cannot be read.
    """
    _pandas("read_table()")
    table = read_arrow(Path(path))
    schema = schema_of_table(table)
    if "source" not in table.column_names or len(schema.labels) < 2:
        raise BadData(f"'{path}' is not a table of 'affectlens analyze'")
    return typed(table.to_pandas(), schema)


def typed(frame: "pd.DataFrame", schema: Schema) -> "pd.DataFrame":
    """The frame with the types of those columns of the schema that it has."""
    pandas = _pandas("a data frame")
    known = [column for column in schema.columns if column.name in frame.columns]
    return frame.astype({column.name: _type(pandas, column, frame[column.name]) for column in known})


def _type(pandas: Any, column: Column, cells: "pd.Series") -> Any:
    """The type of a column; a category has those of the column, and others that were found behind them."""
    if column.kind is not Kind.CATEGORY:
        return _TYPES[column.kind]
    others = sorted(set(cells.dropna().unique()) - set(column.categories))
    return pandas.CategoricalDtype([*column.categories, *others])


def _pandas(what: str) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra(what, "pandas") from error
    return pandas
