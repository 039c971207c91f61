"""What spoils an answer, and does the quality gate see it?

Validation faces of FER+ are made smaller, blurred, darkened, overexposed, flattened and cut off, step by step. For each
step: accuracy, the mean top probability (what the model itself takes its accuracy to be), how many faces have a flaw by
the limits of `core.reasons.Flaw`, and the accuracy on those without. At the end accuracy by pose, of the faces that the
detector finds again when they are enlarged.

usage: python benchmarks/quality.py ferplus:FOLDER [--model FILE]
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import pairwise

import cv2
import numpy as np
from crop_geometry import find_again
from numpy.typing import NDArray

from affectlens.core.answers import Answers
from affectlens.core.detection import Detections
from affectlens.core.probabilities import softmax
from affectlens.data import source
from affectlens.faces.quality import pose_deg, qualities
from affectlens.runtime.analyzer import Analyzer

Image = NDArray[np.uint8]
Spoil = Callable[[Image], tuple[Image, tuple[float, float]]]
SIDE_PX = 48
ANGLES_DEG = (-90, -45, -30, -15, 15, 30, 45, 90)


def steps() -> Iterator[tuple[str, Spoil]]:
    """Name and (face -> spoilt face, (side of its box in pixels, share of the box within the picture))."""
    yield "as it is", lambda face: (face, (SIDE_PX, 1))
    for side in (32, 28, 24, 20, 16, 12):
        yield f"{side} pixels", lambda face, side=side: (_smaller(face, side), (side, 1))
    for sigma in (0.5, 1.0, 1.5, 2.0):
        yield f"blurred by {sigma} pixels", lambda face, sigma=sigma: (_blurred(face, sigma), (SIDE_PX, 1))
    for factor in (0.35, 0.2, 0.1, 0.05):
        yield f"light x {factor}", lambda face, factor=factor: (_lit(face, factor, 0), (SIDE_PX, 1))
    for factor in (1.5, 2, 3):
        yield f"light x {factor}", lambda face, factor=factor: (_lit(face, factor, 0), (SIDE_PX, 1))
    for factor in (0.4, 0.2, 0.1, 0.05):
        yield f"contrast x {factor}", lambda face, factor=factor: (_lit(face, factor, 128), (SIDE_PX, 1))
    for side in ("left", "top", "bottom"):
        for share in (0.1, 0.2, 0.3):
            yield (
                f"{share:.0%} cut off, {side}",
                lambda face, side=side, share=share: (
                    _cut_off(face, side, share),
                    (SIDE_PX, 1 - share),
                ),
            )


def _smaller(face: Image, side: int) -> Image:
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _blurred(face: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), sigma), dtype=np.uint8)


def _lit(face: Image, factor: float, around: int) -> Image:
    return np.clip(np.rint((face - float(around)) * factor + around), 0, 255).astype(np.uint8)


def _cut_off(face: Image, side: str, share: float) -> Image:
    """The nearest pixel row or column repeated, as the runtime does beyond the edge of a picture."""
    away = round(share * SIDE_PX)
    turned = {"left": face, "top": face.T, "bottom": face[::-1].T}[side].copy()
    turned[:, :away] = turned[:, away : away + 1]
    return np.ascontiguousarray({"left": turned, "top": turned.T, "bottom": turned.T[::-1]}[side])


def answers(analyzer: Analyzer, faces: list[Image]) -> NDArray[np.float64]:
    """(N, C) calibrated probabilities."""
    parts = [analyzer.answers(faces[start : start + 256]) for start in range(0, len(faces), 256)]
    return softmax(Answers.joined(parts).logits, analyzer.spec.temperature)


def flawed(face: Image, side_px: float, inside: float) -> bool:
    """Whether the gate finds a flaw in a face in a box of this size."""
    box = np.array([[0, 0, side_px, side_px]], dtype=np.float32)
    found = Detections(box, np.full((1, 5, 2), np.nan, dtype=np.float32), np.ones(1, dtype=np.float32))
    return bool(qualities([face], found, (side_px, side_px * inside))[0].flaws)


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
    print(f"{'':24}accuracy  sure of  with flaw  accuracy without")
    for name, spoil in steps():
        spoilt = [spoil(face) for face in faces]
        probabilities = answers(analyzer, [face for face, _ in spoilt])
        right = probabilities.argmax(axis=1) == table.targets
        flaw = np.array([flawed(face, *how) for face, how in spoilt])
        without = f"{right[~flaw].mean():.3f}" if (~flaw).sum() >= 50 else "-"
        sure = probabilities.max(axis=1).mean()
        print(f"{name:24}{right.mean():8.3f}{sure:9.3f}{flaw.mean():10.1%}{without:>18}")
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
