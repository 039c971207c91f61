"""Figures of a data set, and of what the training of a recipe makes of it."""

from typing import TYPE_CHECKING

import numpy as np

from affectlens.core.errors import BadData
from affectlens.data.samplers import age_group, age_group_name
from affectlens.data.table import FaceTable
from affectlens.evaluation import affect_plots, plots, training_plots
from affectlens.workflows.figure_options import FigureOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from affectlens.training.recipe import Recipe

FACES_OF_TRAINING = 8
"""Faces in training-faces, unless stated: one of each class where there are eight."""


def va_plane(options: FigureOptions) -> "Figure":
    """Valence and arousal of each class (Antoniadis, figures 4.5.1 and 5.2.1, training set; 6.3.1, validation set)."""
    data = options.source()
    table = data.load(options.split)
    if not (np.isfinite(table.valence) & np.isfinite(table.arousal) & table.labelled).any():
        lacking = f"no labelled face in the split '{options.split}' has valence and arousal"
        raise BadData(f"{lacking} (for ferplus, use ?va=projected)")
    affect = np.stack([table.valence, table.arousal], axis=1)
    note = "valence and arousal projected from the raters' votes" if data.options.get("va") == "projected" else ""
    return affect_plots.va_plane(affect, table.targets, table.labels, options.divisions, note)


def ages(options: FigureOptions) -> "Figure":
    """Share of each class in each age group (Antoniadis, figure 5.3.1a); a group without faces is left out."""
    table = options.labelled()
    table = table.keep(np.isfinite(table.age_years))
    if not len(table):
        raise BadData(
            f"no labelled face in the split '{options.split}' has an age; name a file of ages with ?meta=FILE"
        )
    groups, classes = age_group(table.age_years), len(table.labels)
    counts = {int(group): np.bincount(table.targets[groups == group], minlength=classes) for group in np.unique(groups)}
    rows = {age_group_name(group): {"faces": int(own.sum()), "labels": own} for group, own in counts.items()}
    return plots.group_labels(rows, table.labels, "age")


def training_faces(options: FigureOptions) -> "Figure":
    """Faces as the training of a recipe or run sees them: as stored, aligned, and augmented several times (Antoniadis,
    figures 3.1.2 and 3.1.3; Da Re, figure 4.7).
    """
    recipe, table = options.training_set()
    return draw_training_faces(table, recipe, options.faces or FACES_OF_TRAINING, options.versions)


def draw_training_faces(table: FaceTable, recipe: "Recipe", faces: int, versions: int) -> "Figure":
    """`training_faces` of a training set that is read."""
    from affectlens.training import preview

    seen = preview.training_faces(table, recipe, faces, versions)
    return plots.picture_sheet(seen.by_face, seen.labels, list(seen.steps))


def batches(options: FigureOptions) -> "Figure":
    """Share of each class in the batches of an epoch, without and with a recipe's sampler (Da Re, figures 4.8, 4.9)."""
    recipe, table = options.training_set()
    return draw_batches(table, recipe)


def draw_batches(table: FaceTable, recipe: "Recipe") -> "Figure":
    """`batches` of a training set that is read."""
    from affectlens.training import preview

    return training_plots.batch_shares(table.labels, preview.batches_drawn(table, recipe))
