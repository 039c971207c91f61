"""A linear support vector machine in the place of a trained network's last layer (Antoniadis, section 5.4).

The thesis fits ThunderSVM to the features of the softmax network without giving its settings. Here: scikit-learn's
`LinearSVC` (one class against the rest, squared hinge), classes balanced, features standardised for the fit; the
standard deviations are folded into the weights, so that the machine is a linear layer and goes into the exported file
as one. Its decision values are the logits, whose temperature calibration finds.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.data.table import FaceTable
from affectlens.training.module import ExpressionModule, predict


def refit(module: ExpressionModule, train: FaceTable) -> None:
    """Put the machine, fitted on the labelled training faces as they are, into the network's `classifier`.

    Raises:
        BadSetting: the network has no linear layer of that name. BadData: a class has no face, or no face can be
            decoded. MissingExtra: scikit-learn is not installed.
    """
    last = getattr(module.network, "classifier", None)
    if not isinstance(last, nn.Linear):
        raise BadSetting(
            f"'{module.recipe.model}' has no linear classifier that a support vector machine could replace"
        )
    labelled = train.keep(train.labelled)
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].float().cpu()))
    try:
        _, rows = predict(module, labelled)
    finally:
        hook.remove()
    views = len(torch.cat(seen)) // len(rows)
    if views != 1:
        raise BadSetting("classifier=svm needs views=one")
    targets = labelled.targets[rows]
    if missing := [label for i, label in enumerate(train.labels) if not (targets == i).any()]:
        raise BadData(f"no training face is labelled '{missing[0]}', which the support vector machine needs")
    weight, bias = _fit(torch.cat(seen).numpy(), targets, module.recipe.seed)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(bias))


def _fit(features: NDArray[np.float32], targets: NDArray[np.int64], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(N, D) features and (N,) classes -> (C, D) weights and (C,) biases of the decision values."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtra("a support vector machine", "train") from error
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    machine = LinearSVC(C=1e-3, class_weight="balanced", dual=False, random_state=seed, max_iter=2000)
    machine.fit((features - mean) / scale, targets)
    weight, bias = machine.coef_, machine.intercept_
    if len(weight) == 1:  # two classes: one value, for the second against the first
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    weight = weight / scale
    return weight, bias - weight @ mean
