"""A linear support vector machine as replacement for a trained network's last layer (Antoniadis, section 5.5,
table 5.4).

The thesis fits ThunderSVM to the features of the softmax network without giving its settings. Here: scikit-learn's
`LinearSVC` (one class against the rest, squared hinge, C by validation), classes balanced, features standardised for
the fit; the standard deviations are folded into the weights, so that the machine is a linear layer and goes into the
exported file as one, which no other kernel could. Its decision values are the logits, whose temperature calibration
finds. Of a classifier that also sees the answer of a second task ("concatenate"), only the features are used.
"""

import importlib.util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.data.table import FaceTable
from affectlens.evaluation.metrics import macro_recall
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule
from affectlens.training.precision import on_device

COSTS = (1e-4, 1e-3, 1e-2, 1e-1)
"""C to choose from."""


def check(module: ExpressionModule, train: FaceTable) -> None:
    """Check that a machine fitted to the labelled faces of `train` can replace the last layer.

    Raises:
        BadSetting: it cannot. BadData: a class has no face. MissingExtra: there is no scikit-learn.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtra("a support vector machine", "train")
    if not isinstance(getattr(module.network, "classifier", None), nn.Linear):
        raise BadSetting(
            f"the model '{module.recipe.model}' has no linear classifier that a support vector machine could replace"
        )
    if module.recipe.tta != "one":
        raise BadSetting("classifier=svm needs tta=one")
    _check_classes(train.targets, train.labels)


def _check_classes(targets: NDArray[np.int64], labels: tuple[str, ...]) -> None:
    if missing := [label for i, label in enumerate(labels) if not (targets == i).any()]:
        raise BadData(f"classifier=svm needs training faces of every class, but there are none of '{missing[0]}'")


def refit(module: ExpressionModule, train: FaceTable, valid: FaceTable) -> float:
    """Put the machine, fitted on the labelled training faces as they are, into the network's `classifier`.

    Returns:
        C, the smallest of `COSTS` with the best mean class accuracy on `valid`.

    Raises:
        BadSetting, BadData, MissingExtra: as `check`, or no face of a class can be decoded.
    """
    check(module, train)
    features, targets = _seen(module, train)
    _check_classes(targets, train.labels)
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    standard = (features - mean) / scale
    held_out, truth = _seen(module, valid)
    machines = []
    for cost in COSTS:
        weight, bias = _fit(standard, targets, cost, module.recipe.seed)
        weight, bias = weight / scale, bias - (weight / scale) @ mean
        decided = (held_out @ weight.T + bias).argmax(axis=1)
        machines.append((macro_recall(decided, truth, len(train.labels)), cost, weight, bias))
    _, cost, weight, bias = max(machines, key=lambda machine: machine[0])  # the first of equals
    last = module.network.get_submodule("classifier")
    with torch.no_grad():
        last.get_parameter("weight").zero_()  # what it sees beside the features: the other task's answer
        last.get_parameter("weight")[:, : weight.shape[1]].copy_(torch.from_numpy(weight))
        last.get_parameter("bias").copy_(torch.from_numpy(bias))
    return cost


def _seen(module: ExpressionModule, faces: FaceTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) features that the classifier sees of the labelled faces, and their (N,) classes."""
    labelled = faces.keep(faces.labelled)
    seen: list[Tensor] = []
    rows: list[NDArray[np.int64]] = []
    hook = module.network.get_submodule("classifier").register_forward_pre_hook(
        lambda _, arguments: seen.append(arguments[0].float().cpu())
    )
    try:
        with on_device(module) as device, torch.inference_mode():
            for images, places in network_inputs(labelled.images, module.recipe):
                module(images.to(device))
                rows.append(places)
    finally:
        hook.remove()
    width = module.network.feature_width or None
    return torch.cat(seen).numpy()[:, :width], labelled.targets[np.concatenate(rows)]


def _fit(
    features: NDArray[np.float64], targets: NDArray[np.int64], cost: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(N, D) standardised features and (N,) classes -> (C, D) weights and (C,) biases of the decision values."""
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=cost, class_weight="balanced", dual=False, random_state=seed, max_iter=2000)
    machine.fit(features, targets)
    weight, bias = machine.coef_, machine.intercept_
    if len(weight) == 1:  # two classes: one value, for the second against the first
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return weight, bias
