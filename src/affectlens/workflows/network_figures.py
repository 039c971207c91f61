"""Figures of trained networks, and of a loss."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.data import crops
from affectlens.data.samplers import stratified
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.evaluation import metrics, network_plots, training_plots
from affectlens.workflows.compare import names_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.figure_options import FigureOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from affectlens.training.module import ExpressionModule

_MAX_FACES_IN_A_MAP = 5000
_FACES_OF_A_LANDSCAPE = 256
_REACH = 1.0
"""How far weights are moved in a loss landscape, in units of their own length."""
_GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Those of Lin et al. 2017, figure 1."""


def adjacency(options: FigureOptions) -> "Figure":
    """What each node of Emotion-GCN's graph takes from the others and from itself (Antoniadis, section 6.3)."""
    module, labels = options.run()
    from affectlens.training import insights

    weights, names = insights.adjacency(module, labels)
    return network_plots.relations(weights, names, 0, "takes from, with this weight", "node")


def similarity(options: FigureOptions) -> "Figure":
    """Cosines between the vectors of classifiers and regressors (Antoniadis, figure 6.4.3): all of one network, or of
    each of several those between expressions and valence and arousal.

    Two runs in a row of which the first only classifies and the second only regresses are a pair of single-task
    networks and count as one.
    """
    if not options.models:
        raise BadSetting(f"the figure '{options.name}' needs one or more models")
    runs = [options.run(model) for model in options.models]
    from affectlens.training import insights

    found = insights.single_tasks_joined([insights.heads(module, labels) for module, labels in runs])
    values = [insights.cosine_similarity(heads.vectors) for heads in found]
    if len(found) == 1:
        return network_plots.relations(values[0], found[0].names, -1, "cosine of the angle between weight vectors")
    labels, given = runs[0][1], iter(options.models)
    names = names_of([heads.row for heads in found], ["\n+ ".join(islice(given, heads.runs)) for heads in found])
    panels = {}
    for model, heads, cosines in zip(names, found, values, strict=True):
        if heads.names != (*labels, *insights.AFFECT_NAMES):
            raise BadSetting(
                f"several runs are compared by {', '.join((*labels, *insights.AFFECT_NAMES))}; {model} has "
                f"{', '.join(heads.names)}"
            )
        panels[model] = cosines[: len(labels), len(labels) :]
    return network_plots.cross_relations(panels, labels, insights.AFFECT_NAMES)


def features(options: FigureOptions) -> "Figure":
    """UMAP of a network's features (Antoniadis, figures 4.2.2, 4.3.2 and 4.3.3), with the centres and sub-centres that
    a loss of the run has learned, or else with the means of the classes.
    """
    if importlib.util.find_spec("umap") is None:
        raise MissingExtra("the map of features", "features")
    (module, trained_on), data = options.run(), options.source()
    from affectlens.training import insights, run

    learned = run.load_centres(options.run_folder(), len(trained_on))
    table = _cut(module, data, options, _MAX_FACES_IN_A_MAP)
    if learned is not None:
        _check_shared(table.targets, table.labels, trained_on)
    with options.progress.task(f"computing features and their UMAP for {len(table):,} faces (can take minutes)"):
        vectors, rows = insights.features(module, table)
        targets = table.targets[rows]
        present = [label for label in range(len(table.labels)) if (targets == label).any()]
        labels = [table.labels[label] for label in present]
        targets = np.searchsorted(present, targets)
        centres = np.stack([vectors[targets == label].mean(axis=0) for label in range(len(labels))])
        owners = np.arange(len(labels))
        if learned is not None:
            _check_shared(table.targets[rows], table.labels, trained_on)
            shown = [label for label in labels if label in trained_on]
            centres = np.concatenate([learned[trained_on.index(label)] for label in shown])
            owners = np.repeat([labels.index(label) for label in shown], learned.shape[1])
        places = _umap(np.concatenate([vectors, centres]), module.recipe.seed)
    kind = network_plots.CentreKind.MEAN if learned is None else network_plots.CentreKind.LEARNED
    return network_plots.feature_map(places[: len(vectors)], targets, labels, places[len(vectors) :], owners, kind)


