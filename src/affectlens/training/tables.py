"""Published tables as values: their rows, each a recipe with its printed figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from affectlens.core.errors import BadSetting
from affectlens.training.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        recipe: what is trained; `recipe.row` names the row.
        paper: metric -> printed figure, as a fraction: "accuracy", "mean_class_accuracy", "weighted_precision",
            "weighted_recall", "weighted_f1", "valence_ccc", "arousal_ccc", or "challenge" (0.67 macro F1 + 0.33
            accuracy, the summary of the Aff-Wild2 challenge; assumed, as Antoniadis, section 6.4.1, says only "the
            total evaluation metric").
        same_as: row of the same recipe under another name, which is trained in its place; "" for none.
        after: row whose finished run this one starts from: a recipe with classifier=svm takes over its network, any
            other its weights as `pretrained_file`; "" for none.
        cell: grid, line and column of a row that the table prints as a cell of a grid; () for a line of its own.
    """

    recipe: Recipe
    paper: Mapping[str, float] = field(default_factory=dict)
    same_as: str = ""
    after: str = ""
    cell: tuple[str, str, str] | tuple[()] = ()

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.recipe.row


@dataclass(frozen=True)
class Table:
    """Rows in the order in which they are printed.

    Attributes:
        title: what the table is about.
        rows: rows; one may stand in several tables of a work, with other figures.
        baseline: row to which the others are compared; "" for none.
    """

    title: str
    rows: tuple[Row, ...]
    baseline: str = ""


def rows_of(tables: Mapping[str, Table]) -> dict[str, Row]:
    """Name -> row of all tables, in order; a row of several tables has the figures of all of them.

    Raises:
        BadSetting: two tables have different recipes, or different figures for one metric, under one name.
    """
    rows: dict[str, Row] = {}
    for table in tables.values():
        for row in table.rows:
            known = rows.setdefault(row.name, row)
            both = {**known.paper, **row.paper}
            if row != replace(known, paper=row.paper, cell=row.cell) or both != {**row.paper, **known.paper}:
                raise BadSetting(f"the row '{row.name}' stands in two tables with other settings or figures")
            rows[row.name] = replace(known, paper=both)
    return rows


def recipes_of(tables: Mapping[str, Table]) -> dict[str, Recipe]:
    """Name -> recipe of all rows of all tables, in order."""
    return {name: row.recipe for name, row in rows_of(tables).items()}


def names_of(rows: Mapping[str, Row], name: str) -> list[str]:
    """All names of a row, the one that is trained first."""
    trained = rows[name].same_as or name
    return [trained, *(other for other, row in rows.items() if row.same_as == trained)]
