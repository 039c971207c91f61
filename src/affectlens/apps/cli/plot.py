"""`affectlens plot`: one figure about a data set or a trained network."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from affectlens.apps.cli.console import err, out
from affectlens.apps.cli.evaluate import Split, SplitOption
from affectlens.apps.cli.scoring import open_model, score
from affectlens.apps.cli.train import require_training
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.data import source
from affectlens.data.images import decoded
from affectlens.data.samplers import in_turns
from affectlens.evaluation import affect_plots, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from affectlens.training.module import ExpressionModule

_MOST_FACES_IN_A_MAP = 5000


class Kind(StrEnum):
    """Figures."""

    VA_PLANE = "va-plane"
    FEATURES = "features"
    ADJACENCY = "adjacency"
    SIMILARITY = "similarity"
    SAMPLES = "samples"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(plot)


def plot(
    name: Annotated[
        Kind,
        typer.Argument(
            help="va-plane: valence and arousal of each class. features: a UMAP of a network's features with the "
            "centres of the classes. adjacency: the graph of Emotion-GCN. similarity: cosines between classifiers and "
            "regressors. samples: faces with what is said about them and what is true."
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="SPEC", help="Data of va-plane, features and samples.")] = None,
    model: Annotated[str | None, typer.Option(help="Run folder; for samples also 'bundled' or an ONNX file.")] = None,
    split: SplitOption = Split.TEST,
    divisions: Annotated[int, typer.Option(help="Sectors drawn in va-plane: 0, 4, 8 or 12.")] = 8,
    faces: Annotated[int, typer.Option(min=1, max=60, help="Faces in samples.")] = 24,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="PNG file.  [default: NAME.png]")] = None,
) -> None:
    """Draw one figure into a PNG file."""
    figure = {
        Kind.VA_PLANE: lambda: _va_plane(source.parse(_given(name, "data", data)), split, divisions),
        Kind.FEATURES: lambda: _features(_module(name, model), source.parse(_given(name, "data", data)), split),
        Kind.ADJACENCY: lambda: _adjacency(*_labelled_module(name, model)),
        Kind.SIMILARITY: lambda: _similarity(*_labelled_module(name, model)),
        Kind.SAMPLES: lambda: _samples(
            _given(name, "model", model), source.parse(_given(name, "data", data)), split, faces
        ),
    }[name]()
    file = file or Path(f"{name}.png")
    plots.save(figure, file)
    out.print(f"figure: {file}")


def _given(name: Kind, option: str, value: str | None) -> str:
    if value is None:
        raise BadSetting(f"the figure '{name}' needs --{option}")
    return value


def _labelled_module(name: Kind, model: str | None) -> "tuple[ExpressionModule, tuple[str, ...]]":
    require_training(f"the figure '{name}'")
    from affectlens.training import run

    folder = Path(_given(name, "model", model)).expanduser()
    if not folder.is_dir():
        raise BadSetting(f"the figure '{name}' needs the folder of a run (of 'affectlens train'), got '{model}'")
    return run.load_run(folder), run.load_labels(folder)


def _module(name: Kind, model: str | None) -> "ExpressionModule":
    return _labelled_module(name, model)[0]


def _va_plane(data: source.DataSource, split: Split, divisions: int) -> "Figure":
    table = data.load(split)
    if not (np.isfinite(table.valence) & np.isfinite(table.arousal) & table.labelled).any():
        raise BadData(
            f"no labelled face of the split '{split}' has valence and arousal (ferplus has them with ?va=projected)"
        )
    affect = np.stack([table.valence, table.arousal], axis=1)
    note = "valence and arousal projected from the raters' votes" if data.options.get("va") == "projected" else ""
    return affect_plots.va_plane(affect, table.targets, table.labels, divisions, note)


def _adjacency(module: "ExpressionModule", labels: tuple[str, ...]) -> "Figure":
    from affectlens.training import insights

    return affect_plots.relations(
        *insights.adjacency(module, labels), 0, "takes from (weights of a row sum to 1)", "node"
    )


def _similarity(module: "ExpressionModule", labels: tuple[str, ...]) -> "Figure":
    from affectlens.training import insights

    vectors, names = insights.heads(module, labels)
    return affect_plots.relations(
        insights.cosine_similarity(vectors), names, -1, "cosine of the angle between weight vectors"
    )


def _features(module: "ExpressionModule", data: source.DataSource, split: Split) -> "Figure":
    from affectlens.training import crops, insights, run

    recipe = module.recipe
    table = run.with_data_options(recipe, data).load(split)
    some = table.keep(table.labelled)
    some = some.keep(np.arange(len(some)) < _MOST_FACES_IN_A_MAP)
    some = crops.cut(some, recipe.input_spec(), recipe.find_faces, err.is_terminal)
    err.print(f"features of {len(some):,} faces, then their map: this can take minutes")
    vectors, rows = insights.features(module, some)
    targets = some.targets[rows]
    present = [label for label in range(len(table.labels)) if (targets == label).any()]
    centres = np.stack([vectors[targets == label].mean(axis=0) for label in present])
    places = _umap(np.concatenate([vectors, centres]), module.recipe.seed)
    renumbered = np.searchsorted(present, targets)
    labels = [table.labels[label] for label in present]
    return affect_plots.feature_map(places[: len(vectors)], renumbered, labels, places[len(vectors) :])


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


def _samples(model: str, data: source.DataSource, split: Split, faces: int) -> "Figure":
    table = data.load(split)
    truth = data.options.get("va", "true")
    labelled = table.keep(table.labelled)
    chosen = np.isin(np.arange(len(labelled)), in_turns(labelled)[:faces])
    scored = score(open_model(model), labelled.keep(chosen))
    answers, shown = scored.scores, scored.table
    captions, right = [], []
    for i in range(len(shown)):
        predicted, true = int(answers.predicted[i]), int(answers.targets[i])
        lines = [
            f"{answers.labels[predicted]} {answers.probabilities[i, predicted]:.2f}",
            f"true: {answers.labels[true]}",
        ]
        if answers.valence_predicted is not None and answers.arousal_predicted is not None:
            lines.append(f"VA {answers.valence_predicted[i]:+.2f} {answers.arousal_predicted[i]:+.2f}")
            if np.isfinite([shown.valence[i], shown.arousal[i]]).all():
                lines.append(f"{truth}: {shown.valence[i]:+.2f} {shown.arousal[i]:+.2f}")
        captions.append("\n".join(lines))
        right.append(predicted == true)
    return affect_plots.captioned_faces(decoded(shown.images, range(len(shown)))[0], captions, right)
