"""Published tables next to measured results: results/WORK/ROW/ for each row, and results/WORK/README.md for all."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from types import ModuleType
from typing import Any

from affectlens.core.errors import BadModelFile
from affectlens.core.files import atomic_copy, atomic_write, read_json, read_text
from affectlens.evaluation import plots
from affectlens.evaluation.metrics import challenge as challenge_metric
from affectlens.evaluation.metrics import mean_class_accuracy_interval
from affectlens.training.insights import AFFECT_NAMES
from affectlens.training.recipe import Recipe
from affectlens.training.run import load_recipe, load_run, load_starts, read_curves
from affectlens.training.tables import Row, Table, names_of, rows_of

_KEPT = ("recipe.json", "labels.json", "versions.json", "curves.csv", "curves.png")
_LOG = "log.txt"
"""Runs of earlier versions have none."""
_MAX_ROWS_IN_FULL = 20
"""A table of more rows shows those that were run."""
_MAX_NAMED = 6
_NO_CHANGE = {"work", "row", "seed", "precision", "pretrained_file", "data", "epochs"}
"""Settings that the table says elsewhere, or that only name something: no change to the recipe of a row."""
_NAMES = {"accuracy": "accuracy", "mean_class_accuracy": "mean class accuracy"}
_IN_TRAINING = {"accuracy": "accuracy", "mean_class_accuracy": "macro_recall"}
"""Names of the same metrics on validation."""


def write_row(run: Path, metrics: Mapping[str, Any], facts: Mapping[str, Any], out: Path) -> None:
    """What stays of a finished run and its test: settings, versions, curves, metrics and plots, in the folder `out`.

    `metrics` are those of `evaluation.metrics` on the test split, `facts` say what data they are about.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in (*_KEPT, *([_LOG] if (run / _LOG).is_file() else [])):
        atomic_copy(run / name, out / name)
    plots.save(plots.confusion_matrix(metrics["confusion_matrix"], metrics["labels"]), out / "confusion.png")
    parameters = sum(weight.numel() for weight in load_run(run).parameters())
    validation = read_json(run / "metrics.json", dict)
    result = {"facts": dict(facts), "parameters": parameters, "validation": validation, "test": metrics}
    atomic_write(out / "metrics.json", json.dumps(result, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True)
class _Result:
    """What was measured with one seed."""

    folder: Path
    recipe: Recipe
    row: Recipe
    found: Mapping[str, Any]

    @property
    def changes(self) -> list[str]:
        """The settings in which it differs from the recipe of its row, "key=value"."""
        then, now = (_flat(recipe.as_dict()) for recipe in (self.row, self.recipe))
        return [
            f"{key}={now.get(key)}"
            for key in {**then, **now}
            if now.get(key) != then.get(key) and key not in _NO_CHANGE
        ]

    @property
    def test(self) -> Mapping[str, Any]:
        metrics: Mapping[str, Any] = self.found["test"]
        return metrics


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, those of mappings entry by entry: "model_options.stn"."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{entry}": one for entry, one in _flat(value).items()}
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


def _results(out: Path, names: Sequence[str], row: Recipe) -> list[_Result]:
    """Those of all seeds of a row, by seed, under the first of its names that has any."""
    for name in names:
        folders = [out / name, *sorted((out / name).glob("seed-*"))]
        files = [folder / "metrics.json" for folder in folders if (folder / "metrics.json").is_file()]
        if files:
            found = [(file.parent, read_json(file, dict)) for file in files]
            for folder, content in found:
                if not all(isinstance(content.get(key), dict) for key in ("facts", "validation", "test")):
                    raise BadModelFile(f"'{folder / 'metrics.json'}' is damaged; remove it to test the row again")
            results = [_Result(folder, load_recipe(folder), row, content) for folder, content in found]
            return sorted(results, key=lambda result: result.recipe.seed)
    return []


