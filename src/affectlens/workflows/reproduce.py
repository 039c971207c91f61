"""Training and testing of the rows of published tables, next to the papers' figures."""

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.core.messages import describe, one_line
from affectlens.core.progress import SILENT, Progress
from affectlens.data.samplers import balanced
from affectlens.data.source import DataSource
from affectlens.evaluation import evaluation
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.plan import Planned, chosen_rows, obstacles, planned_runs
from affectlens.workflows.recipes import Overrides
from affectlens.workflows.scoring import open_model, score
from affectlens.workflows.train import run_recipe

if TYPE_CHECKING:
    from affectlens.training.data import TrainingData
    from affectlens.training.recipe import Recipe

_Error: TypeAlias = AffectLensError | OSError
"""What costs a run."""
_LAST: "dict[object, TrainingData]" = {}
"""What the last run of this process was trained on."""


@dataclass(frozen=True)
class _Task:
    """What all runs have in common: data to train and to test on, and the time, in seconds since the epoch, after which
    no epoch begins that would not end before it.
    """

    source: DataSource
    tested_on: DataSource
    deadline: float | None


def reproduce(
    work: str,
    data: str | Path | DataSource,
    rows: Sequence[str] = (),
    *,
    tables: Sequence[str] = (),
    seeds: int = 1,
    settings: Overrides = (),
    test: str | Path | DataSource | None = None,
    other_data: bool = False,
    jobs: int = 1,
    minutes: float | None = None,
    out: str | Path = "results",
    runs: str | Path = "runs",
    progress: Progress = SILENT,
) -> Path:
    """Train rows of a work's tables (or continue them), test each once, and write the tables (extra `train`).

    Settings, weights, folders and what the data are named are checked before the first run. The tables are written
    after every row. A row whose run is finished is not trained again, and one that has been tested is not tested again,
    whatever its number of epochs; if it was tested with other settings, an error is raised. Rows that are the same
    recipe under two names are trained once. An interrupted call is continued by the same call.

    Args:
        work: name of a work, for example "caciolai".
        data: data set of the work, "NAME:FOLDER[?key=value&...]".
        rows: names of rows or patterns, "t6.2-*"; by default those with published figures for these data.
        tables: names of tables or patterns, "t4.1"; all of their rows.
        seeds: number of runs of each row, with the seeds from that of the recipe on.
        settings: changes to every row, or, with the key "ROW:KEY" (ROW may be a pattern), to some of them.
        test: data to test on; by default the test split of `data`.
        other_data: allow a data set other than the paper's; the table says so.
        jobs: number of runs side by side, which share the cores.
        minutes: time after which no run is begun, and no epoch that would end later if it took as long as the one
            before it in this call; by default none.
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
    from affectlens.training.callbacks import OutOfTime
    from affectlens.training.tables import rows_of
    from affectlens.workflows import results_table

    results, runs = Path(out).expanduser() / work, Path(runs).expanduser()
    module = catalog.load("training.recipes", work)
    if not hasattr(module, "TABLES"):
        raise BadSetting(f"'{work}' has no published table")
    if jobs < 1:
        raise BadSetting(f"jobs must be >= 1, got {jobs}")
    _LAST.clear()
    source = source_of(data)
    deadline = None if minutes is None else time.time() + 60 * minutes
    task = _Task(source, source if test is None else source_of(test), deadline)
    known = rows_of(module.TABLES)
    chosen = chosen_rows(known, module, work, rows, tables, None if other_data else source.reader)
    planned = planned_runs(known, chosen, settings, seeds, results, runs)
    failed: dict[str, _Error] = {**obstacles(planned, source, task.tested_on, other_data)}
    if len(failed) == len(planned):
        raise next(iter(failed.values()))
    waiting = [one for one in planned if not one.is_tested and one.name not in failed]
    for one in planned:
        if one.name in failed:
            progress.message(f"{one.name}: cannot be run: {describe(failed[one.name])}")
        elif one.is_tested:
            progress.message(_tested(one))
    late = []
    for one, error in _in_processes(waiting, task, jobs) if jobs > 1 else _in_turn(waiting, task, progress):
        if isinstance(error, OutOfTime):
            late.append(one.name)
        elif error is not None:
            failed[one.name] = error
        progress.message(f"{one.name}: {describe(error) if error else 'trained and tested'}")
        if error is None:
            results_table.write_table(work, module, results)
    if late:
        progress.message(f"no time was left for {', '.join(late)}; the same command continues")
    if failed and len(failed) == len(planned):
        raise next(iter(failed.values()))
    table = results_table.write_table(work, module, results)
    if failed:
        raise AffectLensError(
            f"{len(failed)} of {len(planned)} runs failed: {', '.join(failed)}; the rest is in '{table}'"
        )
    return table


def _load(recipe: "Recipe", source: DataSource, progress: Progress) -> "TrainingData":
    """The data of a run; those of the run before in this process where they are the same."""
    from affectlens.training.data import data_settings, load_data

    key = repr((source, data_settings(recipe)))
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = load_data(recipe, source, progress)
    return _LAST[key]


def _tested(one: Planned) -> str:
    from affectlens.training.run import load_recipe

    epochs = load_recipe(one.result).epochs
    return (
        f"{one.name}: already tested with epochs={epochs}, see '{one.result}'; to test again, choose another folder "
        "for the results"
    )


def _in_turn(waiting: Sequence[Planned], task: _Task, progress: Progress) -> Iterator[tuple[Planned, _Error | None]]:
    """Make the runs one after another; yield each with its error."""
    for one in waiting:
        yield one, _train_and_test(one, task, progress)


def _in_processes(waiting: Sequence[Planned], task: _Task, jobs: int) -> Iterator[tuple[Planned, _Error | None]]:
    """Make `jobs` runs at a time, each in a process of its own with its share of the cores; yield each with its error
    as it ends. A run that starts from another waits for it.
    """
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    pending, running = list(waiting), dict[Future[_Error | None], Planned]()
    pool = ProcessPoolExecutor(jobs, context, initializer=_use_threads, initargs=(threads,))
    try:
        while pending or running:
            busy = {one.folder for one in (*pending, *running.values())}
            ready = [one for one in pending if one.after not in busy]
            for one in ready[: jobs - len(running)]:  # no more, or an interruption would not reach those in the queue
                pending.remove(one)
                running[pool.submit(_train_and_test, one, task)] = one
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                one, error = running.pop(future), future.exception()
                if isinstance(error, BrokenProcessPool):
                    pool = ProcessPoolExecutor(jobs, context, initializer=_use_threads, initargs=(threads,))
                    yield one, AffectLensError("its process was killed, probably for lack of memory")
                elif error is not None:
                    raise error
                else:
                    yield one, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _train_and_test(one: Planned, task: _Task, progress: Progress = SILENT) -> _Error | None:
    """Make one run, or continue it, and test it; return what went wrong."""
    from affectlens.training import run
    from affectlens.training.callbacks import OutOfTime
    from affectlens.workflows import results_table

    recipe, folder = one.recipe, one.folder
    try:
        if not one.is_finished:
            if task.deadline is not None and time.time() > task.deadline:
                return OutOfTime("not begun, for lack of time")
            if one.after is not None and not (one.after / "model.onnx").is_file():
                error = OutOfTime if task.deadline is not None else BadModelFile
                return error(f"{recipe.name} starts from the run in '{one.after}', which is not finished")
            if one.after is not None and recipe.classifier == "svm":
                run.adopt(recipe, one.after, folder)
            progress.message(f"{one.name}: up to {recipe.epochs} epochs, in '{folder}'")
            resume = (folder / "recipe.json").is_file()
            run_recipe(recipe, task.source, folder, resume, progress=progress, deadline=task.deadline, load=_load)
        data_set = run.with_data_options(recipe, task.tested_on)
        faces = data_set.load("test")
        if recipe.balanced:
            faces = faces.keep(balanced(faces, recipe.seed), "more than its class may have")
        scored = score(open_model(folder / "model.onnx"), faces, progress=progress)
        protocol = data_set.options.get("protocol", "")
        facts = {"data": data_set.reader, "protocol": protocol, "split": "test", "options": data_set.options}
        results_table.write_row(folder, evaluation.compute_metrics(scored.scores), facts, one.result)
    except (AffectLensError, OSError) as error:
        return error
    except Exception as error:  # of torch, Lightning or memory: one run must not cost the others
        logging.getLogger("affectlens").debug("%s failed", one.name, exc_info=True)
        return AffectLensError(one_line(error))
    return None
