"""`affectlens reproduce`: run the rows of a published table and write it beside our own figures."""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from affectlens.apps.cli.console import out
from affectlens.apps.cli.scoring import open_model, score
from affectlens.apps.cli.train import Settings, require_training, run_recipe
from affectlens.core import catalog
from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.data import source as sources
from affectlens.data.samplers import balanced
from affectlens.data.source import DataSource
from affectlens.evaluation import evaluation


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(reproduce)


def reproduce(
    work: Annotated[str, typer.Argument(help="Name of a work, for example caciolai.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Its data, for example ferplus:~/data/ferplus.")],
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="NAME", help="Only this row.  [default: those with published figures]"),
    ] = None,
    settings: Settings = None,
    test: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Test on these data.  [default: the test split of --data]")
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Measure on data of another kind than the paper's; the table says so.")
    ] = False,
    results: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the table goes.")] = Path("results"),
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")] = Path("runs"),
) -> None:
    """Train each row of a published table (or go on with it), test it once, and write the table.

    A row whose run is finished is not trained again. One whose test is written is not tested again, whatever number of
    epochs it had; a row there of other settings is an error: choose another --out.
    DIR/WORK/ receives README.md with the table, and a folder per row: settings, versions, log, curves, confusion
    matrix, figures.
    """
    require_training("'affectlens reproduce'")
    from affectlens.training import reproduction, run
    from affectlens.training.recipe import with_settings

    module = catalog.load("training.recipes", work)
    if not hasattr(module, "PAPER"):
        raise BadSetting(f"'{work}' is no published table")
    source = sources.parse(data)
    if strange := [row for row in rows or () if row not in module.ROWS]:
        raise UnknownName(unknown(f"row of '{work}'", strange[0], list(module.ROWS)))
    tested_on = sources.parse(test) if test else source
    rows = rows or _published(module, source, other_data)
    recipes = {row: with_settings(module.ROWS[row], settings or []) for row in rows}
    for recipe in recipes.values():
        if source.reader != recipe.data and not other_data:
            raise BadSetting(f"'{recipe.name}' is about '{recipe.data}', got '{source.reader}'; see --other-data")
    for row, recipe in recipes.items():
        tested = (results / work / row / "metrics.json").is_file()
        there = results / work / row if tested else runs / recipe.folder_name
        if (there / "recipe.json").is_file():
            run.check_recipe(recipe, there, tested)
            run.check_data(run.with_data_options(recipe, source), there)
    for row, recipe in recipes.items():
        target = results / work / row
        if (target / "metrics.json").is_file():
            epochs = run.load_recipe(target).epochs
            out.print(f"{work}/{row}: tested already with epochs={epochs}, see '{target}'; for others choose --out")
            continue
        folder = runs / recipe.folder_name
        if not (folder / "model.onnx").is_file() or run.load_recipe(folder).epochs < recipe.epochs:
            out.print(f"{work}/{row}: up to {recipe.epochs} epochs, in '{folder}'")
            run_recipe(recipe, source, folder, resume=(folder / "recipe.json").is_file())
        data_set = run.with_data_options(recipe, tested_on)
        faces = data_set.load("test")
        if recipe.balanced:
            faces = faces.keep(balanced(faces, recipe.seed), "more than its class may have")
        scored = score(open_model(str(folder / "model.onnx")), faces)
        protocol = data_set.options.get("protocol", "")
        facts = {"data": data_set.reader, "protocol": protocol, "split": "test", "options": data_set.options}
        reproduction.write_row(folder, evaluation.figures(scored.scores), facts, target)
    table = reproduction.write_table(work, module, results / work)
    out.print(table.read_text(encoding="utf-8"))


def _published(module: ModuleType, source: DataSource, other_data: bool) -> list[str]:
    """The rows with published figures that are about the reader of `source`; with `other_data` those that are about the
    same data as the work's first row.

    Raises:
        BadSetting: there are none.
    """
    first = next(iter(module.ROWS.values()))
    reader = first.data if other_data else source.reader
    if found := [row for row in module.PAPER if module.ROWS[row].data == reader]:
        return found
    raise BadSetting(f"'{first.work}' is about '{first.data}', got '{source.reader}'; see --other-data")
