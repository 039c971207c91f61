"""What balanced sampling costs in accuracy: a model's answers on validation with the training classes' shares put back.

usage: python benchmarks/class_prior.py MODEL SPEC      (a run folder or ONNX file, and data as for affectlens evaluate)

A network that was trained on classes in equal numbers answers p(class | face) for a world in which they are equally
frequent. Its probabilities times share^strength, strength from 0 (as it is) to 1 (the training set's shares), say what
the same network scores where classes come as they come. Validation only; nothing is chosen by it.
"""

import sys

import numpy as np
from _faces import labelled, probabilities, recalls

from affectlens import Analyzer


def main(model: str, data: str) -> None:
    """Print accuracy and mean class accuracy for each strength."""
    _, trained, labels = labelled(data, "train")
    shares = np.bincount(trained, minlength=len(labels)) / len(trained)
    faces, target, _ = labelled(data)
    found = probabilities(Analyzer(model, detector="whole", measures=()).analyze_many(faces), labels)
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        chosen = (found * shares**strength).argmax(axis=1)
        recall = np.nanmean(recalls(chosen, target, len(labels)))
        print(f"strength {strength:.2f}: accuracy {(chosen == target).mean():.4f}, mean class accuracy {recall:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
