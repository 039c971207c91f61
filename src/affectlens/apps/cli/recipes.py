"""`affectlens recipes`: list the recipes and show their settings."""

from collections import Counter
from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import Table, out, print_table, say, wide
from affectlens.workflows.recipes import as_yaml as yaml_of
from affectlens.workflows.recipes import find_recipe, rows_of, works

recipes = typer.Typer(help="List the recipes, or show the settings of one.", no_args_is_help=True)

_IN_COLUMNS = ("work", "row", "losses")
_IN_HEADING = ("data", "model", "epochs", "size_px")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(recipes, name="recipes")


@recipes.command("list")
def list_(
    work: Annotated[
        str | None, typer.Argument(help="List only the recipes of this work.  [default: all works]")
    ] = None,
) -> None:
    """List all recipes by work, with their losses and the settings that differ from most recipes of the work."""
    for name in [work] if work else works():
        rows = rows_of(name)
        settings = [_flat(recipe.as_dict()) for recipe in rows.values()]
        usual = {key: _most_common([row.get(key) for row in settings]) for row in settings for key in row}
        table = Table()
        table.add_column("recipe", no_wrap=True)
        table.add_column("losses")
        table.add_column("differing settings", overflow="fold")
        for recipe, row in zip(rows.values(), settings, strict=True):
            losses = " + ".join(loss if w == 1 else f"{w:g} {loss}" for loss, w in recipe.losses.items())
            own = [f"{key}={_text(row.get(key))}" for key in usual if row.get(key) != usual[key]]
            table.add_row(recipe.name, losses, ", ".join(own))
        say(f"{name}: {', '.join(f'{key} {usual[key]}' for key in _IN_HEADING)} unless listed")
        print_table(table, out if out.is_terminal else wide, fold=True)
        say()


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Name -> value; options of model and losses one by one under their own names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in ("model_options", "data_options"):
            flat |= value
        elif key == "loss_options":
            flat |= {f"{loss}.{name}": entry for loss, options in value.items() for name, entry in options.items()}
        elif key not in _IN_COLUMNS:
            flat[key] = value
    return flat


def _most_common(values: list[Any]) -> Any:
    """The value that most rows have; the first of several."""
    texts = [str(value) for value in values]
    return values[texts.index(Counter(texts).most_common(1)[0][0])]


def _text(value: Any) -> str:
    """A setting as `--set` takes it; "-" for an option that is left to its default."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="Recipe: WORK/ROW, WORK for its first row, or a YAML file.")],
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print YAML, which can be edited and passed to `affectlens train`.")
    ] = False,
) -> None:
    """Show all settings of a recipe."""
    recipe = find_recipe(name)
    if as_yaml:
        typer.echo(yaml_of(recipe), nl=False)
        return
    table = Table(show_header=False)
    for key, value in recipe.as_dict().items():
        table.add_row(key, str(value))
    print_table(table)
