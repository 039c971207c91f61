"""What training costs beside the arithmetic, and what three shortcuts save; each figure is a ratio within one run.

usage: python experiments/training.py [--steps 60] [--rounds 4] [--compile] [--small]

With --small, the figures of attention and memory are those of small batches, to try the script.

1. throughput: the default recipe through `affectlens.training.fit` against a bare PyTorch loop over the same tensors
   (same network, augmentation, loss, optimiser, clipping and precision; no data loader, no averaging of weights, no
   callbacks). 1.0: as fast. Each epoch through `fit` is compared with the mean of a loop before and one after it,
   because machines change their speed; the range over the rounds says how much that leaves.
2. attention: `scalar_attention` and `blockwise_attention` against `scaled_dot_product_attention`, forward and backward,
   on the shapes that multiple self-attention has at a batch of 16: in Deep-Emotion 8 heads over 42x42 positions with
   keys of width 1 and values of 4 in float32, in the custom VGG 8 heads over 24x24 positions with 8 and 32 in bfloat16.
3. compilation (--compile): a training step of the default network and of Deep-Emotion with attention, compiled by
   torch.compile, against one that is not.
4. memory: a training step of the custom VGG with glibc told to keep freed memory against one as glibc is, in a
   process each.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch

from affectlens.core import catalog
from affectlens.core.expressions import FERPLUS
from affectlens.core.malloc import keep_freed_memory
from affectlens.core.preprocessing import to_input
from affectlens.data.table import FaceTable
from affectlens.models.layers.blockwise_attention import blockwise_attention
from affectlens.models.layers.fused_attention import fused_attention
from affectlens.models.layers.outputs import as_outputs
from affectlens.models.layers.scalar_attention import scalar_attention
from affectlens.training import fit
from affectlens.training.augment import augment, draws
from affectlens.training.data import TrainingData
from affectlens.training.objective import dataset_statistics
from affectlens.training.optimisers import optimisers
from affectlens.training.recipe import Recipe, find


def table(faces: int) -> FaceTable:
    """Random gray faces of 48x48."""
    rng = np.random.default_rng(0)
    votes = rng.dirichlet(np.ones(8), faces).astype(np.float32)
    images = rng.integers(0, 256, (faces, 48, 48), dtype=np.uint8)
    return FaceTable(tuple(str(i) for i in range(faces)), images, votes, votes.argmax(axis=1), FERPLUS)


def ours(recipe: Recipe, faces: FaceTable) -> float:
    """Faces per second of the second of three epochs through Lightning, validation on 8 faces included."""
    few = faces.keep(np.arange(len(faces)) < 8)
    starts: list[float] = []
    original = fit.ExpressionModule.on_train_epoch_start

    def note(module: fit.ExpressionModule) -> None:
        starts.append(time.perf_counter())
        original(module)

    fit.ExpressionModule.on_train_epoch_start = note  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = replace(recipe, epochs=3)
            fit.fit(run, TrainingData(faces, few, 0, ""), Path(folder) / "run", resume=False)
    finally:
        fit.ExpressionModule.on_train_epoch_start = original  # type: ignore[method-assign]
    return len(faces) / (starts[2] - starts[1])


def bare(recipe: Recipe, faces: FaceTable) -> float:
    """Faces per second of a loop over ready tensors."""
    torch.manual_seed(0)
    network = catalog.build("models", recipe.model, 8, 1, options={}).to(memory_format=torch.channels_last).train()
    loss_of = catalog.build("losses", next(iter(recipe.losses)), dataset_statistics(faces), options={})
    optimiser = optimisers(network, recipe)
    images = torch.from_numpy(to_input(list(faces.images), recipe.input_spec()))
    votes, uniform = torch.from_numpy(faces.votes), draws(len(faces), 0, 0)

    def epoch() -> None:
        for start in range(0, len(faces), recipe.batch_size):
            rows = slice(start, start + recipe.batch_size)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(augment(images[rows], uniform[rows], recipe))
            optimiser.zero_grad()
            loss_of(logits.float(), votes[rows]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
            optimiser.step()

    epoch()
    begin = time.perf_counter()
    epoch()
    return len(faces) / (time.perf_counter() - begin)


def attention(
    attend: Callable[..., torch.Tensor], positions: int, width: int, values: int, kind: torch.dtype, faces: int
) -> tuple[float, float]:
    """Seconds of `attend` and of PyTorch's attention, forward and backward."""
    torch.manual_seed(0)
    query, key = (torch.randn(faces, 8, positions, width, dtype=kind, requires_grad=True) for _ in range(2))
    value = torch.randn(faces, 8, positions, values, dtype=kind, requires_grad=True)

    def timed(attend: Callable[[], torch.Tensor]) -> float:
        attend().sum().backward()
        begin = time.perf_counter()
        attend().sum().backward()
        return time.perf_counter() - begin

    return (
        timed(lambda: attend(query, key, value)),
        timed(lambda: fused_attention(query, key, value)),
    )


