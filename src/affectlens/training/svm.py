"""A linear support vector machine as replacement for a trained network's last layer (Antoniadis, section 5.4).

The thesis fits ThunderSVM to the features of the softmax network without giving its settings. Here: scikit-learn's
`LinearSVC` (one class against the rest, squared hinge, C = 0.001), classes balanced, features standardised for the
fit; the standard deviations are folded into the weights, so that the machine is a linear layer and goes into the
exported file as one. Its decision values are the logits, whose temperature calibration finds.
"""

import importlib.util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.data.table import FaceTable
from affectlens.training.module import ExpressionModule
from affectlens.training.prediction import predict


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


def refit(module: ExpressionModule, train: FaceTable) -> None:
    """Put the machine, fitted on the labelled training faces as they are, into the network's `classifier`.

    Raises:
        BadSetting, BadData, MissingExtra: as `check`, or no face of a class can be decoded.
    """
    check(module, train)
    last = module.network.get_submodule("classifier")
    labelled = train.keep(train.labelled)
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].float().cpu()))
    try:
        _, rows = predict(module, labelled)
    finally:
        hook.remove()
    targets = labelled.targets[rows]
    _check_classes(targets, train.labels)
    weight, bias = _fit(torch.cat(seen).numpy(), targets, module.recipe.seed)
    with torch.no_grad():
        last.get_parameter("weight").copy_(torch.from_numpy(weight))
        last.get_parameter("bias").copy_(torch.from_numpy(bias))


def _fit(features: NDArray[np.float32], targets: NDArray[np.int64], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(N, D) features and (N,) classes -> (C, D) weights and (C,) biases of the decision values."""
    from sklearn.svm import LinearSVC

    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    machine = LinearSVC(C=1e-3, class_weight="balanced", dual=False, random_state=seed, max_iter=2000)
    machine.fit((features - mean) / scale, targets)
    weight, bias = machine.coef_, machine.intercept_
    if len(weight) == 1:  # two classes: one value, for the second against the first
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    weight = weight / scale
    return weight, bias - weight @ mean