def _check_shared(targets: NDArray[np.int64], labels: Sequence[str], trained_on: Sequence[str]) -> None:
    """Raises BadData unless one of the (N,) `targets` is of a class that the network was trained on."""
    present = [labels[label] for label in np.unique(targets)]
    if not set(present) & set(trained_on):
        raise BadData(
            f"the run has learned centres of {', '.join(trained_on)}, but the data have faces of {', '.join(present)}"
        )


def distances(options: FigureOptions) -> "Figure":
    """Distances within and between classes, before and after a gate (Vats and Chadha, section 3.6)."""
    (module, _), data = options.run(), options.source()
    from affectlens.training import insights

    table = _cut(module, data, options, _MAX_FACES_IN_A_MAP)
    before, after, rows = insights.around_the_gate(module, table)
    targets, classes = table.targets[rows], len(table.labels)
    if len(np.unique(targets)) < 2:
        raise BadData(
            f"distances between classes need faces of at least two classes; the split '{options.split}' has fewer"
        )
    parts = {
        name: metrics.class_distances(vectors, targets, classes)
        for name, vectors in (("before the gate", before), ("after the gate", after))
    }
    for name, part in parts.items():
        within = float(np.nanmean(part.within))
        options.progress.message(
            f"{name}: within classes {within:.3f}, between {part.between:.3f}, ratio {part.ratio:.3f}"
        )
    return network_plots.class_distances(parts, table.labels)


def loss_landscape(options: FigureOptions) -> "Figure":
    """The loss around the weights of networks (Vats and Chadha, figure 4)."""
    if not options.models:
        raise BadSetting("the figure 'landscape' needs one or more models")
    if options.points % 2 == 0:
        raise BadSetting(
            f"points must be odd, so that the middle point is at the trained weights, got {options.points}"
        )
    runs, data = [options.run(model)[0] for model in options.models], options.source()
    names = names_of([module.recipe.row for module in runs], options.models)
    from affectlens.training.landscape import landscape

    surfaces: dict[str, NDArray[np.float32]] = {}
    for name, module in zip(names, runs, strict=True):
        table = _cut(module, data, options, _FACES_OF_A_LANDSCAPE)
        surfaces[name] = landscape(module, table, options.points, _REACH, options.progress)
    return network_plots.landscapes(surfaces, _REACH, f"{len(table):,} faces of {options.split}")


def focal_loss(options: FigureOptions) -> "Figure":
    """Focal loss for several gamma against the probability of the true class (Antoniadis, figure 5.4.1)."""
    require_training(f"the figure '{options.name}'")
    from affectlens.training import insights

    probability = np.linspace(0.005, 0.995, 199)
    return training_plots.focal_curves(probability, {g: insights.focal_loss(probability, g) for g in _GAMMAS})


def _cut(module: "ExpressionModule", data: DataSource, options: FigureOptions, usual: int) -> FaceTable:
    """Labelled faces as the network's training cut them; of each class the same share, so that they are some `usual`,
    or as many as are asked for.
    """
    from affectlens.training import run

    recipe, most = module.recipe, options.faces or usual
    table = replace(options, data=run.with_data_options(recipe, data)).labelled()
    if len(table) > most:
        table = table.keep(stratified(table, most / len(table), recipe.seed))
    return crops.cut(table, recipe.input_spec(), recipe.find_faces, options.progress)


def _umap(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(N, D) -> (N, 2) by UMAP (McInnes et al. 2018, arXiv:1802.03426)."""
    from umap import UMAP

    neighbours = min(15, len(vectors) - 1)
    return np.asarray(
        UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(vectors), dtype=np.float32
    )
