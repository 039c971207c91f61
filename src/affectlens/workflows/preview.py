"""Preview pictures of the training faces as a recipe transforms them."""

from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.data.source import DataSource
from affectlens.evaluation import plots
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe

EPOCHS = 3


def preview(
    recipe: "str | Path | Recipe",
    data: str | Path | DataSource,
    out: str | Path = "preview",
    *,
    faces: int = 8,
    settings: Overrides = (),
) -> int:
    """Draw faces.png and classes.png into the folder `out` (extra `train`).

    faces.png shows some faces as stored, as network input, and as three epochs augment them, a row for each (the figure
    "training-faces" of `plot` is the same for any number of epochs, and for runs); classes.png how often each class
    comes in an epoch without and with the recipe's sampler. Arguments are those of `train`.

    Returns:
        How many training faces there are.
    """
    require_training("a preview")
    from affectlens.training.preview import classes_seen, training_faces
    from affectlens.training.run import with_data_options

    chosen = find_recipe(recipe, settings)
    source = source_of(data)
    table = with_data_options(chosen, source).load("train")
    seen = training_faces(table, chosen, faces, EPOCHS)
    without, with_sampler = classes_seen(table, chosen)
    folder = Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    plots.save(plots.picture_sheet(seen.by_face, seen.labels, list(seen.steps)), folder / "faces.png")
    plots.save(plots.class_balance(table.labels, without.tolist(), with_sampler.tolist()), folder / "classes.png")
    return len(table)
