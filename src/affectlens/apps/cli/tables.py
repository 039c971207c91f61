"""Analyses as a table on the terminal."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from affectlens.apps.cli.console import PLAIN, Table, print_table
from affectlens.apps.cli.console import out as terminal
from affectlens.core.affect import Face
from affectlens.core.columns import Schema
from affectlens.core.files import output_file
from affectlens.runtime.analysis import Analysis, Writer
from affectlens.runtime.people import People, Person

_WIDE = 160
_NARROW_BELOW = 131
_ALWAYS = ("source", "face", "expression", "probability", "valence", "arousal")
_WHERE_WIDE = ("va_source", "disagreement", "quality", "box", "score")
_PERSONS_NARROW_BELOW = 100
_OF_PERSONS = ("source", "person", "from s", "to s", "frames", "mostly", "share", "uncertain", "valence", "arousal")
_WHERE_PERSONS_FIT = ("from s", "to s", "uncertain")
_LEFT = ("source", "expression", "va_source", "quality", "box")
_SCHEMA = Schema(())
_CELLS = [_SCHEMA[name] for name in ("valence", "arousal", "va_source", "disagreement", "quality", "score")]
"""Those that stand in the table as in a row, rounded for people."""


@contextmanager
def table_writer(file: Path | None) -> Iterator[Writer]:
    """Collects analyses and prints one table at the end, for whatever reason, to `file` or the terminal.

    A terminal of fewer than 131 columns gets a table without va_source, disagreement, quality, box and score; a long
    name folds.
    Videos have a second table, a line per person.
    """
    rows: list[dict[str, str | Text]] = []
    videos: dict[str, People] = {}

    def write(analysis: Analysis) -> None:
        if analysis.time_s is not None:
            videos.setdefault(analysis.source, People()).add(analysis)
            return
        rows.extend({"source": analysis.source, "face": str(i), **_cells(f)} for i, f in enumerate(analysis.faces))
        if not analysis.faces:
            rows.append({"source": analysis.source, "expression": Text(f"- {analysis.reason}", style="dim")})

    if file is not None:
        file.open("a").close()  # what cannot be written is known before anything is analyzed
    stream = None if file is None else io.StringIO()
    wide = stream or not terminal.is_terminal
    console = Console(file=stream, width=_WIDE, force_terminal=False, no_color=True, **PLAIN) if wide else terminal
    try:
        yield write
    finally:
        if rows:
            print_table(_table(rows, console.width), console, fold=True)
        if videos:
            print_table(_people(videos, console.width), console, fold=True)
        if file is not None and stream is not None:
            with output_file(file) as unfinished:
                unfinished.write_text(stream.getvalue(), encoding="utf-8")


def _table(rows: list[dict[str, str | Text]], width: int) -> Table:
    """The rows with the columns that fit into `width`."""
    names = _ALWAYS if width < _NARROW_BELOW else (*_ALWAYS, *_WHERE_WIDE)
    table = Table()
    for name in names:
        justify: Literal["left", "right"] = "left" if name in _LEFT else "right"
        folds = name in ("source", "quality")
        table.add_column(name, justify=justify, no_wrap=not folds, overflow="fold", min_width=len(name))
    for row in rows:
        table.add_row(*(row.get(name, "") for name in names))
    return table


def _people(videos: Mapping[str, People], width: int) -> Table:
    """A line per person of each video, with the columns that fit into `width`; shares are of the frames in which the
    person was seen.
    """
    names = [name for name in _OF_PERSONS if width >= _PERSONS_NARROW_BELOW or name not in _WHERE_PERSONS_FIT]
    table = Table()
    for name in names:
        justify: Literal["left", "right"] = "left" if name in ("source", "mostly") else "right"
        table.add_column(name, justify=justify, no_wrap=name != "source", overflow="fold", min_width=len(name))
    for source, people in videos.items():
        for person in people.persons.values():
            cells = {"source": source} | _cells_of(person)
            table.add_row(*(cells[name] for name in names))
        if not people.persons:
            nobody: dict[str, str | Text] = {"source": source, "mostly": Text("- no_face", style="dim")}
            table.add_row(*(nobody.get(name, "") for name in names))
    return table


def _cells_of(person: Person) -> dict[str, str]:
    expression, share = person.mostly
    valence, arousal = person.affect or (None, None)
    return {
        "person": str(person.track),
        "from s": f"{person.first_s:.1f}",
        "to s": f"{person.last_s:.1f}",
        "frames": str(person.frames),
        "mostly": expression,
        "share": f"{share:.0%}",
        "uncertain": f"{person.uncertain / person.frames:.0%}",
        "valence": _SCHEMA["valence"].shown(valence),
        "arousal": _SCHEMA["arousal"].shown(arousal),
    }


def _cells(face: Face) -> dict[str, str | Text]:
    x1, y1, x2, y2 = (round(float(value)) for value in face.box_xyxy)
    return {
        "expression": face.wording,
        "probability": f"{face.percent / 100:.2f}",
        "box": f"{x1},{y1} {x2 - x1}x{y2 - y1}",
        **{column.name: column.shown(column.cell(None, None, face)) for column in _CELLS},
    }
