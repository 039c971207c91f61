"""A published table next to measured results: results/WORK/ROW/ for each row, and results/WORK/README.md for all."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from affectlens.core.files import atomic_write
from affectlens.evaluation import plots
from affectlens.training.run import load_recipe, load_run, read_curves

_KEPT = ("recipe.json", "labels.json", "versions.json", "curves.csv", "curves.png")
_MAX_ROWS_IN_FULL = 20
"""A table of more rows shows those that were run."""
_COLUMNS = (
    *("row", "paper", "measured (95 %)", "mean class accuracy", "macro F1"),
    *("validation", "epochs", "parameters", "data", "seed"),
)
_LOG = "log.txt"
"""Runs of earlier versions have none."""


def write_row(run: Path, metrics: Mapping[str, Any], facts: Mapping[str, Any], out: Path) -> None:
    """What stays of a finished run and its test: settings, versions, curves, metrics and plots, in the folder `out`.

    `metrics` are those of `evaluation.metrics` on the test split, `facts` say what data they are about.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in (*_KEPT, *([_LOG] if (run / _LOG).is_file() else [])):
        shutil.copyfile(run / name, out / name)
    plots.save(plots.confusion_matrix(metrics["confusion_matrix"], metrics["labels"]), out / "confusion.png")
    parameters = sum(weight.numel() for weight in load_run(run).parameters())
    validation = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    result = {"facts": dict(facts), "parameters": parameters, "validation": validation, "test": metrics}
    atomic_write(out / "metrics.json", json.dumps(result, indent=2, allow_nan=False) + "\n")


