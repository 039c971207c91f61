"""Sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412): the step at w follows the gradient at w + e,
where e = rho * g / |g| points uphill (eq. 2 with p = 2; |g| over all weights).

The paper does not say what the pass at w + e does to the running statistics of batch norms. By default it leaves them
alone, since those of w are wanted; in POSTER++'s code it is a plain second pass, and they follow both (`norms` "both").

In training, both passes of a step draw the same dropout masks, which are seeded by the step (`training.module`);
POSTER++'s code draws them anew.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def two_passes(
    network: nn.Module, radius: float, first: Callable[[], Any], second: Callable[[], Any], norms: str = "first"
) -> Any:
    """Run `first` at w and `second` at w + e, each leaving fresh gradients; w is as before, the gradient that of w + e.

    `radius` is rho. Running statistics of batch norms follow the "first" pass or, by `norms`, "both". Returns the loss
    at w.
    """
    loss = first()
    pairs = [(weight, weight.grad) for weight in network.parameters() if weight.grad is not None]
    if not pairs:  # the batch was empty
        return loss
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for _, gradient in pairs]))
        before = [weight.detach().clone() for weight, _ in pairs]
        for weight, gradient in pairs:
            weight.add_(gradient, alpha=radius / (float(norm) + 1e-12))
    with nullcontext() if norms == "both" else _frozen_statistics(network):
        second()
    with torch.no_grad():
        for (weight, _), value in zip(pairs, before, strict=True):
            weight.copy_(value)
    return loss


@contextmanager
def _frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms normalise by the batch and do not learn from it."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
