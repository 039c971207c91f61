"""What can be read off a trained network besides its answers: features, classifiers, the graph of Emotion-GCN."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.data.images import in_chunks
from affectlens.data.table import FaceTable
from affectlens.models.emotion_gcn import EmotionGCN
from affectlens.training.module import ExpressionModule

AFFECT_NAMES = ("valence", "arousal")


def features(module: ExpressionModule, table: FaceTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) feature vectors in evaluation mode, and the rows of `table` whose images can be decoded.

    A network that does not give features gives what its last linear layer sees.

    Raises:
        BadSetting: it has neither.
    """
    seen: list[Tensor] = []
    last = [layer for layer in module.network.modules() if isinstance(layer, nn.Linear)][-1:]
    hooks = [layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0])) for layer in last]
    vectors: list[Tensor] = []
    rows: list[NDArray[np.int64]] = []
    module.eval()
    try:
        with torch.inference_mode():
            for images, places in in_chunks(table.images, 256):
                if not images:
                    continue
                answer = module(torch.from_numpy(to_input(images, module.recipe.input_spec())))
                if answer.features is None and not seen:
                    raise BadSetting(f"'{module.recipe.model}' has no feature vector")
                vectors.append(answer.features if answer.features is not None else seen[-1].flatten(1))
                seen.clear()
                rows.append(places)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(vectors).numpy(), np.concatenate(rows)


def heads(module: ExpressionModule, labels: tuple[str, ...]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(K, D) weight vectors that the feature vector is multiplied with, and their names: expressions, then valence and
    arousal where the network regresses them.

    Raises:
        BadSetting: the network has no such vectors of one width.
    """
    network = module.network
    with torch.inference_mode():
        if isinstance(network, EmotionGCN):
            return network.heads().numpy(), (*labels, *AFFECT_NAMES)
        classifier, regressor = getattr(network, "classifier", None), getattr(network, "regressor", None)
        if not isinstance(classifier, nn.Linear):
            raise BadSetting(f"'{module.recipe.model}' has no classifiers on a common feature vector")
        if getattr(network, "fusion", "") == "separate":
            raise BadSetting("with fusion 'separate' classifiers and regressors see different features")
        if not isinstance(regressor, nn.Linear) or getattr(network, "affect", "") != "regression":
            return classifier.weight.numpy(), labels
        width = regressor.in_features  # of "concatenate" the classifier sees the regressed numbers after the features
        return torch.cat([classifier.weight[:, :width], regressor.weight]).numpy(), (*labels, *AFFECT_NAMES)


def adjacency(module: ExpressionModule, labels: tuple[str, ...]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """(K, K) weights of Emotion-GCN's graph, rows sum to 1, and the names of its nodes.

    Raises:
        BadSetting: the network has no graph.
    """
    if not isinstance(module.network, EmotionGCN):
        raise BadSetting(f"'{module.recipe.model}' has no graph; the figure is for emotion_gcn")
    return module.network.adjacency.numpy(), (*labels, *AFFECT_NAMES)


def cosine_similarity(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, D) -> (K, K) cosines of the angles between the vectors; 0 where one has no length."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    return np.asarray(unit @ unit.T, dtype=np.float32)