def write_table(work: str, module: ModuleType, out: Path) -> Path:
    """results/WORK/README.md from the rows that `out` holds; rows that are missing say so."""
    lines = [
        f"# {work}: paper and measured",
        "",
        f"Written by `affectlens reproduce {work} --data SPEC`. Test metrics through the exported ONNX file; the epoch",
        "is chosen on validation, test is scored once. Splits are as published.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    affect: list[str] = []
    summaries: list[str] = []
    weighted: list[str] = []
    finished: dict[str, dict[str, Any]] = {}
    for row in module.ROWS:
        paper = module.PAPER.get(row, {}).get("accuracy")
        file = out / row / "metrics.json"
        if not file.is_file():
            if len(module.ROWS) <= _MAX_ROWS_IN_FULL:
                lines.append(f"| {row} | {_percent(paper)} | not run | | | | | | | |")
            continue
        finished[row] = json.loads(file.read_text(encoding="utf-8"))
        lines.append(_line(row, paper, getattr(module, "PAPER_DATA", ""), finished[row], out / row))
        if "weighted_f1" in module.PAPER.get(row, {}):
            weighted.append(_weighted_line(row, module.PAPER[row], finished[row]["test"]))
        if "challenge" in module.PAPER.get(row, {}):
            summaries.append(_challenge_line(row, module.PAPER[row]["challenge"], finished[row]["test"]))
        if finished[row]["test"].get("va_source"):  # results of earlier versions do not say
            affect.append(_affect_line(row, module.PAPER.get(row, {}), finished[row]["test"]))
    if len(module.ROWS) > _MAX_ROWS_IN_FULL:
        lines += ["", f"The other {len(module.ROWS) - len(finished)} rows of `affectlens recipes list` are not run."]
    if weighted:
        lines += [
            "",
            "| row | weighted precision: paper | measured | recall: paper | measured | F1: paper | measured |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *weighted,
        ]
    if summaries:
        lines += ["", "| row | 0.67 macro F1 + 0.33 accuracy: paper | measured |", "| --- | ---: | ---: |", *summaries]
    if affect:
        lines += [
            "",
            "| row | valence and arousal are | CCC of valence: paper | measured | CCC of arousal: paper | measured |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
            *affect,
        ]
    if finished:
        lines += ["", *_environment(out, list(finished))]
    notes = out / "notes.md"
    if notes.is_file():
        lines += ["", notes.read_text(encoding="utf-8").rstrip()]
    table = out / "README.md"
    atomic_write(table, "\n".join(lines) + "\n")
    return table


def _line(row: str, paper: float | None, paper_data: str, result: Mapping[str, Any], folder: Path) -> str:
    """One finished row of the table; `paper_data` are those of the published test, "" for the recipe's."""
    test, facts = result["test"], result["facts"]
    low, high = test["accuracy_interval"]
    recipe = load_recipe(folder)
    epochs = len(read_curves(folder / "curves.csv"))
    measured = f"**{_percent(test['accuracy'])}** ({_percent(low)} to {_percent(high)})"
    expressions = (measured, _percent(test["mean_class_accuracy"]), _percent(test["macro"]["f1"]))
    chosen = _percent(result["validation"]["metrics"]["accuracy"])
    if not recipe.model_options.get("expressions", True):  # a network for valence and arousal alone
        expressions, chosen = ("-", "-", "-"), "-"
    options = [f"{key} {value}" for key, value in facts["options"].items() if key not in ("protocol", "mode")]
    data = ", ".join([facts["data"], facts["protocol"] or "standard", *options])
    about = f"{data}, {len(test['labels'])} classes, {test['faces']:,} faces"
    about_paper = paper_data or recipe.data
    published = _percent(paper) + ("" if facts["data"] == about_paper else f" ({about_paper})")
    cells = (
        *(row, published, *expressions, chosen),
        *(f"{epochs} of {recipe.epochs}", f"{result['parameters']:,}", about, str(recipe.seed)),
    )
    return f"| {' | '.join(cells)} |"


def _challenge_line(row: str, paper: float, test: Mapping[str, Any]) -> str:
    """The summary of the Aff-Wild2 challenge (ABAW) of one row."""
    return f"| {row} | {_percent(paper)} | **{_percent(0.67 * test['macro']['f1'] + 0.33 * test['accuracy'])}** |"


def _weighted_line(row: str, paper: Mapping[str, float], test: Mapping[str, Any]) -> str:
    """Precision, recall and F1 of one row, classes weighted by their faces."""
    cells = [row]
    for name in ("precision", "recall", "f1"):
        cells += [_percent(paper[f"weighted_{name}"]), f"**{_percent(test['weighted'][name])}**"]
    return f"| {' | '.join(cells)} |"


def _affect_line(row: str, paper: Mapping[str, float], test: Mapping[str, Any]) -> str:
    """Concordance of one row that was tested on faces with valence and arousal."""
    cells = [row, test["va_source"]]
    for name in ("valence", "arousal"):
        published = paper.get(f"{name}_ccc")
        cells += ["-" if published is None else f"{published:.3f}", f"**{test[name]['ccc']:.3f}**"]
    return f"| {' | '.join(cells)} |"


def _environment(out: Path, rows: list[str]) -> list[str]:
    """What the runs were made with, rows of one kind together."""
    seen: dict[str, list[str]] = {}
    for row in rows:
        starts = json.loads((out / row / "versions.json").read_text(encoding="utf-8"))
        last = starts[-1] | {"commit": " and ".join(dict.fromkeys(start["commit"] for start in starts))}
        recipe = load_recipe(out / row)
        names = ("affectlens", "torch", "lightning", "numpy", "onnxruntime", "python", "commit", "device")
        made_with = ", ".join(f"{name} {last[name]}" for name in names if name in last)
        fate = "left out" if recipe.drop_near_duplicates else "left in"
        duplicates = f"training faces that have a near-duplicate in validation or test {fate}"
        text = f"{made_with}, {recipe.precision}, {duplicates}"
        if "remark" in last:
            text += f"; {last['remark']}"
        seen.setdefault(text, []).append(row)
    return [f"{', '.join(made)}: {text}." for text, made in seen.items()]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
