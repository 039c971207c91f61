"""What the loss `small_loss` gains where labels are wrong: `python experiments/noisy_labels.py`, half a minute.

Accuracy on 1,000 unseen points with the right labels, and that of the worst class, of a small network after 30 epochs
on 400 points of four overlapping classes, some of whose labels are wrong; means and deviations over the seeds.
"""

import argparse

import numpy as np
import torch
from torch import nn

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses import small_loss, soft_cross_entropy

WIDTH = 20
SIZES = {"equal classes": (100, 100, 100, 100), "rare classes": (200, 120, 60, 20)}
NOISE = (0.0, 0.2, 0.4)
LOSSES = {
    "cross-entropy": (soft_cross_entropy.build, {}),
    "small_loss, 0.2": (small_loss.build, {"share": 0.2}),
    "small_loss, 0.4": (small_loss.build, {"share": 0.4}),
    "the same, not relative": (small_loss.build, {"share": 0.4, "relative": False}),
    "the same, but weighted": (small_loss.build, {"share": 0.4, "relative": False, "weighted": True}),
}
"""Name -> loss and its options; the number is the share of the faces that is left out."""


def accuracies(build, options, sizes, noise, seed, epochs):
    """Of all unseen points, and of those of the worst class."""
    rng = np.random.default_rng(seed)
    classes = len(sizes)
    means = rng.normal(size=(classes, WIDTH))
    means *= 2.2 / np.linalg.norm(means, axis=1, keepdims=True)
    labels, truth = np.repeat(np.arange(classes), sizes), np.repeat(np.arange(classes), 250)
    x, unseen = (
        torch.tensor(means[own] + 0.6 * rng.normal(size=(len(own), WIDTH)), dtype=torch.float32)
        for own in (labels, truth)
    )
    wrong = rng.uniform(size=len(labels)) < noise
    labels = np.where(wrong, (labels + rng.integers(1, classes, len(labels))) % classes, labels)
    statistics = DatasetStatistics(tuple("abcd"), labels, np.full((len(labels), 2), np.nan, dtype=np.float32))
    loss, target = build(statistics, **options), torch.eye(classes)[labels]
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, classes))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(40):
            optimiser.zero_grad()
            loss(network(x[rows]), target[rows]).backward()
            optimiser.step()
    right = network(unseen).argmax(dim=1).numpy() == truth
    return right.mean(), min(right[truth == own].mean() for own in range(classes))


def main():
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("wrong  data           loss                    accuracy       worst class")
    for noise in NOISE:
        for data, sizes in SIZES.items():
            for name, (build, options) in LOSSES.items():
                found = np.array(
                    [
                        accuracies(build, options, sizes, noise, seed, arguments.epochs)
                        for seed in range(arguments.seeds)
                    ]
                )
                (mean, worst), (spread, worst_spread) = found.mean(axis=0), found.std(axis=0)
                print(
                    f"{noise:5.1f}  {data:13}  {name:22}  {mean:.3f} ± {spread:.3f}  {worst:.3f} ± {worst_spread:.3f}"
                )


if __name__ == "__main__":
    main()
