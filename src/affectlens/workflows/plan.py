"""Which runs the tables of a work take: rows, seeds and folders, and what stands in their way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from affectlens.core.catalog import unknown
from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting, UnknownName
from affectlens.data.source import DataSource
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe
    from affectlens.training.tables import Row


@dataclass(frozen=True)
class Planned:
    """One run: a row with one seed.

    Attributes:
        recipe: what is trained. folder: of the run. result: of what stays of it.
        after: run folder that must be finished before, or None.
    """

    recipe: "Recipe"
    folder: Path
    result: Path
    after: Path | None

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


def planned_runs(
    rows: "Mapping[str, Row]", chosen: Sequence[str], settings: Overrides, seeds: int, results: Path, runs: Path
) -> list[Planned]:
    """A run for each row and seed, the rows that others start from first; also those that are not chosen but missing.

    Raises:
        BadSetting: there is no such setting, or `seeds` is below 1. UnknownName: a setting is for a row that there is
            not.
    """
    from affectlens.workflows.results_table import folder_of_seed

    if seeds < 1:
        raise BadSetting(f"seeds must be >= 1, got {seeds}")
    ordered = dict.fromkeys(name for row in chosen for name in (rows[row].after, row) if name)
    planned = []
    for name in ordered:
        row = rows[name]
        first = find_recipe(row.recipe, _settings_of(row.recipe, settings, list(rows)))
        for seed in range(first.seed, first.seed + seeds):
            suffix = "" if seed == first.seed else f"-seed-{seed}"
            after = runs / f"{first.work}-{row.after}{suffix}" if row.after else None
            recipe = replace(first, seed=seed)
            if after and recipe.classifier != "svm" and recipe.pretrained_file == row.recipe.pretrained_file:
                recipe = replace(recipe, pretrained_file=str(after))
            folder = runs / f"{recipe.folder_name}{suffix}"
            one = Planned(recipe, folder, folder_of_seed(results / name, first.seed, seed), after)
            if name in chosen or not one.is_finished:
                planned.append(one)
    return planned


def _settings_of(recipe: "Recipe", settings: Overrides, rows: list[str]) -> Overrides:
    """The settings that are about a row: those without a row's name before their key, and those with its own."""
    if isinstance(settings, Mapping):
        return {key: value for path, value in settings.items() if (key := _key_for(recipe, path, rows))}
    kept = []
    for setting in settings:
        path, equals, value = setting.partition("=")
        if key := _key_for(recipe, path, rows):
            kept.append(f"{key}{equals}{value}")
    return kept


def _key_for(recipe: "Recipe", path: str, rows: list[str]) -> str:
    """The key of "KEY" or "ROW:KEY" if it is about the row, else "".  Raises UnknownName."""
    pattern, colon, key = path.partition(":")
    if not colon:
        return path
    return key if recipe.row in _matching(pattern, rows, "row", recipe.work) else ""


def check_folders(planned: Sequence[Planned], source: DataSource) -> None:
    """Raises BadSetting where a run or result that is there already has another recipe or other data."""
    from affectlens.training import run

    for one in planned:
        there = one.result if one.is_tested else one.folder
        if (there / "recipe.json").is_file():
            run.check_recipe(one.recipe, there, one.is_tested)
            run.check_data(run.with_data_options(one.recipe, source), there)


def obstacles(planned: Sequence[Planned], source: DataSource, other_data: bool) -> dict[str, AffectLensError]:
    """Name -> error of the runs that cannot be made, found without training: other data, and weights that cannot be
    had, for which each kind of network is built once.
    """
    from affectlens.training.run import check_sources

    found: dict[str, AffectLensError] = {}
    coming = {one.folder for one in planned if not one.is_tested}
    known: dict[Any, AffectLensError | None] = {}
    for one in planned:
        recipe = one.recipe
        if one.is_tested or one.is_finished:
            continue
        try:
            if recipe.data != source.reader and not other_data:
                raise BadSetting(_other_data(recipe.name, recipe.data, source.reader))
            if one.after is None:
                check_sources(recipe)
            elif one.after not in coming and not (one.after / "model.onnx").is_file():
                raise BadModelFile(f"{recipe.name} starts from the run in '{one.after}', which is not finished")
            elif any(other.folder == one.after and other.name in found for other in planned):
                raise BadModelFile(f"{recipe.name} starts from the run in '{one.after}', which cannot be made")
            if recipe.pretrained and one.after is None:
                key = (
                    recipe.model,
                    repr(recipe.model_options),
                    recipe.pretrained_file,
                    recipe.channels,
                    recipe.size_px,
                )
                if key not in known:
                    known[key] = _weights_error(recipe, source)
                if error := known[key]:
                    raise error
        except AffectLensError as error:
            found[one.name] = error
    return found


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
