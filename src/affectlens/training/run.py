"""The files of a run: recipe, labels, versions, curves.csv, log.txt, checkpoints/, losses.npz,
metrics.json, model.onnx.
"""

import io
import json
import math
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from affectlens.core import catalog
from affectlens.core.checksums import check_archive
from affectlens.core.csv_file import csv_rows
from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.files import atomic_copy, atomic_write, open_regular, read_json
from affectlens.core.messages import first_line, one_line, visible, without_advice
from affectlens.data.source import DataSource, name_of
from affectlens.training.module import ExpressionModule
from affectlens.training.precision import resolved
from affectlens.training.recipe import Recipe, from_dict

_NOT_TRAINED = ("margin", "shift_y", "rotate")
"""Settings of the crop on photos; a finished run can be exported again with others."""
_SOURCES = {
    "teacher": "train it first, or set teacher=PATH to another run or exported file",
    "start_from": "train it first, or set start_from=PATH to another run folder or exported file",
    "pretrained_file": "train it first, or set pretrained_file=PATH to a file of published weights or a run folder, or "
    "train from scratch (pretrained=false and no pretrained_file)",
}
"""Recipe key that names a file or a run -> what to do where it is not there."""


def best_checkpoint(folder: Path) -> Path:
    """The best epoch's weights."""
    return folder / "checkpoints" / "best.ckpt"


def refitted_checkpoint(folder: Path) -> Path:
    """The best epoch's weights with another classifier in the place of the network's (recipe key `classifier`)."""
    return folder / "checkpoints" / "refitted.ckpt"


def chosen_checkpoint(recipe: Recipe, folder: Path) -> Path:
    """The weights that the recipe keeps: those of the best epoch or of the last."""
    return last_checkpoint(folder) if recipe.weights == "last" else best_checkpoint(folder)


def final_checkpoint(folder: Path) -> Path:
    """The weights that the run ended with.  Raises BadModelFile if the folder holds no run."""
    refitted = refitted_checkpoint(folder)
    return refitted if refitted.is_file() else chosen_checkpoint(load_recipe(folder), folder)


def last_checkpoint(folder: Path) -> Path:
    """The last complete epoch: weights, optimiser, schedule."""
    return folder / "checkpoints" / "last.ckpt"


def check_run(recipe: Recipe, labels: Sequence[str], facts: dict[str, str], out: Path, resume: bool) -> None:
    """Check that `out` holds no run or, with `resume`, one that can go on; nothing is written.

    Raises:
        BadSetting: `out` holds a run and `resume` is off, or the run there has another recipe, other data (of which
            `facts` tell) or labels.
    """
    if check_free(recipe, out, resume):
        if (curves := out / "curves.csv").is_file():
            read_curves(curves)
        earlier = load_starts(out)[-1]
        if other := [key for key in facts if key in earlier and earlier[key] != facts[key]]:
            key = other[0]
            raise BadSetting(
                f"the run in '{out}' was started with other data: {key} was {earlier[key]}, got {facts[key]}"
            )
        if load_labels(out) != tuple(labels):
            raise BadSetting(f"the run in '{out}' was started with other labels: {', '.join(load_labels(out))}")


def open_run(
    recipe: Recipe, labels: Sequence[str], facts: dict[str, str], out: Path, resume: bool, said: str = ""
) -> None:
    """Create the run folder, or go on in it; versions.json gets an entry per start, with `said` as its `remark`.

    What an earlier end of the run exported is taken away: it would not fit what training makes of the weights. So this
    is the last step before training.

    Raises:
        BadSetting: as `check_run`.
    """
    check_run(recipe, labels, facts, out, resume)
    out.mkdir(parents=True, exist_ok=True)
    for file in (out / "model.onnx", out / "metrics.json", refitted_checkpoint(out)):
        file.unlink(missing_ok=True)
    _write(out / "labels.json", list(labels))
    log, remarks = out / "versions.json", {"remark": said} if said else {}
    earlier = load_starts(out) if log.is_file() else []
    _write(log, [*earlier, versions() | {"precision": resolved(recipe.precision)} | facts | remarks])
    _write(out / "recipe.json", recipe.as_dict())  # last: it says that this is a run


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from writing to a run folder, which is made if need be, and taken away where
    nothing was written to it.

    The file `lock` stays: if it were deleted, two processes could each lock a file of this name.

    Raises:
        BadSetting: another process holds the folder, or `lock` is a link.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lock"
    if file.is_symlink():
        raise BadSetting(f"'{file}' is a link, expected a file of affectlens; delete it")
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)  # it ends with the process, however that ends
    except Timeout as error:
        raise BadSetting(f"another process trains the run in '{folder}'") from error
    try:
        yield
    finally:
        if unused := made and list(folder.iterdir()) == [file]:
            with suppress(OSError):  # Windows does not delete what is open
                file.unlink()
        lock.release()
        with suppress(OSError):
            for one in made if unused else ():
                one.rmdir()


