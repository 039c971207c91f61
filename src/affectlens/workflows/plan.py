"""Which runs the tables of a work take: rows, seeds, data and folders, and what stands in their way."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from affectlens.core.catalog import unknown
from affectlens.core.errors import AffectLensError, BadData, BadModelFile, BadSetting, UnknownName
from affectlens.core.files import read_json
from affectlens.data.source import DataSource, has_faces, name_of
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe
    from affectlens.training.tables import Row

RunError: TypeAlias = AffectLensError | OSError
"""What costs a run."""


@dataclass(frozen=True)
class Task:
    """What all runs of a call have in common.

    Attributes:
        sources: data sets to train on. test: data set to test on in the place of the first one's test split, or None.
        other_data: whether rows about data that are not among the sources are trained on the first one.
        deadline: Unix time in seconds after which no epoch is begun, or that it would exceed, or None.
    """

    sources: Sequence[DataSource]
    test: DataSource | None
    other_data: bool
    deadline: float | None

    @classmethod
    def of(
        cls, sources: Sequence[DataSource], test: DataSource | None, other_data: bool, minutes: float | None
    ) -> "Task":
        """The task that begins now.  Raises BadSetting if two sources have the same reader, or `sources` is empty."""
        readers = [source.reader for source in sources]
        if not readers:
            raise BadSetting("expected a data set, got none")
        if len(set(readers)) < len(readers):
            raise BadSetting(f"expected data sets of different readers, got {', '.join(readers)}")
        return cls(tuple(sources), test, other_data, None if minutes is None else time.time() + 60 * minutes)

    @property
    def readers(self) -> tuple[str, ...] | None:
        """Names of the data sets; None where the rows may be about any."""
        return None if self.other_data else tuple(source.reader for source in self.sources)

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.time() > self.deadline

    def source(self, recipe: "Recipe") -> DataSource:
        """What a recipe is trained on, without its own options.  Raises BadSetting where that is not given."""
        for source in self.sources:
            if source.reader == recipe.data:
                return source
        if not self.other_data:
            raise BadSetting(_other_data(recipe.name, recipe.data, self.readers or ()))
        return self.sources[0]

    def tested_on(self, recipe: "Recipe") -> DataSource:
        """What a recipe is tested on, with its own options.  Raises as `source`."""
        from affectlens.training.run import with_data_options

        source = self.source(recipe)
        return with_data_options(recipe, self.test if self.test and source == self.sources[0] else source)


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
        """Whether its run is, with as many epochs."""
        from affectlens.training.run import load_recipe

        try:
            return (self.folder / "model.onnx").is_file() and load_recipe(self.folder).epochs >= self.recipe.epochs
        except BadModelFile:  # `obstacles` names it
            return False

    def hindrance(self, ended: Mapping[Path, RunError | None]) -> RunError | None:
        """Why it cannot be begun after these runs of the same call: the one that it starts from is not finished."""
        from affectlens.training.callbacks import OutOfTime

        error = ended.get(self.after) if self.after else None
        if isinstance(error, OutOfTime):
            return OutOfTime("not begun, since there was no time for the run that it starts from")
        if error is not None:
            return BadModelFile(f"{self.recipe.name} starts from the run in '{self.after}', which failed")
        return None


def chosen_rows(
    rows: "Mapping[str, Row]",
    module: ModuleType,
    work: str,
    names: Sequence[str],
    tables: Sequence[str],
    readers: Collection[str] | None,
) -> list[str]:
    """Rows whose names or tables match the patterns; without any, those with published figures about the data of
    `readers`, or, if that is None, of the work's first row. A row that is another's under a second name is that other.

    Raises:
        UnknownName: a pattern matches nothing. BadSetting: no row is about the data.
    """
    found = [row for name in names for row in _matching(name, list(rows), "row", work)]
    for name in tables:
        for table in _matching(name, list(module.TABLES), "table", work):
            found += [row.name for row in module.TABLES[table].rows]
    if not names and not tables:
        first = next(iter(rows.values())).recipe
        wanted = (first.data,) if readers is None else readers
        found = [name for name, row in rows.items() if row.paper and row.recipe.data in wanted]
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
    planned: dict[str, list[Planned]] = {}
    for name in ordered:
        row = rows[name]
        first = find_recipe(row.recipe, overrides[name])
        planned[name] = []
        for number in range(seeds):
            seed = first.seed + number
            recipe = replace(first, seed=seed)
            after = planned[row.after][number] if row.after else None
            if after and recipe.classifier != "svm" and recipe.pretrained_file == row.recipe.pretrained_file:
                recipe = replace(recipe, pretrained_file=str(after.folder))
            folder = runs / f"{recipe.folder_name}{f'-seed-{seed}' if number else ''}"
            result = folder_of_seed(results / name, first.seed, seed)
            planned[name].append(
                Planned(recipe, folder, result, after.folder if after else None, after.recipe if after else None)
            )
    return [one for name, of_row in planned.items() for one in of_row if name in chosen or not one.is_finished]


def _settings_of(names: list[str], settings: Overrides, rows: "Mapping[str, Row]") -> Overrides:
    """The settings that are about a row: those without a row's name before their key, and those with one of its own."""
    if isinstance(settings, Mapping):
        keys = {path: _key_for(names, path, rows) for path in settings}
        return {key: settings[path] for path, key in keys.items() if key is not None}
    kept = []
    for setting in settings:
        path, equals, value = setting.partition("=")
        if (key := _key_for(names, path, rows)) is not None:
            kept.append(f"{key}{equals}{value}")
    return kept


