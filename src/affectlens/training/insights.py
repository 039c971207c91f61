"""Internals of a trained network for figures: features, classifiers, the graph of Emotion-GCN, the landmarks of
MobileFaceNet; and the focal loss.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.preprocessing import InputSpec, to_input
from affectlens.data.table import FaceTable
from affectlens.losses.focal import FocalLoss
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.squeeze_excitation import Excitation
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule

AFFECT_NAMES = ("valence", "arousal")
_LANDMARK_PX = 112


def features(module: ExpressionModule, table: FaceTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) feature vectors in evaluation mode, and the rows of `table` whose images can be decoded.

    A network that does not give features gives what its last linear layer sees.

    Raises:
        BadSetting: it has neither.
    """
    last = [layer for layer in module.network.modules() if isinstance(layer, nn.Linear)][-1:]
    vectors: list[Tensor] = []
    rows: list[NDArray[np.int64]] = []
    with _watching(last) as seen:
        for outputs, places in _outputs(module, table):
            if outputs.features is None and not seen:
                raise BadSetting(f"the model '{module.recipe.model}' has no feature vector")
            vectors.append(outputs.features if outputs.features is not None else seen[-1].flatten(1))
            seen.clear()
            rows.append(places)
    return torch.cat(vectors).numpy(), np.concatenate(rows)


def around_the_gate(
    module: ExpressionModule, table: FaceTable
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) vectors before and after the excitation that they pass last, and the rows of `table` that were decoded.

    Raises:
        BadSetting: the network has no excitation of a vector.
    """
    gates = [one for one in module.network.modules() if isinstance(one, Excitation) and not one.squeeze][-1:]
    if not gates:
        raise BadSetting(
            f"the model '{module.recipe.model}' with these options has no squeeze-and-excitation gate on a "
            "feature vector; swin_se (se=pooled), poster and two_stream have one"
        )
    with _watching(gates) as seen:
        rows = [places for _, places in _outputs(module, table)]
        before = torch.cat(seen)
    with torch.inference_mode():
        after = gates[0](before)
    return before.numpy(), after.numpy(), np.concatenate(rows)


@contextmanager
def _watching(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What goes into the layers, call by call."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0])) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _outputs(module: ExpressionModule, table: FaceTable) -> Iterator[tuple[Outputs, NDArray[np.int64]]]:
    """Answers in evaluation mode for a few hundred faces at a time, and their rows."""
    module.eval()
    with torch.inference_mode():
        for faces, places in network_inputs(table.images, module.recipe):
            yield module(faces), places


def landmarks(file: Path, faces: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """N faces, (H, W) gray or (H, W, 3) RGB uint8 -> (68, 2) landmarks of each, in its pixels, by the published
    MobileFaceNet in `file`, which takes BGR in [0, 1].

    Raises:
        BadModelFile: the file holds no such network.
    """
    if not file.is_file():
        raise BadModelFile(f"'{file}' is not a file; expected the weights file of MobileFaceNet")
    network = MobileFaceNet()
    network.load_checkpoint(file)
    network.eval()
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "margin": 1, "shift_y": 0, "rotate": False}
    spec = InputSpec.model_validate({"size_px": _LANDMARK_PX, "channels": "rgb"} | plain)
    with torch.inference_mode():
        places = network(torch.from_numpy(to_input(faces, spec)).flip(1)).numpy()
    return [points * np.array([face.shape[1], face.shape[0]]) for points, face in zip(places, faces, strict=True)]


@dataclass(frozen=True, eq=False)
class Heads:
    """Weight vectors that feature vectors are multiplied with.

    Attributes:
        vectors: (K, D) float32.
        names: of the K: expressions that the network classifies, then valence and arousal if it regresses them.
        row: name of the recipe, or of several.
        runs: number of networks.
    """

    vectors: NDArray[np.float32]
    names: tuple[str, ...]
    row: str
    runs: int = 1


def heads(module: ExpressionModule, labels: tuple[str, ...]) -> Heads:
    """Those of a network.

    Raises:
        BadSetting: the network has no such vectors of one width.
    """
    with torch.inference_mode():
        vectors = module.network.head_vectors()
    if vectors is None:
        raise BadSetting(f"the model '{module.recipe.model}' has no classifiers on a common feature vector")
    names = (*labels, *AFFECT_NAMES)[: len(vectors)]
    first = 0 if module.network.expressions else len(labels)
    return Heads(vectors.detach().numpy()[first:], names[first:], module.recipe.row)


def single_tasks_joined(networks: Sequence[Heads]) -> list[Heads]:
    """The same with each classifier of expressions alone joined to a regressor of valence and arousal alone that comes
    right after it.

    Raises:
        BadSetting: the feature vectors of such a pair differ in width.
    """
    joined: list[Heads] = []
    for one in networks:
        alone = joined[-1] if joined and not set(AFFECT_NAMES) & set(joined[-1].names) else None
        if alone is None or one.names != AFFECT_NAMES:
            joined.append(one)
            continue
        widths = alone.vectors.shape[1], one.vectors.shape[1]
        if widths[0] != widths[1]:
            raise BadSetting(
                f"{alone.row} has {widths[0]} features, {one.row} has {widths[1]}; they cannot be compared"
            )
        vectors = np.concatenate([alone.vectors, one.vectors])
        joined[-1] = Heads(vectors, (*alone.names, *one.names), f"{alone.row}\n+ {one.row}", 2)
    return joined


def adjacency(module: ExpressionModule, labels: tuple[str, ...]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(K, K) float32 weights in [0, 1] by which Emotion-GCN multiplies its nodes, and their names; row i is what node i
    takes from each.

    Raises:
        BadSetting: the network has no graph.
    """
    graph = module.network.graph()
    if graph is None:
        raise BadSetting(f"the model '{module.recipe.model}' has no graph; use a run of emotion_gcn")
    return graph.numpy(), (*labels, *AFFECT_NAMES)


def cosine_similarity(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, D) -> (K, K) cosines of the angles between the vectors; 0 where one has no length."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    return np.asarray(unit @ unit.T, dtype=np.float32)


def focal_loss(probability: NDArray[np.floating], gamma: float) -> NDArray[np.float64]:
    """(P,) probabilities of the true class in (0, 1) -> (P,) focal losses in nats, without weights of the classes."""
    loss = FocalLoss(torch.ones(2), gamma)
    p = torch.tensor(probability, dtype=torch.float64)
    logits, target = torch.stack([p.logit(), torch.zeros_like(p)], dim=1), torch.tensor([[1.0, 0.0]])
    return torch.stack([loss(one.unsqueeze(0), target) for one in logits]).numpy()
