"""Analyses as a table for people."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from affectlens.apps.cli.console import PLAIN
from affectlens.apps.cli.console import out as terminal
from affectlens.core.affect import Face
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.writers import Writer

_WIDTH = 160


@contextmanager
def table_writer(file: Path | None) -> Iterator[Writer]:
    """Collects analyses and prints one table at the end, to `file` or the terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("source", "face", "expression", "probability", "disagreement", "valence", "arousal", "box", "score"):
        left = name in ("source", "expression", "box")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "source", overflow="fold")

    def write(analysis: Analysis) -> None:
        for index, face in enumerate(analysis.faces):
            table.add_row(analysis.source, str(index), *_cells(face))
        if not analysis.faces:
            table.add_row(analysis.source, "", Text(f"- {analysis.reason}", style="dim"))

    with ExitStack() as stack:
        stream = stack.enter_context(file.open("w", encoding="utf-8")) if file else None
        try:
            yield write
        finally:
            wide = stream or not terminal.is_terminal
            (Console(file=stream, width=_WIDTH, **PLAIN) if wide else terminal).print(table, soft_wrap=False)


def _cells(face: Face) -> list[str]:
    x1, y1, x2, y2 = (round(float(value)) for value in face.box_xyxy)
    return [
        f"uncertain ({face.expression}?)" if face.uncertain else face.expression,
        f"{face.probabilities[face.expression]:.2f}",
        f"{face.disagreement:.2f}",
        _signed(face.valence),
        _signed(face.arousal),
        f"{x1},{y1} {x2 - x1}x{y2 - y1}",
        f"{face.score:.2f}",
    ]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
