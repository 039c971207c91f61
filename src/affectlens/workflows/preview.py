"""Preview pictures of the training faces as a recipe transforms them."""

from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.data.source import DataSource
from affectlens.evaluation import plots
from affectlens.workflows import data_figures
from affectlens.workflows.figure_options import VERSIONS, FigureName, FigureOptions
from affectlens.workflows.recipes import Overrides

if TYPE_CHECKING:
    from affectlens.training.recipe import Recipe


def preview(
    recipe: "str | Path | Recipe",
    data: str | Path | DataSource,
    out: str | Path = "preview",
    *,
    faces: int = data_figures.FACES_OF_TRAINING,
    settings: Overrides = (),
) -> int:
    """Draw faces.png and classes.png into the folder `out` (extra `train`).

    They are the figures "training-faces" and "batches" of `plot` for a recipe: faces as stored, as network input, and
    as augmented in three epochs, a row for each; and the share of each class in the batches of an epoch, without and
    with the recipe's sampler. Arguments are those of `train`.

    Returns:
        How many training faces there are.

    Raises:
        As `plot`.
    """
    options = FigureOptions(FigureName.TRAINING_FACES, data, split="train", recipe=recipe, settings=settings)
    chosen, table = options.training_set()
    figures = {
        "faces.png": data_figures.draw_training_faces(table, chosen, faces, VERSIONS),
        "classes.png": data_figures.draw_batches(table, chosen),
    }
    folder = Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        plots.save(figure, folder / name)
    return len(table)
