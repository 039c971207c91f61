"""What trained networks answer alone and together: accuracy, macro recall and likelihood of each and of their mean.

Each is asked once and averaged with the mirror image (geometric mean); a logit adjustment that it was trained with is
put back, so that networks with and without one can be compared. The mean is that of their distributions, as a student
of them all is taught. Likelihood is that after one temperature, fitted on the split itself.

usage: python benchmarks/ensemble.py DATA MODEL... [--split valid]      (run folders, exported files, "bundled")
"""

import argparse

import numpy as np
from _faces import Image, labelled, likelihood, probabilities, recalls
from numpy.typing import NDArray

from affectlens import Analyzer

Probabilities = NDArray[np.float64]
TEMPERATURES = np.geomspace(0.2, 5, 400)


def normalised(logits: NDArray[np.float64]) -> Probabilities:
    """(N, C) logits -> probabilities."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def answers(model: str, faces: list[Image], labels: list[str], shares: NDArray[np.float64]) -> dict[str, Probabilities]:
    """(N, C) before calibration, of the faces alone and with their mirror images."""
    analyzer = Analyzer(model, detector="whole", measures=())
    adjustment = analyzer.spec.settings.get("logit_adjustment", 0.0) * np.log(shares)
    single, mirrored = (
        analyzer.spec.temperature * np.log(probabilities(analyzer.analyze_many(seen), labels))
        for seen in (faces, [face[:, ::-1] for face in faces])
    )
    return {
        "single": normalised(single + adjustment),
        "mirrored": normalised((single + mirrored) / 2 + adjustment),
    }


def report(name: str, found: Probabilities, target: NDArray[np.int64]) -> None:
    """Print one row."""
    chosen = found.argmax(axis=1)
    nll = min(likelihood(normalised(np.log(found) / temperature), target) for temperature in TEMPERATURES)
    recall = np.nanmean(recalls(chosen, target, found.shape[1]))
    print(f"{name:60} accuracy {(chosen == target).mean():.4f}  macro recall {recall:.4f}  nll {nll:.4f}")


def main() -> None:
    """Print a row for each model and view, and for the mean of the models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--split", default="valid")
    asked = parser.parse_args()
    faces, target, labels = labelled(asked.data, asked.split)
    _, trained, _ = labelled(asked.data, "train")
    counts = np.bincount(trained, minlength=len(labels))
    found = {model: answers(model, faces, labels, np.maximum(counts, 1) / len(trained)) for model in asked.models}
    print(f"{len(faces)} faces of {asked.split}")
    for view in ("single", "mirrored"):
        for model in asked.models:
            report(f"{model}, {view}", found[model][view], target)
        if len(asked.models) > 1:
            together = np.mean([found[model][view] for model in asked.models], axis=0)
            report(f"mean of {len(asked.models)}, {view}", together, target)


if __name__ == "__main__":
    main()
