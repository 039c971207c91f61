"""What makes an answer wrong, and does the quality gate see it?

Validation faces of FER+ are corrupted step by step, as by `affectlens audit`. For each step: accuracy, the mean top
probability (what the model itself takes its accuracy to be), how many faces have a flaw by the limits of
`core.reasons.Flaw`, and the accuracy on those without. At the end accuracy by pose, of the faces that the detector
finds again when they are enlarged.

usage: python benchmarks/quality.py ferplus:FOLDER [--model FILE]
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
from affectlens.core.answers import Answers
from crop_geometry import find_again
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.probabilities import softmax
from affectlens.core.quality import pose_deg, qualities
from affectlens.data import source
from affectlens.evaluation.corruptions import CORRUPTIONS, corrupt
from affectlens.runtime.analyzer import Analyzer

Image = NDArray[np.uint8]
SIDE_PX = 48
ANGLES_DEG = (-90, -45, -30, -15, 15, 30, 45, 90)


def steps() -> Iterator[tuple[str, Callable[[Image, int], Image], float, float]]:
    """Name, (face, row) -> corrupted face, side of its box in pixels, share of the box that is within the picture."""
    yield "as it is", lambda face, _: face, SIDE_PX, 1
    for name, how in CORRUPTIONS.items():
        for level in how.levels:
            change = partial(corrupt, name, level)
            side = min(level, SIDE_PX) if name == "size" else SIDE_PX
            yield f"{name}, {level:g} {how.unit}", change, side, 1 - level if name == "cut off" else 1


def answers(analyzer: Analyzer, faces: list[Image]) -> NDArray[np.float64]:
    """(N, C) calibrated probabilities."""
    parts = [analyzer.recognizer.answers(faces[start : start + 256]) for start in range(0, len(faces), 256)]
    return softmax(Answers.joined(parts).logits, analyzer.spec.temperature)


def flawed(face: Image, side_px: float, inside: float) -> bool:
    """Whether the gate finds a flaw in a face in a box of this size."""
    box = np.array([[0, 0, side_px, side_px]], dtype=np.float32)
    found = Detections(box, np.full((1, 5, 2), np.nan, dtype=np.float32), np.ones(1, dtype=np.float32))
    return bool(qualities([face], found, (round(side_px), round(side_px * inside)))[0].flaws)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="bundled")
    asked = parser.parse_args()
    analyzer = Analyzer(asked.model, detector="whole", threads=0)
    table = source.parse(asked.data).load("valid")
    table = table.keep(table.targets >= 0)
    faces = [table.images[row] for row in range(len(table))]
    print(f"{analyzer.spec.name}, {len(faces)} validation faces")
    print(f"{'':34}accuracy  sure of  with flaw  accuracy without")
    for name, change, side_px, inside in steps():
        corrupted = [change(face, row) for row, face in enumerate(faces)]
        probabilities = answers(analyzer, corrupted)
        right = probabilities.argmax(axis=1) == table.targets
        flaw = np.array([flawed(face, side_px, inside) for face in corrupted])
        without = f"{right[~flaw].mean():.3f}" if (~flaw).sum() >= 50 else "-"
        sure = probabilities.max(axis=1).mean()
        print(f"{name:34}{right.mean():8.3f}{sure:9.3f}{flaw.mean():10.1%}{without:>18}")
    found = find_again(asked.data, len(faces))
    right = answers(analyzer, [one.original for one in found]).argmax(axis=1) == [one.target for one in found]
    poses = np.array([pose_deg(one.detection.landmarks_xy[0]) for one in found])
    for axis, name in enumerate(("yaw", "pitch")):
        for low, high in pairwise(ANGLES_DEG):
            some = (poses[:, axis] >= low) & (poses[:, axis] < high)
            if some.sum() >= 20:
                print(f"{name} {low:4} to {high:3} degrees: {some.sum():5} faces, accuracy {right[some].mean():.3f}")


if __name__ == "__main__":
    main()
