"""What trained networks answer alone and together: accuracy, macro recall and likelihood of each and of their mean.

Each is shown the faces in its own light, once and averaged with the mirror image; a logit adjustment that it was
trained with is put back, so that networks with and without one can be compared. The mean is that of their
distributions, as a student of them all is taught. Likelihood is that after one temperature, fitted on the split itself.

usage: python benchmarks/ensemble.py DATA MODEL... [--split valid]      (run folders, exported files, "bundled")
"""

import argparse
from functools import partial

import numpy as np
import torch
from affectlens.core.answers import Answers
from numpy.typing import NDArray

from affectlens.core.preprocessing import to_input
from affectlens.data import source
from affectlens.evaluation import metrics
from affectlens.training.distillation import Teacher
from affectlens.training.objective import dataset_statistics
from affectlens.training.prediction import answers_for
from affectlens.training.recipe import find
from affectlens.training.start import open_teacher

VIEWS = {"single": "one", "mirrored": "flip"}
AT_ONCE = 128


def log_probabilities(teacher: Teacher, views: str, faces: list[NDArray[np.uint8]]) -> Answers:
    """Of N faces."""
    seen = torch.from_numpy(to_input(faces, teacher.input)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        answer = teacher.answers(seen, None, teacher.input, views)
    return Answers(answer.log().numpy())


def report(name: str, logits: NDArray[np.float32], target: NDArray[np.int64]) -> None:
    """Print one row."""
    chosen = logits.argmax(axis=1)
    likelihood = metrics.negative_log_likelihood(logits, target, metrics.fit_temperature(logits, target))
    recall = metrics.macro_recall(chosen, target, logits.shape[1])
    print(f"{name:60} accuracy {metrics.accuracy(chosen, target):.4f}  macro recall {recall:.4f}  nll {likelihood:.4f}")


def main() -> None:
    """Print a row for each model and view, and for the mean of the models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--split", default="valid")
    asked = parser.parse_args()
    table = source.parse(asked.data).load(asked.split)
    table = table.keep(table.targets >= 0)
    facts = dataset_statistics(source.parse(asked.data).load("train"))
    models = {name: open_teacher(name, find("default"), facts) for name in asked.models}
    print(f"{len(table)} faces of {asked.split}")
    for title, views in VIEWS.items():
        together = []
        for name, teacher in models.items():
            answers, rows = answers_for(table, partial(log_probabilities, teacher, views), AT_ONCE)
            together.append(np.exp(answers.logits))
            target = table.targets[rows]  # of the pictures that can be decoded, which are the same each time
            report(f"{name}, {title}", answers.logits, target)
        if len(models) > 1:
            report(f"mean of {len(models)}, {title}", np.log(np.mean(together, axis=0)), target)


if __name__ == "__main__":
    main()
