"""Summaries of tables of `analyze` and shards of `batch`, by a query engine that reads lazily and spills to disk."""

import gzip
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from affectlens.core.columns import Row, Schema
from affectlens.core.csv_file import csv_cells
from affectlens.core.csv_lines import GUARDED, csv_line
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.files import limited_lines, open_text, output_file
from affectlens.core.headers import schema_in

OWN = ("expression", "source", "window")
"""What faces can be grouped by, beside the columns of a file of groups."""

PLANE_CELLS = 20
"""Cells along valence and along arousal."""

_COMPUTED = ("window_s", "grouped", "faces", "share", "sources", "mostly")
_LAST = "regexp_replace(rows.source, '^.*{}', '')"
_SEPARATORS = ",;\t"
_WRITTEN_AT_ONCE = 1000
_NEEDED = (
    *("source", "time_s", "face", "expression", "uncertain", "reason"),
    *(column.name for column in Schema(()).columns if column.averaged),
)


class Summary:
    """The rows of Parquet files, to be summed up. A context manager.

    Args:
        path: a Parquet file, or a folder of them.
        groups: a CSV file (in UTF-8; separated by commas, semicolons or tabs) with a column `source` (the source of the
            rows, or the name of its file) and others to group by.
        window_s: length of the time windows of `window`, from the beginning of each video.
        memory_mb: what the engine may use before it spills to disk.
        shards: the files of the folder that count; None: all Parquet files.

    Attributes:
        labels: of the model. groups: the columns of the file of groups.
        means: the columns of the rows whose means are stated.

    Raises:
        BadData: there are no such files, or they lack the columns of `affectlens analyze`. BadSetting: `window_s` is
            not above 0. MissingExtra: the extra "summary" is not installed.
    """

    def __init__(
        self,
        path: Path,
        groups: Path | None = None,
        window_s: float = 60.0,
        memory_mb: int = 512,
        shards: Sequence[Path] | None = None,
    ) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise MissingExtra("a summary", "summary") from error
        if not 0 < window_s < math.inf:
            raise BadSetting(f"a time window must be a finite number of seconds > 0, got {window_s}")
        files = shards if shards is not None else sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not all(_is_parquet(file) for file in files):
            if not path.exists():
                raise BadData(f"'{path}' does not exist")
            raise BadData(
                f"'{path}' is neither a Parquet file of rows nor a batch folder; other formats cannot be summed up"
            )
        if groups is not None and not groups.is_file():
            raise BadData(f"the groups file '{groups}' {'is not a file' if groups.exists() else 'does not exist'}")
        self._error = duckdb.Error
        self._spill = TemporaryDirectory(prefix="affectlens-")
        settings = {"memory_limit": f"{memory_mb}MB", "temp_directory": self._spill.name}
        settings |= {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}  # no network
        self._base = duckdb.connect(config=settings)
        self._base.execute("set preserve_insertion_order = false; set enable_progress_bar = false")
        self._window_s = window_s
        try:
            self._open(files, groups)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()
        self._spill.cleanup()

    def _open(self, files: Sequence[Path], groups: Path | None) -> None:
        """A view of the rows, with the columns of their groups."""
        listed = ", ".join(f"'{_quoted(_verbatim(file))}'" for file in files)
        rows = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        relation = self._run(f"select * from {rows} limit 0")
        found = [column[0] for column in relation.description]
        schema = schema_in(found)
        self.labels = schema.labels
        self.means = tuple(column for column in schema.columns if column.averaged and column.name in found)
        if missing := [name for name in _NEEDED if name not in found]:
            raise BadData(f"'{files[0]}' is not a table of 'affectlens analyze': it lacks {', '.join(missing)}")
        self.groups: tuple[str, ...] = ()
        joins = cells = ""
        if groups is not None:
            self.groups = self._describe(groups, (*found, *OWN, *_COMPUTED, *(f"n_{label}" for label in self.labels)))
            named = {"a": "rows.source", "b": _LAST.format("/"), "c": _LAST.format("[/#]")}  # and of what is in a tar
            cells = "".join(
                f", coalesce({', '.join(f'{one}.{_name(key)}' for one in named)}) as {_name(key)}"
                for key in self.groups
            )
            cells += f", coalesce({', '.join(f'{one}.source' for one in named)}) is not null as grouped"
            joins = "".join(f" left join described {one} on {one}.source = {name}" for one, name in named.items())
        window = f"floor(time_s / {self._window_s}) * {self._window_s} as window_s"
        self._run(f"create view faces as select rows.*, {window}{cells} from {rows} rows{joins}")

    def _describe(self, file: Path, taken: Sequence[str]) -> tuple[str, ...]:
        """The columns to group by in a file of groups, and the table `described` of its lines that name a source."""
        columns, separator = _header(file)
        groups = tuple(name for name in columns if name != "source")
        if "source" not in columns or not groups:
            raise BadData(f"'{file}' must have a column 'source' and columns to group by, got {', '.join(columns)}")
        if "" in columns:
            raise BadData(f"'{file}' has a column without a name")
        folded = [name.casefold() for name in columns]
        if twice := [name for name, key in zip(columns, folded, strict=True) if folded.count(key) > 1]:
            raise BadData(f"'{file}' has the column '{twice[-1]}' twice")
        own = {name.casefold() for name in taken if name != "source"}
        if also := [name for name in groups if name.casefold() in own]:
            raise BadData(f"the column '{also[0]}' in '{file}' is also a column of the rows; rename it")
        lines = "read_csv(?, delim = ?, columns = ?, header = true, quote = '\"', escape = '\"', auto_detect = false, "
        lines += "hive_partitioning = false)"
        values = [_verbatim(file), separator, dict.fromkeys(columns, "VARCHAR")]
        try:
            source = f"regexp_replace(source, '{_quoted(GUARDED)}', '\\1') as source"  # as in tables of `analyze`
            self._base.execute(
                f"create table described as select * replace ({source}) from {lines} where source is not null", values
            )
        except self._error as error:
            said = "; ".join(str(error).removeprefix("Invalid Input Error: ").splitlines()[:3])
            raise BadData(f"cannot read '{file}': {said}") from error
        names = self._run("select source from described group by source having count(*) > 1 limit 1").fetchone()
        if names:
            raise BadData(f"'{file}' lists '{names[0]}' twice")
        return groups

    def overall(self) -> Row:
        """Rows, sources, faces, and how many rows have no face for which reason.

        With groups also `ungrouped`: how many sources the file of groups does not name, and one of them.
        """
        rows, faces = self._run("select count(*), count(face) from faces").fetchone()
        (sources,) = self._run("select count(*) from (select source from faces group by source)").fetchone()
        reasons = self._run(
            "select reason, count(*) from faces where reason is not null group by reason order by 2 desc, 1"
        ).fetchall()
        facts = {"rows": rows, "sources": sources, "faces": faces, "reasons": dict(reasons)}
        if self.groups:
            lost = "select count(*), min(source) from (select source from faces where not grouped group by source)"
            facts["ungrouped"] = dict(zip(("sources", "one"), self._run(lost).fetchone(), strict=True))
        return facts

    def table(self, by: Sequence[str], most: int | None = None) -> list[Row]:
        """A row for each value of the keys `by`, which stand first in it.

        `faces`, their `share` of all, `sources`, `uncertain` (share), the `means` (None where no face has one),
        `mostly` (the most frequent label) and how many faces have each (`n_LABEL`).
        Windows come in order, labels and sources by their faces; `most` rows at most.

        Raises:
            BadSetting: there is no such key.
        """
        query = self._query(by) + ("" if most is None else f" limit {int(most)}")
        answer = self._run(query)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, cells, strict=True)) for cells in answer.fetchall()]

    def count(self, by: Sequence[str]) -> int:
        """How many rows `table` has.  Raises BadSetting."""
        keys = ", ".join(self._keys(by))
        (found,) = self._run(
            f"select count(*) from (select {keys} from faces where {_counted(by)} group by all)"
        ).fetchone()
        return int(found)

    def write_csv(self, by: Sequence[str], file: Path, raw: bool = False) -> None:
        """All rows of `table`, as they come from the engine; with `raw`, texts that a spreadsheet would take for
        formulas as they are (see `core.csv_lines`).  Raises BadSetting, BadData, OSError.
        """
        with output_file(file) as unfinished:  # what cannot be written is known before anything is computed
            opened = gzip.open if file.suffix == ".gz" else open
            with opened(unfinished, "wt", newline="", encoding="utf-8") as stream:
                answer = self._run(self._query(by))
                stream.write(csv_line((column[0] for column in answer.description), raw))
                with self._readable():
                    while rows := answer.fetchmany(_WRITTEN_AT_ONCE):
                        stream.writelines(csv_line(row, raw) for row in rows)

    def plane(self) -> list[tuple[float, float, int]]:
        """Middle (valence, arousal) and faces of each filled cell of a grid over their plane, a tenth wide."""
        cell = "least(floor(({} + 1) / 2 * {cells}), {cells} - 1)"
        x, y = (cell.format(name, cells=PLANE_CELLS) for name in ("valence", "arousal"))
        found = self._run(
            f"select {x}, {y}, count(*) from faces where valence is not null and arousal is not null group by all"
        ).fetchall()
        side = 2 / PLANE_CELLS
        return [((column + 0.5) * side - 1, (row + 0.5) * side - 1, faces) for column, row, faces in found]

    def _keys(self, by: Sequence[str]) -> list[str]:
        known = (*OWN, *self.groups)
        if unknown := [key for key in by if key not in known]:
            raise BadSetting(f"by must be one of {', '.join(known)}, got '{unknown[0]}'")
        return [_name("window_s" if key == "window" else key) for key in by]

    def _query(self, by: Sequence[str]) -> str:
        """In two steps, so that counting sources never holds them all."""
        keys = self._keys(by)
        listed = "".join(f"{key}, " for key in keys)
        counts = "".join(
            f", count(*) filter (expression = '{_quoted(label)}') as n{i}" for i, label in enumerate(self.labels)
        )
        sums = "".join(f", sum(n{i})::bigint as {_name('n_' + label)}" for i, label in enumerate(self.labels))
        parts = "".join(
            f", sum({_name(c.name)}) as s_{c.name}, count({_name(c.name)}) as c_{c.name}" for c in self.means
        )
        means = "".join(f", sum(s_{c.name}) / nullif(sum(c_{c.name}), 0) as {_name(c.name)}" for c in self.means)
        most = "greatest(" + ", ".join(f"sum(n{i})" for i in range(len(self.labels))) + ")"
        mostly = "case " + " ".join(
            f"when sum(n{i}) = {most} then '{_quoted(label)}'" for i, label in enumerate(self.labels)
        )
        narrow = (
            f"select {listed}source as its_source, count(*) as n, sum(uncertain::int) as u{parts}{counts} "
            f"from faces where {_counted(by)} group by all"
        )
        order = ", ".join(keys) if "window" in by else f"faces desc, {', '.join(keys)}"
        return (
            f"select {listed}sum(n)::bigint as faces, sum(n) / sum(sum(n)) over () as share, count(*) as sources, "
            f"sum(u) / sum(n) as uncertain{means}, {mostly} end as mostly{sums} "
            f"from ({narrow}) group by {', '.join(keys)} order by {order}"
        )

    def _run(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Raises BadData where the engine cannot read or compute it."""
        with self._readable():
            return self._base.execute(query, list(values))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Convert errors of the engine.  Raises BadData."""
        try:
            yield
        except self._error as error:
            raise BadData(f"cannot summarise the rows: {str(error).partition(chr(10))[0]}") from error


def _header(file: Path) -> tuple[list[str], str]:
    """The names of the columns of a CSV file, and what separates them."""
    try:
        with open_text(file, encoding="utf-8-sig", newline="") as stream:
            first = next(limited_lines(stream), "")
    except UnicodeDecodeError as error:
        raise BadData(f"'{file}' is not encoded in UTF-8; save it as UTF-8") from error
    separator = max(_SEPARATORS, key=first.count)
    return csv_cells(first, f"'{file}', line 1", separator), separator


def _counted(by: Sequence[str]) -> str:
    """Which rows belong to a table: those with a face, in windows those of videos."""
    return "face is not null and window_s is not null" if "window" in by else "face is not null"


def _is_parquet(file: Path) -> bool:
    """Whether a file is there and begins as one."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _verbatim(file: Path) -> str:
    """A path with all wildcard characters of the engine escaped."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(file))


def _name(column: str) -> str:
    """A column in a query."""
    return '"' + column.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return text.replace("'", "''")