def _key_for(names: list[str], path: str, rows: "Mapping[str, Row]") -> str | None:
    """The key of "KEY" or "ROW:KEY", None if it is not about the row with these names.  Raises UnknownName."""
    pattern, colon, key = path.partition(":")
    if not colon:
        return path
    matching = _matching(pattern, list(rows), "row", rows[names[0]].recipe.work)
    return None if set(matching).isdisjoint(names) else key


def _check_used(settings: Overrides, names: set[str]) -> None:
    """Raises BadSetting where a setting for some rows is for none of those that are run."""
    for path in (str(setting).partition("=")[0] for setting in settings):
        pattern, colon, _ = path.partition(":")
        if colon and not any(fnmatchcase(name, pattern) for name in names):
            raise BadSetting(f"the setting '{path}' is for no row that is run; these are: {', '.join(sorted(names))}")


def obstacles(planned: Sequence[Planned], task: Task) -> dict[str, AffectLensError]:
    """Name -> error of the runs that cannot be made, found without training: other data, data without faces or with
    other classes to test on, folders with something else, options of networks, and weights that cannot be had.
    """
    found: dict[str, AffectLensError] = {}
    blocked: set[Path] = set()
    coming = {one.folder for one in planned}
    known: dict[Any, AffectLensError | None] = {}
    for one in planned:
        try:
            source, tested_on = task.source(one.recipe), task.tested_on(one.recipe)
            _check_folder(one, source, tested_on)
            if not one.is_tested:
                _check_data(one.recipe, source, tested_on, known)
            if not (one.is_tested or one.is_finished):
                _check_start(one, coming, blocked, source, known)
        except AffectLensError as error:
            found[one.name] = error
            blocked.add(one.folder)
    return found


def _check_folder(one: Planned, source: DataSource, tested_on: DataSource) -> None:
    """Raises where a run or result that is there already has another recipe or other data, or is damaged."""
    from affectlens.training import run

    there = one.result if one.is_tested else one.folder
    if (there / "recipe.json").is_file():
        run.check_recipe(one.recipe, there, one.is_tested)
        run.check_data(run.with_data_options(one.recipe, source), there)
    if one.is_tested:
        file = one.result / "metrics.json"
        try:
            facts = read_json(file, dict)["facts"]
            then = name_of(facts["data"], facts["options"])
        except (BadModelFile, KeyError, TypeError, AttributeError) as error:
            raise BadModelFile(f"'{file}' is damaged; remove it to test the row again") from error
        if then != tested_on.name:
            raise BadSetting(f"'{one.result}' was tested on other data: {then}, got {tested_on.name}")


def _check_data(
    recipe: "Recipe", source: DataSource, tested_on: DataSource, known: dict[Any, AffectLensError | None]
) -> None:
    """Raises BadData where a split has no entries, or the test split has classes that training has not; `known`
    remembers what was found of the same data.
    """
    from affectlens.training.run import with_data_options

    trained_on = with_data_options(recipe, source)
    _raise_known(known, repr((trained_on, tested_on)), lambda: _data_error(trained_on, tested_on))


def _raise_known(
    known: dict[Any, AffectLensError | None], key: Any, find: Callable[[], AffectLensError | None]
) -> None:
    """Raise the error that `find` finds, if any; it is asked once for each key."""
    if key not in known:
        known[key] = find()
    if error := known[key]:
        raise error


def _data_error(trained_on: DataSource, tested_on: DataSource) -> AffectLensError | None:
    """Why one cannot train and select on the first data set and test on the second, or None; no image is read."""
    try:
        for source, split in ((trained_on, "train"), (trained_on, "valid"), (tested_on, "test")):
            if not has_faces(source.without_meta(), split):
                return BadData(f"{source.name}: the split '{split}' has no faces")
        labels = trained_on.labels()
        if foreign := [label for label in tested_on.labels() if label not in labels]:
            return BadData(
                f"the classes for training are {', '.join(labels)}, but the test data also have {', '.join(foreign)}"
            )
    except AffectLensError as error:
        return error
    return None


def _check_start(
    one: Planned, coming: set[Path], blocked: set[Path], source: DataSource, known: dict[Any, AffectLensError | None]
) -> None:
    """Raises where what the run starts from cannot be had; `known` remembers what was found of the same networks."""
    from affectlens.training import run

    recipe = one.recipe
    run.check_sources(recipe, except_for=("pretrained_file",) if one.after else ())
    if one.after is not None and one.after_recipe is not None:
        if one.after in blocked:
            raise BadModelFile(f"{recipe.name} starts from the run in '{one.after}', which cannot be made")
        if one.after not in coming:
            run.check_recipe(one.after_recipe, one.after)
        return
    options = (recipe.model, repr(recipe.model_options), recipe.channels, recipe.size_px)
    _raise_known(known, (*options, recipe.pretrained, recipe.pretrained_file), lambda: _start_error(recipe, source))


def _start_error(recipe: "Recipe", source: DataSource) -> AffectLensError | None:
    """Why the network cannot be built, or the weights that it begins with cannot be loaded, or None."""
    from affectlens.training import start
    from affectlens.training.run import with_data_options

    return start.start_error(recipe, with_data_options(recipe, source).labels())


def _other_data(name: str, expected: str, got: Collection[str]) -> str:
    named = ", ".join(f"'{reader}'" for reader in got)
    return f"'{name}' expects data of '{expected}', got {named}; name such data, or set other_data to use these anyway"