def adopt(recipe: Recipe, trained: Path, folder: Path) -> None:
    """Make the finished run `trained` the beginning of a run of `recipe`, which differs in what comes after training.

    Nothing is done where `folder`, which is locked, holds a run already.

    Raises:
        BadSetting: the run was trained with other settings.
    """
    if (folder / "recipe.json").is_file():
        return
    theirs = load_recipe(trained)
    check_recipe(replace(recipe, row=theirs.row, classifier=theirs.classifier), trained)
    if recipe.epochs != theirs.epochs:
        raise BadSetting(f"the run in '{trained}' was trained for up to {theirs.epochs} epochs, not {recipe.epochs}")
    shutil.copytree(trained / "checkpoints", folder / "checkpoints", dirs_exist_ok=True, copy_function=atomic_copy)
    refitted_checkpoint(folder).unlink(missing_ok=True)
    for name in ("labels.json", "versions.json", "curves.csv", "log.txt"):
        if (trained / name).is_file():  # runs of earlier versions have no log
            atomic_copy(trained / name, folder / name)
    _write(folder / "recipe.json", recipe.as_dict())  # last: it says that this is a run


def check_free(recipe: Recipe, out: Path, resume: bool) -> bool:
    """True where `out` holds a run that goes on, False where it holds none.

    Raises:
        BadSetting: it holds one and `resume` is off, or one of another recipe.
    """
    if out.is_file():
        raise BadSetting(f"'{out}' is a file, expected a folder for the run")
    if not (out / "recipe.json").is_file():
        return False
    if not resume:
        raise BadSetting(f"'{out}' already contains a run; choose another folder, or resume the run")
    check_recipe(recipe, out)
    return True


def note(folder: Path, text: str) -> None:
    """Append a line with date and time (UTC) to log.txt; control characters in it are escaped."""
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {visible(text)}\n")


def remark(folder: Path) -> str:
    """What the latest start of the run says that people should know, "" for nothing."""
    return str(load_starts(folder)[-1].get("remark", ""))


def check_recipe(recipe: Recipe, folder: Path, tested: bool = False) -> None:
    """Check that the run in `folder` has this recipe.

    The crop of photos may differ if it does not enter training. There may be more epochs if the schedule does not
    depend on their number, and of a run that is `tested` already any number: its table says how many. Where a precision
    is "auto", versions.json says what it was.

    Raises:
        BadSetting: another setting differs.
    """
    stored = load_recipe(folder)
    then, now = (json.loads(json.dumps(one.as_dict())) for one in (stored, recipe))
    crops = recipe.find_faces or "yes" in load_data(folder)[1].get("find_faces", "")
    spared = set(() if crops else _NOT_TRAINED)
    if "auto" in (then["precision"], now["precision"]):  # versions.json has what it was
        spared.add("precision")
    if tested or (recipe.schedule != "one-cycle" and recipe.epochs > stored.epochs):
        spared.add("epochs")
    if changed := [key for key in now if key not in spared and now[key] != then[key]]:
        key = changed[0]
        advice = f"{key} was {then[key]}, got {now[key]}; see '{folder / 'recipe.json'}'"
        if changed == ["epochs"] and recipe.schedule == "one-cycle":
            advice += " (the schedule one-cycle depends on the number of epochs)"
        verb = "differs" if len(changed) == 1 else "differ"
        raise BadSetting(
            f"the run in '{folder}' was started with another recipe: {', '.join(changed)} {verb}; {advice}"
        )


