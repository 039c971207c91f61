"""Training and validation data of a recipe: two splits, cropped as the recipe says, without near-duplicates of held-out
faces.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affectlens.core.errors import BadData
from affectlens.core.progress import SILENT, Progress
from affectlens.data.crops import cut
from affectlens.data.near_duplicates import has_near_duplicate
from affectlens.data.samplers import at_most, balanced, stratified
from affectlens.data.source import DataSource, load_if_usable, name_of
from affectlens.data.table import FaceTable
from affectlens.training.recipe import Recipe
from affectlens.training.run import with_data_options


@dataclass(frozen=True)
class TrainingData:
    """What training sees: two splits, how many near-duplicates of held-out faces were left out, and the source."""

    train: FaceTable
    valid: FaceTable
    near_duplicates_left_out: int
    licence: str
    reader: str = "made up"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, str]:
        """What versions.json says about the data."""
        return {
            "data": name_of(self.reader, self.options),
            "faces": self._fingerprint(),
            "train_faces": str(len(self.train)),
            "train_faces_left_out_as_near_duplicates": str(self.near_duplicates_left_out),
            "valid_faces": str(len(self.valid)),
            "valid_faces_with_majority": str(int(self.valid.labelled.sum())),
        }

    def _fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the names, labels, ages and groups of all faces."""
        digest = hashlib.sha256()
        for table in (self.train, self.valid):
            digest.update("\n".join(table.ids).encode())
            for column in (table.votes, table.targets, table.valence, table.arousal, table.age_years):
                digest.update(column.tobytes())
            for name, values in sorted(table.groups.items()):
                digest.update("\n".join([name, *values]).encode())
        return digest.hexdigest()[:16]


def load_data(recipe: Recipe, source: DataSource, progress: Progress = SILENT) -> TrainingData:
    """Training and validation faces; without the near-duplicates of validation and test faces if the recipe says so.

    Raises:
        BadSetting: the data have no such option. BadData: nothing is left to train on or to select on, or the recipe
            needs landmarks that the faces lack.
    """
    source = with_data_options(recipe, source)
    train = source.load("train")
    check_landmarks(train, recipe)
    train = cut(train, recipe.input_spec(), recipe.find_faces, progress)
    try:
        valid = cut(source.load("valid"), recipe.input_spec(), recipe.find_faces, progress)
    except BadData as error:
        raise BadData(f"no validation faces to select the best epoch with: {error}") from error
    if recipe.balanced:
        valid = valid.keep(balanced(valid, recipe.seed), "more than its class may have")
    train = of_recipe(train, recipe)
    if not len(train):
        raise BadData(f"no training faces left; left out of the training split: {train.dropped}")
    if not valid.labelled.any():
        raise BadData("no validation face has a majority label, so the best epoch cannot be selected")
    if not recipe.drop_near_duplicates:
        return TrainingData(train, valid, 0, source.licence, source.reader, source.options)
    held_out = [valid.images]
    if (test := load_if_usable(source.without_meta(), "test")) is not None:
        held_out.append(cut(test, recipe.input_spec(), recipe.find_faces, progress).images)
    near_duplicates = has_near_duplicate(train.images, *held_out)
    if near_duplicates.all():
        raise BadData(
            "every training face has a near-duplicate in validation or test; set drop_near_duplicates=false to keep "
            "them"
        )
    kept = train.keep(~near_duplicates)
    return TrainingData(kept, valid, int(near_duplicates.sum()), source.licence, source.reader, source.options)


def data_settings(recipe: Recipe) -> tuple[Any, ...]:
    """What of a recipe `load_data` depends on: the same source gives the same faces to recipes that agree in it."""
    drawn = recipe.seed if recipe.balanced or recipe.train_share < 1 or recipe.max_per_class else None
    names = ("data", "data_options", "drop_near_duplicates", "find_faces", "balanced", "train_share", "max_per_class")
    return (recipe.input_spec(), drawn, *(getattr(recipe, name) for name in names))


def of_recipe(train: FaceTable, recipe: Recipe) -> FaceTable:
    """The training faces that the recipe wants: with an expression, its share of them, no more of a class than it says;
    near-duplicates of held-out faces are still among them.
    """
    train = train.keep(train.votes.sum(axis=1) > 0, "no expression")
    if len(train) and recipe.train_share < 1:
        train = train.keep(stratified(train, recipe.train_share, recipe.seed), "left out by train_share")
    if len(train) and recipe.max_per_class:
        train = train.keep(at_most(train, recipe.max_per_class, recipe.seed), "more than its class may have")
    return train


def check_landmarks(table: FaceTable, recipe: Recipe) -> None:
    """Raises BadData where the recipe aligns faces by landmarks that none of them has."""
    landmarks_xy = table.landmarks_xy[~table.find_face]  # faces to be found get theirs from the detector
    if recipe.eye_distance and not recipe.find_faces and len(landmarks_xy) and not np.isfinite(landmarks_xy).any():
        raise BadData(
            "no face has landmarks for alignment; set eye_distance=0 for cropped faces, or find_faces=true for larger "
            "pictures"
        )