def write_table(work: str, module: ModuleType, out: Path) -> Path:
    """results/WORK/README.md from the results that `out` holds; rows without one are listed as not run."""
    tables: Mapping[str, Table] = module.TABLES
    rows = rows_of(tables)
    trained = {name: row.same_as or name for name, row in rows.items()}
    read = {name: _results(out, names_of(rows, name), rows[name].recipe) for name in dict.fromkeys(trained.values())}
    results = {name: found for name in rows if (found := read[trained[name]])}
    published = all(_is_published(result, work) for found in results.values() for result in found)
    lines = [
        f"# {work}: paper and measured",
        "",
        f"Written by `affectlens reproduce {work} --data SPEC`. Test metrics through the exported ONNX file; the epoch",
        "is chosen on validation unless its column says that it is the last one; each seed is tested once. Bold is the",
        f"metric that the work reports, {_NAMES[module.METRIC]}. In parentheses are 95 % intervals over the test faces",
        "(Wilson for accuracy, bootstrap for mean class accuracy); of several seeds, the table has means and standard",
        "deviations, and differences paired by seed with their 95 % interval (Student's t)."
        + (" Splits are as published." if published and results else ""),
    ]
    unfinished = []
    for name, table in tables.items():
        if len(tables) > 1 and not any(row.name in results for row in table.rows):
            unfinished.append(f"{name} ({len(table.rows)} {'row' if len(table.rows) == 1 else 'rows'})")
            continue
        lines += ["", f"## {table.title}"] if len(tables) > 1 else []
        if table.rows[0].cell:
            lines += ["", *_grids(table, results, module)]
            continue
        if any(module.METRIC in row.paper for row in table.rows) or not any(row.paper for row in table.rows):
            lines += ["", *_lines(table, results, module)]
        lines += _weighted(table, results) + _challenge(table, results) + _affect(table, results, rows)
    if unfinished:
        lines += ["", f"Not run: {', '.join(unfinished)}; `affectlens recipes list` has the rows."]
    if results:
        lines += ["", *_environment(results)]
    notes = out / "notes.md"
    if notes.is_file():
        lines += ["", read_text(notes).rstrip()]
    out.mkdir(parents=True, exist_ok=True)
    table_file = out / "README.md"
    atomic_write(table_file, "\n".join(lines) + "\n")
    return table_file


def _lines(table: Table, results: Mapping[str, Sequence[_Result]], module: ModuleType) -> list[str]:
    """A table of one line per row."""
    own, other = module.METRIC, next(name for name in _NAMES if name != module.METRIC)
    baseline = table.baseline if table.baseline in results else ""
    shown = next((row.name for row in table.rows if baseline in (row.name, row.same_as)), baseline)
    columns = ["row", "paper", f"{_NAMES[own]}", _NAMES[other], "macro F1"]
    columns += [f"against {shown}"] if baseline else []
    columns += ["validation", "epochs", "parameters", "data", "seeds"]
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 3) + " --- | ---: |"]
    left_out = []
    for row in table.rows:
        found = results.get(row.name)
        paper = row.paper.get(own)
        if not found:
            if len(table.rows) > _MAX_ROWS_IN_FULL:
                left_out.append(row.name)
            else:
                lines.append(f"| {row.name} | {_percent(paper)} | not run |" + " |" * (len(columns) - 3))
            continue
        about_paper = getattr(module, "PAPER_DATA", "") or found[0].recipe.data
        data = found[0].found["facts"]["data"]
        cells = [row.name, _percent(paper) + ("" if data == about_paper or paper is None else f" ({about_paper})")]
        if _has_expressions(found):
            cells += [_measured(found, own, bold=True), _measured(found, other), _mean(found, "macro", "f1")]
            cells += [_difference(found, results[baseline], own)] if baseline else []
            cells += [_percent(fmean(one.found["validation"]["metrics"][_IN_TRAINING[own]] for one in found))]
        else:
            cells += ["-"] * (len(columns) - len(cells) - 4)
        lines.append(f"| {' | '.join([*cells, *_circumstances(found)])} |")
    if left_out:
        lines += ["", f"The other {len(left_out)} rows are not run."]
    return lines


def _grids(table: Table, results: Mapping[str, Sequence[_Result]], module: ModuleType) -> list[str]:
    """Rows as cells: paper / measured, differences to the baseline, valence and arousal."""
    run = [found for row in table.rows if (found := results.get(row.name))]
    most = max(map(len, run))
    baseline = results.get(table.baseline, ())
    others = [found for found in run if found is not baseline]

    def measured(row: Row) -> str:
        printed, found = _percent(row.paper.get(module.METRIC)), results.get(row.name)
        if not found:
            return f"{printed} / not run"
        fewer = f" (seeds: {len(found)})" if len(found) < most else ""
        return f"{printed} / {_measured(found, module.METRIC, bold=True, interval=False)}{fewer}"

    def difference(row: Row) -> str:
        return _difference(results[row.name], baseline, module.METRIC) if row.name in results else "-"

    def affect(row: Row) -> str:
        found = results.get(row.name)
        return " / ".join(_concordances(found)) if found and _knows_affect(found) else "-"

    lines = _cells(table, "paper / measured", measured)
    if baseline and others:
        lines += _cells(table, f"against {table.baseline}", difference)
    if any(map(_knows_affect, others)):
        lines += _cells(table, "CCC of valence / of arousal", affect)
    epochs, _, data, _ = (" and ".join(dict.fromkeys(some)) for some in zip(*map(_circumstances, run), strict=True))
    seeds = ", ".join(map(str, sorted({one.recipe.seed for found in run for one in found})))
    lines += ["", f"{len(run)} of {len(table.rows)} cells were run: {epochs} epochs, {data}, seeds {seeds}."]
    return lines[1:]