def check_data(source: DataSource, folder: Path) -> None:
    """Check that the run in `folder` used the data set and the options of `source`.

    Raises:
        BadSetting: it was about others.
    """
    then, now = load_starts(folder)[-1].get("data", "nothing known"), name_of(source.reader, source.options)
    if then != now:
        raise BadSetting(f"the run in '{folder}' was started with other data: {then}, got {now}")


def check_sources(recipe: Recipe, except_for: Sequence[str] = ()) -> None:
    """Raises BadModelFile where the recipe learns or starts from weights that are not there; some keys are spared."""
    wanted = [("teacher", name, _SOURCES["teacher"]) for name in recipe.teachers]
    wanted += [(key, getattr(recipe, key), advice) for key, advice in _SOURCES.items() if key != "teacher"]
    model = catalog.load("models", recipe.model)
    for option, content in getattr(model, "FILES", {}).items():
        key, value = f"model_options.{option}", str(recipe.model_options.get(option, ""))
        named = getattr(model, "FILE_FREE", {}).get(option, ())
        others = "".join(f", to '{name}', which needs no file," for name in named)
        if value not in named:
            wanted.append((key, value, f"set {key} to {content}{others or ','} or to nothing to do without"))
    for key, name, advice in wanted:
        where = Path(name).expanduser()
        bundled = name == "bundled" and key in _SOURCES
        if name and key not in except_for and not (bundled or best_checkpoint(where).is_file() or where.is_file()):
            raise BadModelFile(f"{recipe.name} needs {key}='{name}', which does not exist; {advice}")


def load_recipe(folder: Path) -> Recipe:
    """The recipe of a run folder.

    Raises:
        BadModelFile: the folder holds no run, or its recipe has keys that this version does not know.
    """
    try:
        return from_dict(_read(folder, "recipe.json"))
    except BadSetting as error:
        raise BadModelFile(f"'{folder / 'recipe.json'}': {error}") from error


def with_data_options(recipe: Recipe, source: DataSource) -> DataSource:
    """`source` with the recipe's options in the parts that are the recipe's own data and do not set them."""
    for key, value in recipe.data_options.items():
        source = source.with_default(recipe.data, key, value)
    return source


def load_labels(folder: Path) -> tuple[str, ...]:
    """The classes of a run folder in the order of the logits.

    Raises:
        BadModelFile: the folder holds no run.
    """
    labels = _read(folder, "labels.json", list)
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) != len(labels):
        raise BadModelFile(f"'{folder / 'labels.json'}' is damaged: expected a list of different names")
    return tuple(labels)


def load_starts(folder: Path) -> list[dict[str, Any]]:
    """What versions.json says of each start of a run, at least one.  Raises BadModelFile."""
    starts: list[dict[str, Any]] = _read(folder, "versions.json", list)
    if not starts or not all(isinstance(start, dict) for start in starts):
        raise BadModelFile(f"'{folder / 'versions.json'}' is damaged: expected an object for each start of the run")
    return starts


def load_data(folder: Path) -> tuple[str, dict[str, str]]:
    """Reader and options of the data that a run was last trained on.  Raises BadModelFile."""
    reader, *options = str(load_starts(folder)[-1].get("data", "")).split("&")
    pairs = (option.partition("=") for option in options)
    return reader, {key: value for key, _, value in pairs}


def load_run(folder: Path) -> ExpressionModule:
    """The best network of a run folder, in evaluation mode.

    Raises:
        BadModelFile: the folder holds no run with a checkpoint.
    """
    return load_checkpoint(load_recipe(folder), len(load_labels(folder)), final_checkpoint(folder))


def load_checkpoint(recipe: Recipe, classes: int, checkpoint: Path) -> ExpressionModule:
    """The module with the (averaged) weights of a checkpoint, in evaluation mode.

    Raises:
        BadModelFile: the file is missing, damaged, no checkpoint, or of another network.
    """
    if not checkpoint.is_file():
        raise BadModelFile(f"no trained run: '{checkpoint}' does not exist")
    module = ExpressionModule(recipe, classes)
    check_archive(checkpoint)
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict({key: value for key, value in state.items() if not key.startswith("losses.")})
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"'{checkpoint}' is not a checkpoint of {recipe.name}: {cause_of(error)}") from error
    module.eval()
    return module


