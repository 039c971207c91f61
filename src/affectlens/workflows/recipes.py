"""Recipes in the catalog."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectlens.core import catalog

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe

Overrides = Mapping[str, Any] | Sequence[str]
"""Recipe key -> value, "model_options.NAME" for an entry of a mapping; or texts "key=value"."""


def works() -> list[str]:
    """Names of the works."""
    return catalog.available("training.recipes")


def rows_of(work: str) -> "Mapping[str, Recipe]":
    """Row -> recipe of a work, in the order of its table.

    Raises:
        UnknownName: there is no such work.
    """
    rows: Mapping[str, Recipe] = catalog.load("training.recipes", work).ROWS
    return rows


def find_recipe(recipe: "str | Path | Recipe", settings: Overrides = ()) -> "Recipe":
    """The recipe "WORK/ROW", the first row of a work by the work's name, or the one in a YAML file, with `settings`
    applied; a `Recipe` stands for itself.

    Raises:
        UnknownName: no such work or row. BadSetting: the file holds no recipe, or there is no such setting.
    """
    from affectlens.training.recipe import find, with_settings

    return with_settings(find(str(recipe)) if isinstance(recipe, (str, Path)) else recipe, settings)


def as_yaml(recipe: "Recipe") -> str:
    """A recipe as text of a YAML file that `train` takes."""
    from affectlens.training.recipe import to_yaml

    return to_yaml(recipe)
