"""Arguments of `plot`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.progress import SILENT, Progress
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.module import ExpressionModule
    from affectlens.training.recipe import Recipe


VERSIONS = 3
"""Augmented versions of each face in training-faces, unless stated."""


class FigureName(StrEnum):
    """Figures."""

    VA_PLANE = "va-plane"
    AGES = "ages"
    TRAINING_FACES = "training-faces"
    BATCHES = "batches"
    SAMPLES = "samples"
    HEATMAPS = "heatmaps"
    LANDMARKS = "landmarks"
    EMOTION_SPACE = "emotion-space"
    FEATURES = "features"
    DISTANCES = "distances"
    ADJACENCY = "adjacency"
    SIMILARITY = "similarity"
    LANDSCAPE = "landscape"
    FOCAL_LOSS = "focal-loss"
    TIMELINE = "timeline"


@dataclass(frozen=True)
class FigureOptions:
    """The arguments of `plot`; the methods raise BadSetting where one that a figure needs is missing.

    Attributes:
        name: the figure.
        data: data set, as in `plot`; None without one.
        models: run folders, ONNX files, weights files or "bundled".
        split: "train", "valid" or "test", of `data`.
        divisions: number of sectors of va-plane: 0, 4, 8 or 12.
        faces: maximum number of faces, >= 1; None for the default of the figure.
        points: number of points along each direction of landscape, odd.
        table: table of a video's faces, for timeline.
        recipe: for training-faces and batches; None for that of the run.
        settings: changes of the recipe.
        versions: number of augmented versions of each face in training-faces, >= 1.
        progress: receives progress updates.
    """

    name: FigureName
    data: str | Path | DataSource | None = None
    models: Sequence[str] = ()
    split: str = "test"
    divisions: int = 8
    faces: int | None = None
    points: int = 11
    table: Path | None = None
    recipe: "str | Path | Recipe | None" = None
    settings: Overrides = ()
    versions: int = VERSIONS
    progress: Progress = SILENT

    def source(self) -> DataSource:
        """The data set.

        Raises:
            BadSetting: no data set is named, or its reader lacks an option or value. BadData: it is neither a reader's
                name with a folder nor a path, or the folder does not exist. UnknownName: there is no such reader.
        """
        if self.data is None:
            raise BadSetting(f"the figure '{self.name}' needs data")
        return source_of(self.data)

    def labelled(self) -> FaceTable:
        """The faces of the split that have a label.

        Raises:
            As `source`. BadData: also if none has, or the data cannot be read. BadSetting: also if there is no such
                split.
        """
        table = self.source().load(self.split)
        if not table.labelled.any():
            raise BadData(f"no face in the split '{self.split}' has a label")
        return table.keep(table.labelled)

    def model(self) -> str:
        """The only model.  Raises BadSetting unless there is exactly one."""
        if len(self.models) != 1:
            raise BadSetting(f"the figure '{self.name}' needs {'a single' if self.models else 'a'} model")
        return self.models[0]

    def run_folder(self, model: str | None = None) -> Path:
        """The folder of `model`, or of the only one.

        Raises:
            BadSetting: `model` is not a folder, or None and there is not exactly one model. MissingExtra: the extra
                `train` is not installed.
        """
        require_training(f"the figure '{self.name}'")
        model = model or self.model()
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise BadSetting(f"the figure '{self.name}' needs a run folder of 'affectlens train', got '{model}'")
        return folder

    def run(self, model: str | None = None) -> "tuple[ExpressionModule, tuple[str, ...]]":
        """The network of a run folder in evaluation mode, and its labels in the order of the logits.

        Raises:
            As `run_folder`. BadModelFile: the folder holds no trained run.
        """
        folder = self.run_folder(model)
        from affectlens.training import run

        return run.load_run(folder), run.load_labels(folder)

    def recipe_in_use(self) -> "Recipe":
        """The recipe that `recipe` names, or that of the only run; with `settings`.

        Raises:
            As `run_folder`. BadSetting: also if there are both a recipe and a run, or neither, or a setting does not
                exist. UnknownName: there is no such recipe. BadModelFile: the folder holds no run.
        """
        require_training(f"the figure '{self.name}'")
        if bool(self.models) == (self.recipe is not None):
            raise BadSetting(f"the figure '{self.name}' needs either a recipe or a run folder")
        if self.recipe is not None:
            return find_recipe(self.recipe, self.settings)
        from affectlens.training import run

        return find_recipe(run.load_recipe(self.run_folder()), self.settings)

    def training_set(self) -> "tuple[Recipe, FaceTable]":
        """The recipe in use, and the split "train" of the data with its options.

        Raises:
            As `recipe_in_use` and `source`. BadSetting: also if another split is asked for. BadData: also if the data
                cannot be read.
        """
        if self.split != "train":
            raise BadSetting(f"the figure '{self.name}' shows the split 'train' only, got '{self.split}'")
        recipe, data = self.recipe_in_use(), self.source()
        from affectlens.training import run

        return recipe, run.with_data_options(recipe, data).load("train")
