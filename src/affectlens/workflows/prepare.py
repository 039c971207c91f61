"""Convert a data set to Parquet shards."""

from collections import Counter
from pathlib import Path

from affectlens.core.errors import BadData
from affectlens.core.progress import SILENT, Progress, track
from affectlens.data import prepare as preparing
from affectlens.data.source import DataSource
from affectlens.workflows.data import source_of


def prepare(
    data: str | Path | DataSource,
    out: str | Path,
    *,
    shard_rows: int = preparing.SHARD_ROWS,
    progress: Progress = SILENT,
) -> Counter[tuple[str, str | None]]:
    """Write a data set as Parquet shards into the folder `out` (extra `parquet`), as `data.prepare` describes them.

    Args:
        data: as in `load_data`.
        out: folder of the shards, made if need be.
        shard_rows: number of faces per shard.
        progress: receives the progress.

    Returns:
        (split, None) -> faces written, (split, reason) -> faces left out for that reason.

    Raises:
        BadSetting: `out` holds Parquet files already, or another process is preparing some there. MissingExtra: pyarrow
            is not installed. BadData: the data cannot be read, or no face of them could be written. UnknownName: no
            such reader. OSError: `out` cannot be written.
    """
    source = source_of(data)
    rows = preparing.prepare(source, Path(out).expanduser(), shard_rows)
    counts = Counter(track(rows, progress, "preparing"))
    if not any(reason is None for _, reason in counts):
        name = source.name if isinstance(data, DataSource) else data
        raise BadData(f"no sample of '{name}' could be written: {_reasons(counts)}")
    return counts


def _reasons(counts: Counter[tuple[str, str | None]]) -> str:
    """What was left out and why, in one line."""
    return ", ".join(f"{count:,} {split} ({reason})" for (split, reason), count in counts.items()) or "it has none"