def _cells(table: Table, title: str, text_of: Callable[[Row], str]) -> list[str]:
    """A grid for each setting of the cells, since they have other columns."""
    lines = []
    cells = {row.cell: row for row in table.rows if row.cell}
    for grid in dict.fromkeys(cell[0] for cell in cells):
        columns = list(dict.fromkeys(cell[2] for cell in cells if cell[0] == grid))
        lines += ["", f"| {grid}: {title} | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
        for line in dict.fromkeys(cell[1] for cell in cells if cell[0] == grid):
            texts = [text_of(cells[grid, line, column]) for column in columns]
            lines.append(f"| {line} | {' | '.join(texts)} |")
    return lines


def _is_published(result: _Result, work: str) -> bool:
    """Whether it was trained and tested by the protocol of the work."""
    trained = str(load_starts(result.folder)[-1].get("data", ""))
    return result.found["facts"]["protocol"] == work and f"protocol={work}" in trained


def _has_expressions(found: Sequence[_Result]) -> bool:
    """False for a network for valence and arousal alone."""
    return bool(found[0].recipe.model_options.get("expressions", True))


def _measured(found: Sequence[_Result], metric: str, bold: bool = False, interval: bool = True) -> str:
    """A metric with its interval over faces, or its mean over seeds with their standard deviation."""
    values = [one.test[metric] for one in found]
    figure = _percent(fmean(values))
    figure = f"**{figure}**" if bold else figure
    if len(values) > 1:
        return f"{figure} ± {_percent(stdev(values))}"
    if not interval:
        return figure
    test = found[0].test
    low, high = test.get(f"{metric}_interval") or mean_class_accuracy_interval(test["confusion_matrix"])
    return f"{figure} ({_percent(low)} to {_percent(high)})"


def _difference(found: Sequence[_Result], baseline: Sequence[_Result], metric: str) -> str:
    """Points by which a row is above the baseline, over the seeds that both have."""
    theirs = {one.recipe.seed: one.test[metric] for one in baseline}
    differences = [one.test[metric] - theirs[one.recipe.seed] for one in found if one.recipe.seed in theirs]
    other_faces = found[0].found["facts"] != baseline[0].found["facts"]
    if not differences or other_faces or found[0].folder == baseline[0].folder:
        return "-"
    mean = fmean(differences)
    text = f"{100 * mean:+.2f}"
    if len(differences) == 1:
        return text
    half = _student(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return f"{text} ({100 * (mean - half):+.2f} to {100 * (mean + half):+.2f})"


def _student(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t  # installed with scikit-learn

    return float(t.ppf(0.975, degrees))


def _circumstances(found: Sequence[_Result]) -> tuple[str, str, str, str]:
    """Epochs, parameters, data and seeds of a row."""
    first = found[0]
    recipe, facts = first.recipe, first.found["facts"]
    counts = [len(read_curves(one.folder / "curves.csv")) for one in found]
    span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    epochs = f"{span} of {first.row.epochs}" + (", last" if recipe.weights == "last" else "")
    options = [f"{key} {value}" for key, value in facts["options"].items() if key not in ("protocol", "mode")]
    data = ", ".join([facts["data"], facts["protocol"] or "standard", *options])
    about = f"{data}, {len(first.test['labels'])} classes, {first.test['faces']:,} faces"
    if first.changes:
        about += f"; {', '.join(first.changes)}"
    return epochs, f"{first.found['parameters']:,}", about, ", ".join(str(one.recipe.seed) for one in found)


def _weighted(table: Table, results: Mapping[str, Sequence[_Result]]) -> list[str]:
    """Weighted metrics of the rows for which the paper prints them."""
    parts = ("precision", "recall", "f1")
    lines = []
    for row in table.rows:
        if "weighted_f1" in row.paper and (found := results.get(row.name)):
            pairs = [(_percent(row.paper[f"weighted_{part}"]), _mean(found, "weighted", part)) for part in parts]
            lines.append(f"| {row.name} | {' | '.join(f'{paper} | **{value}**' for paper, value in pairs)} |")
    if not lines:
        return []
    header = "| row | weighted precision: paper | measured | recall: paper | measured | F1: paper | measured |"
    said = "Weighted recall is accuracy by another name; the paper prints two numbers."
    return ["", header, "| --- |" + " ---: |" * 6, *lines, "", said]


def _challenge(table: Table, results: Mapping[str, Sequence[_Result]]) -> list[str]:
    """The metric of the Aff-Wild2 challenge of the rows for which the thesis prints it."""
    lines = []
    for row in table.rows:
        if "challenge" in row.paper and (found := results.get(row.name)):
            values = [float(challenge_metric(one.test["confusion_matrix"])) for one in found]
            lines.append(f"| {row.name} | {_percent(row.paper['challenge'])} | **{_percent(fmean(values))}** |")
    if not lines:
        return []
    header = "| row | 0.67 macro F1 + 0.33 accuracy: paper | measured |"
    said = 'The thesis says only "the total evaluation metric"; that it is this one is assumed.'
    return ["", header, "| --- | ---: | ---: |", *lines, "", said]


def _affect(table: Table, results: Mapping[str, Sequence[_Result]], rows: Mapping[str, Row]) -> list[str]:
    """Valence and arousal of the rows that know them; of a row of several tables in the one that prints them."""
    lines = []
    for row in table.rows:
        found = results.get(row.name)
        papers = [row.paper.get(f"{part}_ccc") for part in AFFECT_NAMES]
        printed = [_decimal(paper) for paper in papers]
        elsewhere = row.same_as in results or "valence_ccc" in rows[row.name].paper
        if found and _knows_affect(found) and (any(papers) or not elsewhere):
            pairs = [cell for pair in zip(printed, _concordances(found), strict=True) for cell in pair]
            cells = [found[0].test["va_source"], *pairs, *_circumstances(found)]
        elif not found and any(papers):
            cells = ["", printed[0], "not run", printed[1], "not run", "", "", "", ""]
        else:
            continue
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    if not lines:
        return []
    header = "| row | valence and arousal are | CCC of valence: paper | measured | CCC of arousal: paper | measured |"
    return ["", f"{header} epochs | parameters | data | seeds |", f"| --- | --- |{' ---: |' * 6} --- | ---: |", *lines]


def _knows_affect(found: Sequence[_Result]) -> bool:
    """Whether valence and arousal were measured."""
    return bool(found[0].test.get("va_source"))  # results of earlier versions have no source


def _concordances(found: Sequence[_Result]) -> list[str]:
    """CCC of valence and of arousal, with the deviation over seeds."""
    texts = []
    for part in AFFECT_NAMES:
        values = [one.test[part]["ccc"] for one in found]
        texts.append(f"**{fmean(values):.3f}**" + (f" ± {stdev(values):.3f}" if len(values) > 1 else ""))
    return texts


def _environment(results: Mapping[str, Sequence[_Result]]) -> list[str]:
    """What the runs were made with, rows of one kind together."""
    seen: dict[str, list[str]] = {}
    for row, found in results.items():
        for one in found:
            starts = load_starts(one.folder)
            last = starts[-1] | {
                "commit": " and ".join(dict.fromkeys(str(start.get("commit", "unknown")) for start in starts))
            }
            names = ("affectlens", "torch", "lightning", "numpy", "onnxruntime", "python", "commit", "device")
            made_with = ", ".join(f"{name} {last[name]}" for name in names if name in last)
            fate = "left out" if one.recipe.drop_near_duplicates else "left in"
            duplicates = f"training faces that have a near-duplicate in validation or test {fate}"
            text = f"{made_with}, {last.get('precision', one.recipe.precision)}, {duplicates}"
            if "remark" in last:
                text += f"; {last['remark']}"
            seen.setdefault(text, []).append(row)
    return [f"{_named(list(dict.fromkeys(made)), len(results))}: {text}." for text, made in seen.items()]


def _named(rows: list[str], of: int) -> str:
    """Names of rows, not of many."""
    if len(rows) <= _MAX_NAMED:
        return ", ".join(rows)
    return "All rows" if len(rows) == of else f"{', '.join(rows[:_MAX_NAMED])} and {len(rows) - _MAX_NAMED} more"


def _mean(found: Sequence[_Result], *path: str) -> str:
    """Mean over seeds of an entry of the metrics."""
    return _percent(fmean(one.test[path[0]][path[1]] for one in found))


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
