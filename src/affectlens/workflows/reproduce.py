"""Training and testing of the rows of published tables, next to the papers' figures."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.core.messages import describe, one_line
from affectlens.core.progress import SILENT, Progress
from affectlens.data.samplers import balanced
from affectlens.data.source import DataSource
from affectlens.evaluation import evaluation
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.plan import Planned, RunError, Task, chosen_rows, obstacles, planned_runs
from affectlens.workflows.processes import in_processes
from affectlens.workflows.recipes import Overrides
from affectlens.workflows.scoring import open_model, score
from affectlens.workflows.train import run_recipe

if TYPE_CHECKING:
    from affectlens.training.data import TrainingData
    from affectlens.training.recipe import Recipe

Spec = str | Path | DataSource
_training_data: "dict[str, TrainingData]" = {}
"""What the last run of this process was trained on."""


def reproduce(
    work: str,
    data: Spec | Sequence[Spec],
    rows: Sequence[str] = (),
    *,
    tables: Sequence[str] = (),
    seeds: int = 1,
    settings: Overrides = (),
    test: Spec | None = None,
    other_data: bool = False,
    jobs: int = 1,
    minutes: float | None = None,
    out: str | Path = "results",
    runs: str | Path = "runs",
    progress: Progress = SILENT,
) -> Path:
    """Train rows of a work's tables (or continue them), test each once, and write the tables (extra `train`).

    Settings, weights, folders and data sets are checked before the first run; images are not. The tables are written
    after every row. A row whose run is finished is not trained again, and one that has been tested is not tested again,
    whatever its number of epochs; if it was tested with other settings, an error is raised. Rows that are the same
    recipe under two names are trained once. An interrupted call is continued by the same call.

    Args:
        work: name of a work, for example "caciolai".
        data: data set of the work, "NAME:FOLDER[?key=value&...]"; several where rows need different ones, such as the
            stage of Da Re's on CelebA.
        rows: names of rows or patterns, "t6.2-*"; by default those with published figures for these data.
        tables: names of tables or patterns, "t4.1"; all of their rows.
        seeds: number of runs of each row, with the seeds from that of the recipe on.
        settings: changes to every row, or, with the key "ROW:KEY" (ROW may be a pattern), to some of them.
        test: data to test on, of the rows that are trained on the first data set; by default its test split.
        other_data: allow a data set other than the paper's; the table says so.
        jobs: number of runs side by side, each in a process of its own; they share the cores. A script that asks for
            more than one needs the guard `if __name__ == "__main__":`, as for any use of `multiprocessing`.
        minutes: time budget; no run is started after it, and no epoch that would exceed it if it took as long as the
            one before it in this call. By default unlimited.
        out: `out`/WORK/README.md is written with the tables, next to a folder per row with settings, versions, log,
            curves, confusion matrix and metrics.
        runs: folder for the runs.
        progress: receives messages and progress updates.

    Returns:
        The tables, a Markdown file.

    Raises:
        As `train`. UnknownName: the work, a table or a row does not exist. AffectLensError: rows could not be run; all
            others were, and stand in the tables.
    """
    require_training("reproducing a table")
    from affectlens.training.tables import rows_of
    from affectlens.workflows.results_table import write_table

    module = catalog.load("training.recipes", work)
    if not hasattr(module, "TABLES"):
        raise BadSetting(f"'{work}' has no published table")
    if jobs < 1:
        raise BadSetting(f"jobs must be >= 1, got {jobs}")
    results, runs = Path(out).expanduser() / work, Path(runs).expanduser()
    task = Task.of(
        [source_of(one) for one in ([data] if isinstance(data, Spec) else data)],
        None if test is None else source_of(test),
        other_data,
        minutes,
    )
    known = rows_of(module.TABLES)
    chosen = chosen_rows(known, module, work, rows, tables, task.readers)
    planned = planned_runs(known, chosen, settings, seeds, results, runs)
    failed: dict[str, RunError] = {**obstacles(planned, task)}
    if len(failed) == len(planned):
        raise next(iter(failed.values()))
    for one in planned:
        if one.name in failed:
            progress.message(f"{one.name}: cannot be run: {describe(failed[one.name])}")
        elif one.is_tested:
            progress.message(_tested(one))
    waiting = [one for one in planned if not one.is_tested and one.name not in failed]
    for one in _made(waiting, task, jobs, progress, failed):
        progress.message(f"{one.name}: trained and tested")
        write_table(work, module, results)
    if failed and len(failed) == len(planned):
        raise next(iter(failed.values()))
    table = write_table(work, module, results)
    if failed:
        raise AffectLensError(
            f"{len(failed)} of {len(planned)} runs failed: {', '.join(failed)}; the rest is in '{table}'"
        )
    return table


def _made(
    waiting: Sequence[Planned], task: Task, jobs: int, progress: Progress, failed: dict[str, RunError]
) -> Iterator[Planned]:
    """Make the runs; yield those that succeed, put the others into `failed`, and say for which no time was left."""
    from affectlens.training.callbacks import OutOfTime

    late = []
    try:
        ended = in_processes(train_and_test, waiting, task, jobs, progress) if jobs > 1 else None
        for one, error in ended or _in_turn(waiting, task, progress):
            if error is None:
                yield one
                continue
            progress.message(f"{one.name}: {describe(error)}")
            if isinstance(error, OutOfTime):
                late.append(one.name)
            else:
                failed[one.name] = error
    except KeyboardInterrupt:
        progress.message("interrupted; the same command continues after the last complete epoch")
        raise
    finally:
        _training_data.clear()
    if late:
        progress.message(f"no time was left for {', '.join(late)}; the same command continues")


def _in_turn(waiting: Sequence[Planned], task: Task, progress: Progress) -> Iterator[tuple[Planned, RunError | None]]:
    """Make the runs one after another; yield each with its error."""
    ended: dict[Path, RunError | None] = {}
    for one in waiting:
        ended[one.folder] = one.hindrance(ended) or train_and_test(one, task, progress)
        yield one, ended[one.folder]


def _load(recipe: "Recipe", source: DataSource, progress: Progress) -> "TrainingData":
    """The data of a run; those of the run before in this process where they are the same."""
    from affectlens.training.data import data_settings, load_data

    key = repr((source, data_settings(recipe)))
    if key not in _training_data:
        _training_data.clear()
        _training_data[key] = load_data(recipe, source, progress)
    return _training_data[key]


def _tested(one: Planned) -> str:
    from affectlens.training.run import load_recipe

    epochs = load_recipe(one.result).epochs
    return (
        f"{one.name}: already tested with epochs={epochs}, see '{one.result}'; to test again, choose another folder "
        "for the results"
    )


def train_and_test(one: Planned, task: Task, progress: Progress = SILENT) -> RunError | None:
    """Make one run, or continue it, and test it; return what went wrong."""
    from affectlens.training.run import locked
    from affectlens.workflows import results_table

    recipe, folder = one.recipe, one.folder
    try:
        if not one.is_finished:
            _train(one, task, progress)
        data_set = task.tested_on(recipe)
        faces = data_set.load("test")
        if recipe.balanced:
            faces = faces.keep(balanced(faces, recipe.seed), "more than its class may have")
        scored = score(open_model(folder / "model.onnx"), faces, progress=progress)
        protocol = data_set.options.get("protocol", "")
        facts = {"data": data_set.reader, "protocol": protocol, "split": "test", "options": data_set.options}
        metrics = evaluation.compute_metrics(scored.scores)
        with locked(folder):
            results_table.write_row(folder, metrics, facts, one.result)
    except (AffectLensError, OSError) as error:
        return error
    except Exception as error:  # of torch, Lightning or memory: one run must not cost the others
        logging.getLogger("affectlens").debug("%s failed", one.name, exc_info=True)
        return AffectLensError(one_line(error))
    return None


def _train(one: Planned, task: Task, progress: Progress) -> None:
    """Make one run, or continue it.  Raises what `run_recipe` raises."""
    from affectlens.training import run
    from affectlens.training.callbacks import OutOfTime

    recipe, folder = one.recipe, one.folder
    if task.is_over:
        raise OutOfTime("not begun, for lack of time")
    if one.after is not None and not (one.after / "model.onnx").is_file():
        raise BadModelFile(f"{recipe.name} starts from the run in '{one.after}', which is not finished")
    if one.after is not None and recipe.classifier == "svm":
        with run.locked(folder):
            run.adopt(recipe, one.after, folder)
    resume = (folder / "recipe.json").is_file()
    verb = "continuing, " if resume else ""
    progress.message(f"{one.name}: {verb}up to {recipe.epochs} epochs, in '{folder}'")
    deadline, checked = task.deadline, one.after is None  # a run yet to be trained cannot be looked at before
    source = task.source(recipe)
    run_recipe(recipe, source, folder, resume, progress=progress, deadline=deadline, load=_load, checked=checked)
