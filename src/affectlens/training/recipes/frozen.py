"""Heads and graphs of Antoniadis on frozen features of FER+ faces: his tables 5.1, 5.2 and 6.1 to 6.3 in minutes.

The rows are those of `recipes.antoniadis`, with the bundled model's network in the place of DenseNet121 and only what
lies behind it trained: whatever differs between two rows comes from the head, the losses and the sampler. Faces are not
augmented, so that their features are computed once. Valence and arousal are those projected from the votes
(`?va=projected`), classes the seven of the thesis (`?classes=7`), and eight in the last table. FER+ has no ages:
`t5.2-wce-wce-age` needs them from `?meta=FILE`, and cannot be run without. Printed figures are on AffectNet and are no
target here; where an effect is, its sign and size are.

The features come from a network that was trained on the same faces, so they separate the training faces better than
others; validation and test faces it has not seen.
"""

from dataclasses import replace
from typing import Any

from affectlens.training.recipe import Recipe
from affectlens.training.recipes import antoniadis
from affectlens.training.tables import Row, Table, recipes_of

FROZEN: dict[str, Any] = {
    "work": "frozen",
    "data": "ferplus",
    "data_options": {"va": "projected", "classes": "7"},
    "drop_near_duplicates": True,
    "pretrained": True,
    "pretrained_file": "bundled",
    "size_px": 48,
    "channels": "gray",
    "mean": (0.5,),
    "std": (0.25,),
    "relight": True,
    "eye_distance": 0.0,
    "flip": 0.0,
    "rotation_deg": 0.0,
    "exposure": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
}


def _frozen(recipe: Recipe, **changes: Any) -> Recipe:
    options = {**recipe.model_options, "backbone": "bundled", "train": "head"}
    return replace(recipe, model_options=options, **{**FROZEN, **changes})


def _table(name: str) -> Table:
    """A table of the thesis on frozen features."""
    printed = antoniadis.TABLES[name]
    return replace(printed, rows=tuple(replace(row, recipe=_frozen(row.recipe)) for row in printed.rows))


BASELINE = antoniadis.TABLES["t3.1"].rows[-1]


def _eight(row: Row) -> Row:
    """A row with contempt as eighth class."""
    recipe = _frozen(row.recipe, row=f"{row.name}-eight", data_options={"va": "projected"})
    return replace(row, recipe=recipe, paper={}, same_as="")


TABLES = {
    "t3.1": Table("Table 3.1: the baseline", (replace(BASELINE, recipe=_frozen(BASELINE.recipe)),)),
    **{name: _table(name) for name in ("t5.1", "t5.2", "t6.1", "t6.2", "t6.3")},
    "t6.1-eight": Table(
        "Table 6.1 with eight classes", tuple(map(_eight, antoniadis.TABLES["t6.1"].rows)), baseline="t6.1-single-eight"
    ),
}
METRIC = antoniadis.METRIC
PAPER_DATA = "affectnet"
ROWS = recipes_of(TABLES)
