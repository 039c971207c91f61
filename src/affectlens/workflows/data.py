"""Data sets by the names that users give."""

from pathlib import Path

from affectlens.data import source as sources
from affectlens.data.source import DataSource, SourcePart
from affectlens.data.table import FaceTable

_TABLES = (".csv", ".parquet")


def source_of(data: str | Path | DataSource) -> DataSource:
    """A data set by name, "NAME:FOLDER[?key=value&...]", several joined by "+"; the path of a folder with one folder of
    pictures per label; or the path of a CSV or Parquet file with the columns `path` and `expression`.

    Raises:
        As `data.source.parse`.
    """
    if isinstance(data, DataSource):
        return data
    path = Path(data).expanduser()
    if path.is_dir():
        return DataSource((SourcePart("folder", path),))
    if path.suffix.lower() in _TABLES and path.is_file():
        return DataSource((SourcePart("table", path),))
    return sources.parse(str(data))


def load_data(data: str | Path | DataSource, split: str = "train") -> FaceTable:
    """Load the labelled faces of a split.

    Args:
        data: "NAME:FOLDER[?key=value&...]", several joined by "+", or the path of a folder with one folder of pictures
            per label, or of a CSV or Parquet file with the columns `path` and `expression`.
        split: "train", "valid" or "test"; if the data have no splits, a tenth of the faces each is used for valid and
            test.

    Raises:
        BadData: the data cannot be read, or the split has no faces. BadSetting: the split or an option does not exist.
            UnknownName: the reader does not exist.
    """
    return source_of(data).load(split)
