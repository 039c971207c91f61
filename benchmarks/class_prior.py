"""What balanced sampling costs in accuracy: a model's answers on validation with the training classes' shares put back.

usage: python benchmarks/class_prior.py MODEL SPEC      (a run folder or ONNX file, and data as for affectlens evaluate)

A network that was trained on classes in equal numbers answers p(class | face) for a world in which they are equally
frequent. Its probabilities times share^strength, strength from 0 (as it is) to 1 (the training set's shares), say what
the same network scores where classes come as they come. Validation only; nothing is chosen by it.
"""

import sys

import numpy as np

from affectlens.data.source import parse
from affectlens.evaluation import metrics
from affectlens.workflows.scoring import open_model, score


def main() -> None:
    """Print accuracy and mean class accuracy for each strength."""
    model, spec = sys.argv[1:]
    source = parse(spec)
    train = source.load("train")
    counts = np.bincount(train.targets[train.labelled], minlength=len(train.labels))
    scores = score(open_model(model), source.load("valid")).scores
    labelled = scores.targets >= 0
    target = scores.targets[labelled]
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        predicted = (scores.probabilities[labelled] * (counts / counts.sum()) ** strength).argmax(axis=1)
        accuracy = metrics.accuracy(predicted, target)
        recall = metrics.macro_recall(predicted, target, len(train.labels))
        print(f"strength {strength:.2f}: accuracy {accuracy:.4f}, mean class accuracy {recall:.4f}")


if __name__ == "__main__":
    main()
