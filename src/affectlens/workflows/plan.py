"""Which runs the tables of a work take: rows, seeds and folders, and what stands in their way."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from affectlens.core.catalog import unknown
from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting, UnknownName
from affectlens.data.source import DataSource, name_of
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe
    from affectlens.training.tables import Row


@dataclass(frozen=True)
class Planned:
    """One run: a row with one seed.

    Attributes:
        recipe: what is trained. folder: of the run. result: of what stays of it.
        after: run folder that must be finished before, or None. after_recipe: of that run.
    """

    recipe: "Recipe"
    folder: Path
    result: Path
    after: Path | None
    after_recipe: "Recipe | None" = None

    @property
    def name(self) -> str:
        """Work, row and, where the run folder has one, seed."""
        return self.recipe.name + self.folder.name.removeprefix(self.recipe.folder_name).replace("-", " ")

    @property
    def is_tested(self) -> bool:
        """Whether its result is there."""
        return (self.result / "metrics.json").is_file()

    @property
    def is_finished(self) -> bool:
        """Whether its run is."""
        from affectlens.training.run import load_recipe

        return (self.folder / "model.onnx").is_file() and load_recipe(self.folder).epochs >= self.recipe.epochs


def chosen_rows(
    rows: "Mapping[str, Row]",
    module: ModuleType,
    work: str,
    names: Sequence[str],
    tables: Sequence[str],
    reader: str | None,
) -> list[str]:
    """Rows whose names or tables match the patterns; without any, those with published figures about the data of
    `reader`, or, if that is None, of the work's first row. A row that is another's under a second name is that other.

    Raises:
        UnknownName: a pattern matches nothing. BadSetting: no row is about the data.
    """
    found = [row for name in names for row in _matching(name, list(rows), "row", work)]
    for name in tables:
        for table in _matching(name, list(module.TABLES), "table", work):
            found += [row.name for row in module.TABLES[table].rows]
    if not names and not tables:
        first = next(iter(rows.values())).recipe
        wanted = first.data if reader is None else reader
        found = [name for name, row in rows.items() if row.paper and row.recipe.data == wanted]
        if not found:
            raise BadSetting(_other_data(first.work, first.data, wanted))
    return list(dict.fromkeys(rows[name].same_as or name for name in found))


def _matching(pattern: str, names: list[str], what: str, work: str) -> list[str]:
    """Names that a pattern matches.  Raises UnknownName."""
    if found := [name for name in names if fnmatchcase(name, pattern)]:
        return found
    raise UnknownName(unknown(what, pattern, names, f"of '{work}'"))


def folder_of_seed(row: Path, first_seed: int, seed: int) -> Path:
    """Where the result of a row lies: that of its first seed in the row's folder, others below it."""
    return row if seed == first_seed else row / f"seed-{seed}"


def planned_runs(
    rows: "Mapping[str, Row]", chosen: Sequence[str], settings: Overrides, seeds: int, results: Path, runs: Path
) -> list[Planned]:
    """A run for each row and seed, the rows that others start from first; of those that are not chosen, the unfinished.

    Raises:
        BadSetting: there is no such setting, a setting for some rows is for none of these, or `seeds` is below 1.
            UnknownName: a setting is for a row that there is not.
    """
    from affectlens.training.tables import names_of

    if seeds < 1:
        raise BadSetting(f"seeds must be >= 1, got {seeds}")
    ordered = dict.fromkeys(name for row in chosen for name in (rows[row].after, row) if name)
    overrides = {name: _settings_of(names_of(rows, name), settings, rows) for name in ordered}
    _check_used(settings, {name for row in ordered for name in names_of(rows, row)})
    planned: list[Planned] = []
    made: dict[Path, Recipe] = {}
    for name in ordered:
        row = rows[name]
        first = find_recipe(row.recipe, overrides[name])
        for seed in range(first.seed, first.seed + seeds):
            suffix = "" if seed == first.seed else f"-seed-{seed}"
            after = runs / f"{first.work}-{row.after}{suffix}" if row.after else None
            recipe = replace(first, seed=seed)
            if after and recipe.classifier != "svm" and recipe.pretrained_file == row.recipe.pretrained_file:
                recipe = replace(recipe, pretrained_file=str(after))
            folder = runs / f"{recipe.folder_name}{suffix}"
            made[folder] = recipe
            result = folder_of_seed(results / name, first.seed, seed)
            one = Planned(recipe, folder, result, after, made[after] if after else None)
            if name in chosen or not one.is_finished:
                planned.append(one)
    return planned


