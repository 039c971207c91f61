"""`affectlens analyze`: photos in, rows out."""

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import fail, track, warn
from affectlens.apps.cli.tables import table_writer
from affectlens.core.errors import AffectLensError, BadSetting, UnreadableMedia
from affectlens.core.offline import forbid_network
from affectlens.runtime.analysis import Analysis, columns
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import ANNOTATED, expand, save_image
from affectlens.runtime.writers import FORMATS, Writer


class Format(StrEnum):
    """Forms of the output."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(analyze)


def analyze(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Photos, folders (searched recursively) or globs.")
    ],
    model: Annotated[
        str, typer.Option(help="Expression model: 'bundled', a run folder, or an ONNX file exported by affectlens.")
    ] = "bundled",
    out: Annotated[Path | None, typer.Option(help="Write the rows to this file instead of the terminal.")] = None,
    format: Annotated[Format | None, typer.Option(help="Default: by the suffix of --out, else table.")] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each photo with its faces drawn into DIR, small ones enlarged."),
    ] = None,
    detector: Annotated[str, typer.Option(help="mtcnn, whole (the image is the face) or yunet:FILE.")] = "mtcnn",
    min_face: Annotated[
        int | None, typer.Option(metavar="PX", help="Side of the smallest face to look for.  [default: 40]")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse any use of the network by this process.")] = False,
) -> None:
    """Find the faces in photos and read their expression, valence and arousal.

    One row per face; a photo without a usable face gives one row with a reason. Exits 1 if no photo could be read.
    """
    if offline:
        forbid_network()
    analyzer = Analyzer(model, detector, min_face)
    items = list(dict.fromkeys(item for source in sources for item in expand(source)))
    inputs = {item.resolve() for _, item in items if isinstance(item, Path)}
    if out and out.resolve() in inputs:
        raise BadSetting(f"--out would overwrite the photo '{out}'")
    if annotate:
        annotate.mkdir(parents=True, exist_ok=True)
    read = 0
    with ExitStack() as stack:
        write = _open_writer(stack, analyzer, out, _format(format, out))
        taken = set(inputs)
        for name, item in track(items, len(items), "analyzing"):
            analysis = analyzer.failed(name, item) if isinstance(item, UnreadableMedia) else analyzer.analyze(item)
            read += analysis.image is not None
            write(analysis)
            if annotate:
                try:
                    _annotate(analysis, annotate, taken)
                except (BadSetting, OSError) as error:  # the rows go on
                    fail(error)
    if not read:
        raise AffectLensError(f"nothing could be read; the last was '{name}': {analysis.detail} ({analysis.reason})")
    if read < len(items):
        warn(f"{len(items) - read} of {len(items)} have no answer; their rows say why")


def _format(wanted: Format | None, out: Path | None) -> Format:
    """The format asked for, or the one that the file name asks for."""
    if wanted:
        return wanted
    if out is None:
        return Format.TABLE
    try:
        return Format(out.suffix.lower().removeprefix("."))
    except ValueError as error:
        raise BadSetting(f"cannot tell a format from '{out.name}'; name it .csv or .jsonl, or give --format") from error


def _open_writer(stack: ExitStack, analyzer: Analyzer, out: Path | None, format: Format) -> Writer:
    """The writer of `format` to the file or standard output; `stack` closes what it opens."""
    if format is Format.TABLE:
        return stack.enter_context(table_writer(out))
    stream = sys.stdout if out is None else stack.enter_context(out.open("w", newline="", encoding="utf-8"))
    return FORMATS[format](stream, columns(analyzer.spec.labels))


def _annotate(analysis: Analysis, folder: Path, taken: set[Path]) -> None:
    """Write the picture with its faces as JPEG, numbered where it would replace a photo or a picture of this run."""
    picture = analysis.draw()
    if picture is None:
        return
    stem = Path(analysis.source).stem
    file, count = folder.resolve() / f"{stem}{ANNOTATED}", 1
    while file in taken:
        count += 1
        file = file.with_name(f"{stem}-{count}{ANNOTATED}")
    taken.add(file)
    save_image(file, picture)
