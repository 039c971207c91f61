"""Training and testing of the rows of a published table, next to the paper's figures."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from affectlens.core import catalog
from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.core.progress import SILENT, Progress
from affectlens.data.samplers import balanced
from affectlens.data.source import DataSource
from affectlens.evaluation import evaluation
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.recipes import Overrides, find_recipe
from affectlens.workflows.scoring import open_model, score
from affectlens.workflows.train import run_recipe


def reproduce(
    work: str,
    data: str | Path | DataSource,
    rows: Sequence[str] = (),
    *,
    settings: Overrides = (),
    test: str | Path | DataSource | None = None,
    other_data: bool = False,
    out: str | Path = "results",
    runs: str | Path = "runs",
    progress: Progress = SILENT,
) -> Path:
    """Train each row of a published table (or continue it), test it once, and write the table (extra `train`).

    A row whose run is finished is not trained again. A row that has been tested is not tested again, whatever its
    number of epochs; if it was tested with other settings, an error is raised.

    Args:
        work: name of a work, for example "caciolai".
        data: data set of the work, "NAME:FOLDER[?key=value&...]".
        rows: rows to train; by default those with published figures for these data.
        settings: changes to every row.
        test: data to test on; by default the test split of `data`.
        other_data: allow a data set other than the paper's; the table says so.
        out: `out`/WORK/README.md is written with the table, next to a folder per row with settings, versions, log,
            curves, confusion matrix and metrics.
        runs: folder for the runs.
        progress: receives messages and progress updates.

    Returns:
        The table, a Markdown file.

    Raises:
        As `train`. UnknownName: the work or a row does not exist.
    """
    require_training("reproducing a table")
    from affectlens.training import run
    from affectlens.workflows import results_table

    results, runs = Path(out).expanduser(), Path(runs).expanduser()
    module = catalog.load("training.recipes", work)
    if not hasattr(module, "PAPER"):
        raise BadSetting(f"'{work}' has no published table")
    source = source_of(data)
    if strange := [row for row in rows if row not in module.ROWS]:
        raise UnknownName(unknown("row", strange[0], list(module.ROWS), f"of '{work}'"))
    tested_on = source if test is None else source_of(test)
    rows = rows or _published(module, source, other_data)
    recipes = {row: find_recipe(module.ROWS[row], settings) for row in rows}
    for recipe in recipes.values():
        if source.reader != recipe.data and not other_data:
            raise BadSetting(
                f"'{recipe.name}' expects data of '{recipe.data}', got '{source.reader}'; other data must be allowed "
                "(other_data)"
            )
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
            progress.message(
                f"{work}/{row}: already tested with epochs={epochs}, see '{target}'; to test again, choose "
                "another folder for the results"
            )
            continue
        folder = runs / recipe.folder_name
        if not (folder / "model.onnx").is_file() or run.load_recipe(folder).epochs < recipe.epochs:
            progress.message(f"{work}/{row}: up to {recipe.epochs} epochs, in '{folder}'")
            run_recipe(recipe, source, folder, (folder / "recipe.json").is_file(), progress=progress)
        data_set = run.with_data_options(recipe, tested_on)
        faces = data_set.load("test")
        if recipe.balanced:
            faces = faces.keep(balanced(faces, recipe.seed), "more than its class may have")
        scored = score(open_model(folder / "model.onnx"), faces, progress=progress)
        protocol = data_set.options.get("protocol", "")
        facts = {"data": data_set.reader, "protocol": protocol, "split": "test", "options": data_set.options}
        results_table.write_row(folder, evaluation.compute_metrics(scored.scores), facts, target)
    return results_table.write_table(work, module, results / work)


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
    raise BadSetting(
        f"'{first.work}' expects data of '{first.data}', got '{source.reader}'; other data must be allowed (other_data)"
    )
