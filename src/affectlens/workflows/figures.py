"""Figures of a data set or a trained network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadData, BadSetting, MissingExtra, UnknownName
from affectlens.core.progress import SILENT, Progress
from affectlens.core.series import Event, Series
from affectlens.data import crops
from affectlens.data.images import decoded
from affectlens.data.samplers import in_turns, stratified
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.evaluation import affect_plots, metrics, network_plots, timeline
from affectlens.runtime.draw import draw_heat
from affectlens.runtime.explain import explanations
from affectlens.runtime.recognizer import Recognizer
from affectlens.runtime.tables import read_series
from affectlens.runtime.temporal import events
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.scoring import Scored, open_model, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from affectlens.training.module import ExpressionModule

_MAX_FACES_IN_A_MAP = 5000
_FACES_OF_A_LANDSCAPE = 256
_FACES_ON_A_SHEET = 24
_REACH = 1.0
"""How far weights are moved in a loss landscape, in units of their own length."""


class FigureName(StrEnum):
    """Figures."""

    VA_PLANE = "va-plane"
    SAMPLES = "samples"
    HEATMAPS = "heatmaps"
    FEATURES = "features"
    DISTANCES = "distances"
    ADJACENCY = "adjacency"
    SIMILARITY = "similarity"
    LANDSCAPE = "landscape"
    LANDMARKS = "landmarks"
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
    progress: Progress = SILENT

    def source(self) -> DataSource:
        if self.data is None:
            raise BadSetting(f"the figure '{self.name}' needs data")
        return source_of(self.data)

    def model(self) -> str:
        if len(self.models) != 1:
            raise BadSetting(f"the figure '{self.name}' needs {'a single' if self.models else 'a'} model")
        return self.models[0]

    def run(self, model: str | None = None) -> "tuple[ExpressionModule, tuple[str, ...]]":
        """The network of a run folder, and its labels."""
        require_training(f"the figure '{self.name}'")
        from affectlens.training import run

        model = model or self.model()
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise BadSetting(f"the figure '{self.name}' needs a run folder of 'affectlens train', got '{model}'")
        return run.load_run(folder), run.load_labels(folder)


def plot(
    name: str,
    data: str | Path | DataSource | None = None,
    models: Sequence[str | Path] = (),
    *,
    split: str = "test",
    divisions: int = 8,
    faces: int | None = None,
    points: int = 11,
    table: str | Path | None = None,
    progress: Progress = SILENT,
) -> "Figure":
    """Draw a figure of a data set, a trained network or a video (extra `report`; most need `train`).

    Args:
        name: "va-plane", "samples", "heatmaps", "features", "distances", "adjacency", "similarity", "landscape",
            "landmarks" or "timeline"; `affectlens plot --help` says what each shows.
        data: data set, "NAME:FOLDER[?key=value&...]"; not used for adjacency, similarity and timeline.
        models: run folders; for samples and heatmaps also "bundled" or an ONNX file, for landmarks the weights file of
            MobileFaceNet. One model; landscape takes several.
        split: "train", "valid" or "test", of `data`.
        divisions: number of sectors drawn in va-plane: 0, 4, 8 or 12.
        faces: maximum number of faces; None is the default of the figure.
        points: number of points along each direction of landscape, odd.
        table: for timeline: the .parquet, .csv or .jsonl file of a video.
        progress: receives progress updates.

    Returns:
        A figure of Matplotlib's, which notebooks show.

    Raises:
        UnknownName: there is no such figure. BadSetting, BadData: something that the figure needs is missing.
            MissingExtra.
    """
    if name not in list(FigureName):
        raise UnknownName(unknown("figure", name, list(FigureName)))
    path = None if table is None else Path(table)
    chosen = FigureName(name)
    options = FigureOptions(chosen, data, list(map(str, models)), split, divisions, faces, points, path, progress)
    return _FIGURES[chosen](options)


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


def _timeline(asked: FigureOptions) -> "Figure":
    if asked.table is None:
        raise BadSetting(f"the figure '{asked.name}' needs a table")
    return timeline.timeline(*_series(asked.table))


def _va_plane(asked: FigureOptions) -> "Figure":
    data = asked.source()
    table = data.load(asked.split)
    if not (np.isfinite(table.valence) & np.isfinite(table.arousal) & table.labelled).any():
        lacking = f"no labelled face in the split '{asked.split}' has valence and arousal"
        raise BadData(f"{lacking} (for ferplus, use ?va=projected)")
    affect = np.stack([table.valence, table.arousal], axis=1)
    note = "valence and arousal projected from the raters' votes" if data.options.get("va") == "projected" else ""
    return affect_plots.va_plane(affect, table.targets, table.labels, asked.divisions, note)


def _adjacency(asked: FigureOptions) -> "Figure":
    module, labels = asked.run()
    from affectlens.training import insights

    return network_plots.relations(
        *insights.adjacency(module, labels), 0, "takes from (weights of a row sum to 1)", "node"
    )


def _similarity(asked: FigureOptions) -> "Figure":
    module, labels = asked.run()
    from affectlens.training import insights

    vectors, names = insights.heads(module, labels)
    return network_plots.relations(
        insights.cosine_similarity(vectors), names, -1, "cosine of the angle between weight vectors"
    )


def _features(asked: FigureOptions) -> "Figure":
    (module, _), data = asked.run(), asked.source()
    from affectlens.training import insights

    table = _cut(module, data, asked, _MAX_FACES_IN_A_MAP)
    with asked.progress.task(f"computing features and their UMAP for {len(table):,} faces (can take minutes)"):
        vectors, rows = insights.features(module, table)
        targets = table.targets[rows]
        present = [label for label in range(len(table.labels)) if (targets == label).any()]
        centres = np.stack([vectors[targets == label].mean(axis=0) for label in present])
        places = _umap(np.concatenate([vectors, centres]), module.recipe.seed)
    renumbered = np.searchsorted(present, targets)
    labels = [table.labels[label] for label in present]
    return network_plots.feature_map(places[: len(vectors)], renumbered, labels, places[len(vectors) :])


def _distances(asked: FigureOptions) -> "Figure":
    (module, _), data = asked.run(), asked.source()
    from affectlens.training import insights

    table = _cut(module, data, asked, _MAX_FACES_IN_A_MAP)
    before, after, rows = insights.around_the_gate(module, table)
    targets, classes = table.targets[rows], len(table.labels)
    if len(np.unique(targets)) < 2:
        raise BadData(
            f"distances between classes need faces of at least two classes; the split '{asked.split}' has fewer"
        )
    parts = {
        name: metrics.class_distances(vectors, targets, classes)
        for name, vectors in (("before the gate", before), ("after the gate", after))
    }
    for name, part in parts.items():
        within = float(np.nanmean(part.within))
        asked.progress.message(
            f"{name}: within classes {within:.3f}, between {part.between:.3f}, ratio {part.ratio:.3f}"
        )
    return network_plots.class_distances(parts, table.labels)


def _landscape(asked: FigureOptions) -> "Figure":
    if not asked.models:
        raise BadSetting("the figure 'landscape' needs one or more models")
    if asked.points % 2 == 0:
        raise BadSetting(f"points must be odd, so that the middle point is at the trained weights, got {asked.points}")
    runs, data = [asked.run(model)[0] for model in asked.models], asked.source()
    from affectlens.training.landscape import landscape

    surfaces: dict[str, NDArray[np.float32]] = {}
    for model, module in zip(asked.models, runs, strict=True):
        table = _cut(module, data, asked, _FACES_OF_A_LANDSCAPE)
        name = next(name for name in (module.recipe.row, Path(model).name, model) if name not in surfaces)
        surfaces[name] = landscape(module, table, asked.points, _REACH, asked.progress)
    return network_plots.landscapes(surfaces, _REACH, f"{len(table):,} faces of {asked.split}")


def _cut(module: "ExpressionModule", data: DataSource, asked: FigureOptions, usual: int) -> FaceTable:
    """Labelled faces as the network's training cut them; of each class the same share, so that they are some `usual`,
    or as many as are asked for.
    """
    from affectlens.training import run

    recipe, most = module.recipe, asked.faces or usual
    table = run.with_data_options(recipe, data).load(asked.split)
    table = table.keep(table.labelled)
    if not len(table):
        raise BadData(f"no face in the split '{asked.split}' has a label")
    if len(table) > most:
        table = table.keep(stratified(table, most / len(table), recipe.seed))
    return crops.cut(table, recipe.input_spec(), recipe.find_faces, asked.progress)


def _umap(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(N, D) -> (N, 2) by UMAP (McInnes et al. 2018, arXiv:1802.03426)."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingExtra("the map of features", "features") from error
    neighbours = min(15, len(vectors) - 1)
    return np.asarray(
        UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(vectors), dtype=np.float32
    )


def _samples(asked: FigureOptions) -> "Figure":
    model, data = asked.model(), asked.source()
    scored = score(open_model(model), _some(data, asked), progress=asked.progress)
    faces = decoded(scored.table.images, range(len(scored.table)))[0]
    return affect_plots.captioned_faces(faces, *_captions(scored, data.options.get("va")))


def _heatmaps(asked: FigureOptions) -> "Figure":
    model, data = asked.model(), asked.source()
    scored = score(open_model(model), _some(data, asked), progress=asked.progress)
    recognizer = Recognizer(model, threads=0, explain=True)
    faces = decoded(scored.table.images, range(len(scored.table)))[0]
    crops = [face if face.ndim == 3 else np.stack([face] * 3, axis=-1) for face in faces]
    seen = explanations(crops, recognizer.outputs(crops), recognizer.outputs, recognizer.spec.first_place)
    pairs = [draw_heat(one) for one in seen]
    return affect_plots.captioned_faces(pairs, *_captions(scored, data.options.get("va")), columns=3)


def _landmarks(asked: FigureOptions) -> "Figure":
    model, table = asked.model(), _some(asked.source(), asked)
    require_training(f"the figure '{asked.name}'")
    from affectlens.training import insights

    faces, rows = decoded(table.images, range(len(table)))
    points = insights.landmarks(Path(model).expanduser(), faces)
    drawn = [affect_plots.dotted(*pair) for pair in zip(faces, points, strict=True)]
    return affect_plots.captioned_faces(drawn, [table.labels[table.targets[row]] for row in rows], [True] * len(drawn))


def _some(data: DataSource, asked: FigureOptions) -> FaceTable:
    """A few labelled faces, of all classes in turns."""
    table = data.load(asked.split)
    labelled = table.keep(table.labelled)
    chosen = labelled.keep(np.isin(np.arange(len(labelled)), in_turns(labelled)[: asked.faces or _FACES_ON_A_SHEET]))
    if not len(chosen):
        raise BadData(f"no face in the split '{asked.split}' has a label")
    return chosen


def _captions(scored: Scored, source: str | None) -> tuple[list[str], list[bool]]:
    """What stands below each face, and whether its expression is right; `source` is where true valence and arousal come
    from. A question mark stands where the answer is uncertain.
    """
    answers, shown = scored.scores, scored.table
    captions, right = [], []
    for i in range(len(shown)):
        predicted, true = int(answers.predicted[i]), int(answers.targets[i])
        p = float(answers.probabilities[i, predicted])
        label = answers.labels[predicted]
        lines = [
            f"{label if p >= answers.uncertain_below else f'{label}?'} {int(100 * p)} %",
            f"true: {answers.labels[true]}",
        ]
        if answers.valence_predicted is not None and answers.arousal_predicted is not None:
            lines.append(f"VA {answers.valence_predicted[i]:+.2f} {answers.arousal_predicted[i]:+.2f}")
            if np.isfinite([shown.valence[i], shown.arousal[i]]).all():
                lines.append(
                    f"{f'true ({source})' if source else 'true'} {shown.valence[i]:+.2f} {shown.arousal[i]:+.2f}"
                )
        captions.append("\n".join(lines))
        right.append(predicted == true)
    return captions, right


_FIGURES: "dict[FigureName, Callable[[FigureOptions], Figure]]" = {
    FigureName.VA_PLANE: _va_plane,
    FigureName.SAMPLES: _samples,
    FigureName.HEATMAPS: _heatmaps,
    FigureName.FEATURES: _features,
    FigureName.DISTANCES: _distances,
    FigureName.ADJACENCY: _adjacency,
    FigureName.SIMILARITY: _similarity,
    FigureName.LANDSCAPE: _landscape,
    FigureName.LANDMARKS: _landmarks,
    FigureName.TIMELINE: _timeline,
}