def cause_of(error: Exception) -> str:
    """What torch says of a file that it cannot load, in one line and without its advice."""
    return without_advice(first_line(error).partition(". ")[0])


def save_refitted(module: ExpressionModule, folder: Path) -> None:
    """Write the module's weights as those that the run ends with."""
    stream = io.BytesIO()
    torch.save({"state_dict": module.state_dict()}, stream)
    atomic_write(refitted_checkpoint(folder), stream.getvalue())


def keep_losses(checkpoint: Path, folder: Path) -> None:
    """Write the tensors that the losses of a run hold, such as learned centres, to losses.npz: LOSS.NAME -> array.

    Nothing is written where they hold none.

    Raises:
        BadModelFile: the file is damaged, or no checkpoint.
    """
    check_archive(checkpoint)
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"'{checkpoint}' is not a checkpoint: {cause_of(error)}") from error
    prefix = "losses.modules_of."
    held = {name.removeprefix(prefix): value.numpy() for name, value in state.items() if name.startswith(prefix)}
    if held:
        stream = io.BytesIO()
        np.savez(stream, **held)
        atomic_write(folder / "losses.npz", stream.getvalue())


def load_centres(folder: Path, classes: int) -> NDArray[np.float32] | None:
    """(C, K, D) the K centres of each class that losses of the run have learned; None for a run without.

    Raises:
        BadModelFile: losses.npz is damaged.
    """
    file = folder / "losses.npz"
    if not file.is_file():
        return None
    check_archive(file)
    try:
        with open_regular(file) as stream, np.load(stream) as held:
            learned = [held[name] for name in held.files if name.endswith("centres.points")]
        centres = [part.reshape(classes, -1, part.shape[1]) for part in learned]
        return np.concatenate(centres, axis=1) if learned else None
    except Exception as error:  # NumPy raises many types for a file that is not its own, and advises to unpickle it
        raise BadModelFile(f"'{file}' is damaged, or holds centres of other classes") from error


def read_curves(file: Path) -> list[dict[str, float]]:
    """Rows of a curves.csv, one per epoch; NaN where an earlier version did not log a metric.

    Raises:
        BadData: it cannot be read as a table of numbers.
    """
    rows = []
    for place, row in csv_rows(file, ("epoch",)):
        try:
            rows.append({key: float(value) if value else math.nan for key, value in row.items()})
            int(row["epoch"])
        except ValueError as error:
            raise BadData(f"{place}: {error}") from error
    return rows


def load_calibration(folder: Path) -> tuple[float, float, tuple[float, ...] | None]:
    """Temperature, threshold of `uncertain` and class prior of a finished run; 1, 0 and None before that."""
    file = folder / "metrics.json"
    if not file.is_file():
        return 1.0, 0.0, None
    found = _read(folder, "metrics.json")
    try:
        temperature, below = float(found["temperature"]), float(found["uncertain_below"])
        shares = tuple(map(float, found.get("class_prior") or ()))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadModelFile(f"'{file}' is damaged: no calibration ({one_line(error)})") from error
    if not (0 < temperature < math.inf and math.isfinite(below) and all(map(math.isfinite, shares))):
        raise BadModelFile(f"'{file}' is damaged: the temperature must be > 0, and the threshold and prior finite")
    return temperature, below, shares or None


def versions() -> dict[str, str]:
    """Versions of what a run depends on, the commit of the source tree if it is one, and the device."""
    names = ("affectlens", "torch", "lightning", "numpy", "onnx", "onnxruntime", "opencv-python-headless")
    found = {name: version(name) for name in names}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"
    return found | {"python": platform.python_version(), "commit": _commit(), "device": device}


def _commit() -> str:
    """The commit of the source tree, "-dirty" appended where files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    try:
        tracked = git("ls-files", Path(__file__).name)
        return git("describe", "--always", "--dirty") if tracked else "not a git checkout"
    except OSError:
        return "unknown: no git"


def _read(folder: Path, name: str, kind: type = dict) -> Any:
    """A JSON file of a run folder.  Raises BadModelFile, OSError."""
    try:
        return read_json(folder / name, kind)
    except FileNotFoundError as error:
        raise BadModelFile(f"'{folder}' is not a run folder: it has no {name}") from error


def _write(file: Path, value: object) -> None:
    atomic_write(file, json.dumps(value, indent=2) + "\n")
