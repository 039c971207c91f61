"""Optimisers and schedules of learning rates."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import lr_scheduler

from affectlens.training.recipe import Recipe


def optimisers(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all weights; norms and biases are not decayed unless the recipe says so."""
    decayed = [p for p in network.parameters() if p.requires_grad and (p.ndim > 1 or recipe.decay_all)]
    spared = [p for p in network.parameters() if p.requires_grad and not (p.ndim > 1 or recipe.decay_all)]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((decayed, recipe.weight_decay), (spared, 0.0))
        if group
    ]
    fused = not recipe.gradient_clip  # Lightning clips no gradients of fused optimisers
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            groups, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
        )
    family = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return family(groups, recipe.learning_rate, fused=fused)


def optimisation(
    network: nn.Module, recipe: Recipe, metric: str, best: Literal["min", "max"], steps: Callable[[], int]
) -> torch.optim.Optimizer | dict[str, Any]:
    """What Lightning's `configure_optimizers` returns: the optimiser with the recipe's schedule.

    `metric` is the logged one that the schedule "plateau" watches, `best` "min" or "max"; `steps` says how many there
    are in all.
    """
    optimiser = optimisers(network, recipe)
    if recipe.schedule == "constant":
        return optimiser
    schedule: Any
    if recipe.schedule == "plateau":
        schedule = lr_scheduler.ReduceLROnPlateau(optimiser, best, recipe.schedule_factor, recipe.schedule_patience)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "monitor": metric}}
    if recipe.schedule in ("exponential", "steps"):
        every = recipe.schedule_patience if recipe.schedule == "steps" else 1
        schedule = lr_scheduler.StepLR(optimiser, every, recipe.schedule_factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
    total = steps()
    warmup = min(max(recipe.warmup, 2 / total), 0.9)  # torch divides by 0 where the rise takes a single step
    schedule = lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=total, pct_start=warmup, cycle_momentum=False
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
