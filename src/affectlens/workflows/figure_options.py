"""What `plot` is asked for."""

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
    """The arguments of `plot`; the methods raise BadSetting where one that a figure needs is missing."""

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
    versions: int = 3
    progress: Progress = SILENT

    def source(self) -> DataSource:
        if self.data is None:
            raise BadSetting(f"the figure '{self.name}' needs data")
        return source_of(self.data)

    def labelled(self) -> FaceTable:
        """The faces of the split that have a label.  Raises BadData if none has."""
        table = self.source().load(self.split)
        if not table.labelled.any():
            raise BadData(f"no face in the split '{self.split}' has a label")
        return table.keep(table.labelled)

    def model(self) -> str:
        if len(self.models) != 1:
            raise BadSetting(f"the figure '{self.name}' needs {'a single' if self.models else 'a'} model")
        return self.models[0]

    def run_folder(self, model: str | None = None) -> Path:
        """The folder of `model`, or of the only one."""
        require_training(f"the figure '{self.name}'")
        model = model or self.model()
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise BadSetting(f"the figure '{self.name}' needs a run folder of 'affectlens train', got '{model}'")
        return folder

    def run(self, model: str | None = None) -> "tuple[ExpressionModule, tuple[str, ...]]":
        """The network of a run folder, and its labels."""
        folder = self.run_folder(model)
        from affectlens.training import run

        return run.load_run(folder), run.load_labels(folder)

    def recipe_in_use(self) -> "Recipe":
        """The recipe that is asked for, or that of the run."""
        require_training(f"the figure '{self.name}'")
        if bool(self.models) == (self.recipe is not None):
            raise BadSetting(f"the figure '{self.name}' needs either a recipe or a run folder")
        if self.recipe is not None:
            return find_recipe(self.recipe, self.settings)
        from affectlens.training import run

        return find_recipe(run.load_recipe(self.run_folder()), self.settings)
