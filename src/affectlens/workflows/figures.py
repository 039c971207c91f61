"""Figures of a data set, a trained network or a video."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.core.progress import SILENT, Progress
from affectlens.core.series import Event, Series
from affectlens.data.source import DataSource
from affectlens.evaluation import timeline
from affectlens.runtime.tables import read_series
from affectlens.runtime.temporal import events
from affectlens.workflows import data_figures, face_figures, network_figures
from affectlens.workflows.figure_options import VERSIONS, FigureName, FigureOptions
from affectlens.workflows.recipes import Overrides

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from affectlens.training.recipe import Recipe


def plot(
    name: str,
    data: str | Path | DataSource | None = None,
    models: Sequence[str | Path] = (),
    *,
    split: str | None = None,
    divisions: int = 8,
    faces: int | None = None,
    points: int = 11,
    table: str | Path | None = None,
    recipe: "str | Path | Recipe | None" = None,
    settings: Overrides = (),
    versions: int = VERSIONS,
    progress: Progress = SILENT,
) -> "Figure":
    """Draw a figure of a data set, a trained network or a video (extra `plots`; most need `train`).

    Args:
        name: "va-plane", "ages", "training-faces", "batches", "samples", "heatmaps", "landmarks", "emotion-space",
            "features", "distances", "adjacency", "similarity", "landscape", "focal-loss" or "timeline";
            `affectlens plot --help` says what each shows.
        data: data set, "NAME:FOLDER[?key=value&...]"; not used for adjacency, similarity, focal-loss and timeline.
        models: run folders; for samples, heatmaps and emotion-space also "bundled" or an ONNX file, for landmarks the
            weights file of MobileFaceNet. One model; samples takes two, landscape and similarity several.
        split: "train", "valid" or "test", of `data`; None is "train" for training-faces and batches, which show no
            other, and "test" for all others.
        divisions: number of sectors drawn in va-plane: 0, 4, 8 or 12.
        faces: maximum number of faces; None is the default of the figure.
        points: number of points along each direction of landscape, odd.
        table: for timeline: the .parquet, .csv or .jsonl file of a video.
        recipe: for training-faces and batches, as in `train`; None for that of the run in `models`.
        settings: changes of the recipe, as in `train`.
        versions: number of augmented versions of each face in training-faces.
        progress: receives progress updates.

    Returns:
        A figure of Matplotlib's, which notebooks show.

    Raises:
        UnknownName: there is no such figure, reader or recipe. BadSetting: an argument that the figure needs is
            missing, or one has a value outside its range. BadData: the data cannot be read or lack what the figure
            shows. BadModelFile: a model file or run is missing or damaged. MissingExtra: the extra `plots` (all
            figures), `train` (those of runs, recipes, losses and landmarks), `features` (features) or `parquet`
            (timeline, and data in that format) is not installed. OSError: the table cannot be read.
    """
    if name not in list(FigureName):
        raise UnknownName(unknown("figure", name, list(FigureName)))
    path = None if table is None else Path(table)
    chosen = FigureName(name)
    return _FIGURES[chosen](
        FigureOptions(
            chosen,
            data,
            list(map(str, models)),
            split or ("train" if chosen in _OF_TRAINING else "test"),
            divisions=divisions,
            faces=faces,
            points=points,
            table=path,
            recipe=recipe,
            settings=settings,
            versions=versions,
            progress=progress,
        )
    )


def timeline_page(table: Path) -> str:
    """The HTML page of the faces of a video (extra `report`).

    Raises:
        BadData: the file holds no rows of a video.
    """
    return timeline.timeline_report(table.name, *_series(table))


def _series(table: Path) -> tuple[list[Series], list[list[Event]]]:
    """The faces of a video, and the events of each."""
    faces = read_series(table.expanduser())
    return faces, [list(events(face.times_s, face.probabilities, face.labels)) for face in faces]


def _timeline(options: FigureOptions) -> "Figure":
    if options.table is None:
        raise BadSetting(f"the figure '{options.name}' needs a table")
    return timeline.timeline(*_series(options.table))


_OF_TRAINING = (FigureName.TRAINING_FACES, FigureName.BATCHES)
_FIGURES: "dict[FigureName, Callable[[FigureOptions], Figure]]" = {
    FigureName.VA_PLANE: data_figures.va_plane,
    FigureName.AGES: data_figures.ages,
    FigureName.TRAINING_FACES: data_figures.training_faces,
    FigureName.BATCHES: data_figures.batches,
    FigureName.SAMPLES: face_figures.samples,
    FigureName.HEATMAPS: face_figures.heatmaps,
    FigureName.LANDMARKS: face_figures.landmarks,
    FigureName.EMOTION_SPACE: face_figures.emotion_space,
    FigureName.FEATURES: network_figures.features,
    FigureName.DISTANCES: network_figures.distances,
    FigureName.ADJACENCY: network_figures.adjacency,
    FigureName.SIMILARITY: network_figures.similarity,
    FigureName.LANDSCAPE: network_figures.loss_landscape,
    FigureName.FOCAL_LOSS: network_figures.focal_loss,
    FigureName.TIMELINE: _timeline,
}