def _settings_of(names: list[str], settings: Overrides, rows: "Mapping[str, Row]") -> Overrides:
    """The settings that are about a row: those without a row's name before their key, and those with one of its own."""
    if isinstance(settings, Mapping):
        return {key: value for path, value in settings.items() if (key := _key_for(names, path, rows))}
    kept = []
    for setting in settings:
        path, equals, value = setting.partition("=")
        if key := _key_for(names, path, rows):
            kept.append(f"{key}{equals}{value}")
    return kept


def _key_for(names: list[str], path: str, rows: "Mapping[str, Row]") -> str:
    """The key of "KEY" or "ROW:KEY" if it is about the row with these names, else "".  Raises UnknownName."""
    pattern, colon, key = path.partition(":")
    if not colon:
        return path
    matching = _matching(pattern, list(rows), "row", rows[names[0]].recipe.work)
    return "" if set(matching).isdisjoint(names) else key


def _check_used(settings: Overrides, names: set[str]) -> None:
    """Raises BadSetting where a setting for some rows is for none of those that are run."""
    for path in (str(setting).partition("=")[0] for setting in settings):
        pattern, colon, _ = path.partition(":")
        if colon and not any(fnmatchcase(name, pattern) for name in names):
            raise BadSetting(f"the setting '{path}' is for no row that is run; these are: {', '.join(sorted(names))}")


def obstacles(
    planned: Sequence[Planned], source: DataSource, tested_on: DataSource, other_data: bool
) -> dict[str, AffectLensError]:
    """Name -> error of the runs that cannot be made, found without training: other data, folders with something else,
    and weights that cannot be had, for which each kind of network is built once.
    """
    found: dict[str, AffectLensError] = {}
    blocked: set[Path] = set()
    coming = {one.folder for one in planned}
    known: dict[Any, AffectLensError | None] = {}
    for one in planned:
        try:
            if one.recipe.data != source.reader and not other_data:
                raise BadSetting(_other_data(one.recipe.name, one.recipe.data, source.reader))
            _check_folder(one, source, tested_on)
            if not (one.is_tested or one.is_finished):
                _check_start(one, coming, blocked, source, known)
        except AffectLensError as error:
            found[one.name] = error
            blocked.add(one.folder)
    return found


def _check_folder(one: Planned, source: DataSource, tested_on: DataSource) -> None:
    """Raises BadSetting where a run or result that is there already has another recipe or other data."""
    from affectlens.training import run

    there = one.result if one.is_tested else one.folder
    if (there / "recipe.json").is_file():
        run.check_recipe(one.recipe, there, one.is_tested)
        run.check_data(run.with_data_options(one.recipe, source), there)
    if one.is_tested:
        facts = json.loads((one.result / "metrics.json").read_text(encoding="utf-8"))["facts"]
        then, now = name_of(facts["data"], facts["options"]), run.with_data_options(one.recipe, tested_on).name
        if then != now:
            raise BadSetting(f"'{one.result}' was tested on other data: {then}, got {now}")


def _check_start(
    one: Planned, coming: set[Path], blocked: set[Path], source: DataSource, known: dict[Any, AffectLensError | None]
) -> None:
    """Raises where what the run starts from cannot be had; `known` remembers weights of networks."""
    from affectlens.training import run

    recipe = one.recipe
    run.check_sources(recipe, except_for=("pretrained_file",) if one.after else ())
    if one.after is not None and one.after_recipe is not None:
        if one.after in blocked:
            raise BadModelFile(f"{recipe.name} starts from the run in '{one.after}', which cannot be made")
        if one.after not in coming:
            run.check_recipe(one.after_recipe, one.after)
    elif recipe.pretrained:
        key = (recipe.model, repr(recipe.model_options), recipe.pretrained_file, recipe.channels, recipe.size_px)
        if key not in known:
            known[key] = _weights_error(recipe, source)
        if error := known[key]:
            raise error


def _weights_error(recipe: "Recipe", source: DataSource) -> AffectLensError | None:
    """Why the weights that the recipe begins with cannot be loaded, or None."""
    from affectlens.training.module import ExpressionModule
    from affectlens.training.run import with_data_options
    from affectlens.training.start import begin

    labels = with_data_options(recipe, source).labels()
    try:
        begin(ExpressionModule(recipe, len(labels)).network, recipe, labels, fresh=True)
    except AffectLensError as error:
        return error
    return None


def _other_data(name: str, expected: str, got: str) -> str:
    return f"'{name}' expects data of '{expected}', got '{got}'; set other_data to use it anyway"
