"""`affectlens data`: inspect a data set, preview what a recipe makes of it, or convert it to shards."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import TERMINAL, Table, print_table, say
from affectlens.apps.cli.train import Settings
from affectlens.data import source
from affectlens.data.inspection import Inspection
from affectlens.data.prepare import SHARD_ROWS
from affectlens.workflows import inspect as inspecting
from affectlens.workflows import prepare as preparing
from affectlens.workflows import preview as previewing
from affectlens.workflows.data import source_of
from affectlens.workflows.data_figures import FACES_OF_TRAINING
from affectlens.workflows.suspects import Suspect

data = typer.Typer(help="Inspect, preview and prepare labelled data.", no_args_is_help=True)

Spec = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="Data set, as NAME:FOLDER[?key=value&...], several joined by +; for example ferplus:~/data/ferplus.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(data, name="data")


@data.command()
def inspect(
    spec: Spec,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Also list the faces whose label this model finds least likely."),
    ] = None,
    suspects: Annotated[int, typer.Option(min=1, help="Maximum number of suspect faces to list (with --model).")] = 20,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object, with all unreadable files, near-duplicates and suspects."),
    ] = False,
) -> None:
    """Count faces per split and class; find unreadable files, faces that occur in two splits, and doubtful labels."""
    chosen = source_of(spec)
    found, doubtful = inspecting.inspect(chosen, model, suspects=suspects, progress=TERMINAL)
    if as_json:
        typer.echo(json.dumps(_as_json(chosen, found, doubtful), indent=2, allow_nan=False))
        return
    _print(found, chosen.labels())
    for line in doubtful:
        say(f"suspect: {line.id}: {line.label} (p = {line.p:.3f}), the model predicts {line.model}")


def _print(found: Inspection, labels: tuple[str, ...]) -> None:
    table = Table()
    table.add_column("")
    for split in found.splits:
        table.add_column(split, justify="right")
    facts = list(found.splits.values())
    table.add_row("files", *(f"{f.files:,}" for f in facts))
    table.add_row("faces with one label", *(f"{f.labelled:,}" for f in facts))
    for label in labels:
        table.add_row(f"  {label}", *(f"{f.classes[label]:,}" for f in facts))
    table.add_row("faces without a label", *(f"{f.unlabelled:,}" for f in facts))
    for reason in dict.fromkeys(reason for f in facts for reason in f.dropped):
        table.add_row(f"left out: {reason}", *(f"{f.dropped[reason]:,}" for f in facts))
    table.add_row("unreadable images", *(f"{len(f.bad):,}" for f in facts))
    if any(f.affect for f in facts):
        table.add_row("with valence and arousal", *(f"{f.affect:,}" for f in facts))
    table.add_row("sizes", *(_sizes(f.sizes) for f in facts))
    print_table(table)
    for (split, other), pairs in found.near_duplicates.items():
        same = sum(pair.identical for pair in pairs)
        say(
            f"{same:,} images of {split} are bit-identical to one of {other}; {len(pairs) - same:,} more are its "
            "near-duplicates (the same picture, mirrored or nearly so)"
        )
    for f in facts:
        for name, what in f.bad[:20]:
            say(f"bad: {name}: {what}")


def _sizes(sizes: dict[tuple[int, int], int]) -> str:
    if not sizes:
        return "-"
    if len(sizes) == 1:
        (width, height), *_ = sizes
        return f"{width}x{height}"
    widths, heights = [w for w, _ in sizes], [h for _, h in sizes]
    return f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}"


def _as_json(chosen: source.DataSource, found: Inspection, doubtful: list[Suspect]) -> dict[str, Any]:
    return {
        "data": chosen.reader,
        "options": chosen.options,
        "splits": {
            split: {
                "files": f.files,
                "labelled": f.labelled,
                "unlabelled": f.unlabelled,
                "classes": f.classes,
                "with_valence_and_arousal": f.affect,
                "left_out": dict(f.dropped),
                "bad": [{"id": name, "what": what} for name, what in f.bad],
                "sizes": {f"{w}x{h}": count for (w, h), count in f.sizes.items()},
            }
            for split, f in found.splits.items()
        },
        "near_duplicates": [
            {"split": split, "of": other, "id": t.id, "other": t.other, "bits": t.bits, "identical": t.identical}
            for (split, other), pairs in found.near_duplicates.items()
            for t in pairs
        ],
        "suspects": [asdict(line) for line in doubtful],
    }


@data.command()
def prepare(
    spec: Spec,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the shards.")],
    shard_rows: Annotated[int, typer.Option(min=1, help="Faces per shard.")] = SHARD_ROWS,
) -> None:
    """Write a data set as Parquet shards: image bytes, label, votes, valence, arousal, landmarks, ages, groups.

    Read them with any Arrow tool, or with affectlens as `table:DIR`.
    """
    counts = preparing.prepare(spec, folder, shard_rows=shard_rows, progress=TERMINAL)
    for (split, reason), count in counts.items():
        say(f"{split}: {count:,} {'written' if reason is None else f'left out: {reason}'}")
    say(f"shards: {folder}")


@data.command()
def preview(
    spec: Spec,
    recipe: Annotated[str, typer.Option(help="Recipe whose input, augmentation and sampler to show.")] = "default",
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the pictures.  [default: preview]")
    ] = None,
    faces: Annotated[int, typer.Option(min=1, max=24, help="Number of faces to show.")] = FACES_OF_TRAINING,
    settings: Settings = None,
) -> None:
    """Draw the training faces as a recipe transforms and samples them.

    faces.png shows some faces as stored, as network input, and as augmented in three epochs; classes.png shows the
    share of each class in the batches of an epoch, without and with the recipe's sampler. They are the figures
    training-faces and batches of 'affectlens plot'.
    """
    folder = folder or Path("preview")
    count = previewing.preview(recipe, spec, folder, faces=faces, settings=settings or ())
    say(f"preview of {count:,} training faces: {folder / 'faces.png'}, {folder / 'classes.png'}")