def step_s(model: str, options: dict[str, bool], compiled: bool) -> float:
    """Median seconds of a training step, batch 128, after the first four."""
    torch.manual_seed(0)
    network = catalog.build("models", model, 8, 1, options=options).to(memory_format=torch.channels_last).train()
    if compiled:
        network.compile()
    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    images, labels = torch.rand(128, 1, 48, 48), torch.randint(0, 8, (128,))
    times = []
    for _ in range(12):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(as_outputs(network(images)).logits.float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - begin)
    return median(times[4:])


def vgg_step(keep: bool, faces: int) -> float:
    """Seconds of a training step of the custom VGG."""
    if keep:
        keep_freed_memory()
    network = catalog.build("models", "custom_vgg", 7, 1, options={}).to(memory_format=torch.channels_last).train()
    images, labels = torch.rand(faces, 1, 48, 48), torch.randint(0, 7, (faces,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        network.zero_grad()
        loss.backward()

    step()
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def vgg_process(how: str, small: bool) -> float:
    """`vgg_step` in a process of its own."""
    command = [sys.executable, __file__, "--vgg", how, *(["--small"] if small else [])]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--vgg", choices=("keep", "plain"), help="one process of the third figure")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    attended, seen = (2, 8) if arguments.small else (16, 128)
    if arguments.vgg:
        print(vgg_step(arguments.vgg == "keep", seen))
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    recipe = find("default")
    faces = table(arguments.steps * recipe.batch_size)
    rates, loops = [], [bare(recipe, faces)]
    for _ in range(arguments.rounds):
        rates.append(ours(recipe, faces))
        loops.append(bare(recipe, faces))
    ratios = [rate / mean(around) for rate, around in zip(rates, pairwise(loops), strict=True)]
    print(
        f"throughput: {median(rates):.0f} faces/s, {median(ratios):.2f} of a bare loop ({min(ratios):.2f} to "
        f"{max(ratios):.2f} in {len(ratios)} rounds; target: at least 0.9)"
    )
    for attend, *shape in (
        (scalar_attention, 42 * 42, 1, 4, torch.float32),
        (blockwise_attention, 24 * 24, 8, 32, torch.bfloat16),
    ):
        times = [attention(attend, *shape, attended) for _ in range(arguments.rounds)]
        print(f"attention: {attend.__name__} takes {median(a / b for a, b in times):.2f} of PyTorch's time")
    for model, options in (
        (("compact_resnet", {}), ("deep_emotion", {"stn": True, "msa": True})) if arguments.compile else ()
    ):
        plain, compiled = (step_s(model, options, how) for how in (False, True))
        print(f"compilation: a step of {model} takes {compiled / plain:.2f} of the time")
    steps = [[vgg_process(how, arguments.small) for how in ("keep", "plain")] for _ in range(arguments.rounds)]
    print(
        f"memory: a step of the custom VGG takes {median(a / b for a, b in steps):.2f} of the time when memory is kept"
    )


if __name__ == "__main__":
    main()
