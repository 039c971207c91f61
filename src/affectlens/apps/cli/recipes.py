"""`affectlens recipes`: what can be trained, and with which settings."""

from typing import Annotated

import typer
from rich.table import Table

from affectlens.apps.cli.console import print_table, wide
from affectlens.core import catalog

recipes = typer.Typer(help="List the recipes, or show the settings of one.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(recipes, name="recipes")


@recipes.command("list")
def list_() -> None:
    """All recipes: one line per row of each work."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("recipe", "data", "model", "options", "losses", "epochs"):
        table.add_column(name, no_wrap=True)
    for work in catalog.available("training.recipes"):
        for recipe in catalog.load("training.recipes", work).ROWS.values():
            options = ", ".join(f"{key}={value}" for key, value in recipe.model_options.items())
            losses = " + ".join(name if w == 1 else f"{w:g} {name}" for name, w in recipe.losses.items())
            table.add_row(recipe.name, recipe.data, recipe.model, options, losses, str(recipe.epochs))
    print_table(table, wide)


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="WORK/ROW, the name of a work for its first row, or a YAML file.")],
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="As a YAML file that `affectlens train` takes when edited.")
    ] = False,
) -> None:
    """All settings of a recipe."""
    from affectlens.training.recipe import find, to_yaml

    recipe = find(name)
    if as_yaml:
        typer.echo(to_yaml(recipe), nl=False)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in recipe.as_dict().items():
        table.add_row(key, str(value))
    print_table(table)
