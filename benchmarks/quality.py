"""What makes an answer wrong, and does the quality gate see it?

Validation faces of FER+ are corrupted step by step, as by `affectlens audit`, and set into a photo ("size" is that of
the face in it, and "cut off" ends it within the face's box, to the right or below). For each step: accuracy, the mean
top probability (what the model itself takes its accuracy to be), how many faces have a flaw (`Face.quality`), and the
accuracy on those without. At the end accuracy by pose, of the faces that are found again when they are enlarged.

usage: python benchmarks/quality.py ferplus:FOLDER [--model FILE] [--faces N]
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
from _faces import Image, as_photos, labelled, probabilities
from _headline import headline

from affectlens import Analyzer, Detections, corrupt

SIDE_PX, EDGE_PX = 48, 8
STEPS = {
    "size": ((40, 32, 24, 20, 16), "pixels a side"),
    "blur": ((0.01, 0.02, 0.03, 0.04, 0.06), "of the side"),
    "darkness": ((0.5, 0.35, 0.2, 0.1, 0.05), "of the light"),
    "overexposure": ((1.25, 1.5, 2, 2.5, 3), "times the light"),
    "low contrast": ((0.6, 0.4, 0.2, 0.1, 0.05), "of the contrast"),
    "noise": ((5, 10, 20, 30, 40), "of 255"),
    "compression": ((50, 30, 20, 10, 5), "JPEG quality"),
    "rotation": ((5, 10, 20, 30, 45), "degrees"),
    "occlusion": ((0.2, 0.3, 0.4, 0.5, 0.6), "of the side"),
    "cut off": ((0.1, 0.15, 0.2, 0.25, 0.3), "of the box"),
}
"""Corruption -> levels, from the mildest, and their unit."""
ANGLES_DEG = (-90, -45, -30, -15, 15, 30, 45, 90)


def photo_of(face: Image) -> Image:
    """With its edge repeated around it."""
    return cv2.copyMakeBorder(face, *[EDGE_PX] * 4, cv2.BORDER_REPLICATE)


def box_in(margin: float, photo: Image) -> Detections:
    """Where the face is in such a photo, which may have been reduced, or lack its right or lower part, so that the crop
    of `margin` times the box is the face.
    """
    scale = 0.9999 * max(photo.shape[:2]) / (SIDE_PX + 2 * EDGE_PX)  # or rounding could make the crop 49 pixels wide
    middle, half = (EDGE_PX + SIDE_PX / 2) * scale, SIDE_PX / margin / 2 * scale
    box = np.array([[middle - half] * 2 + [middle + half] * 2], dtype=np.float32)
    return Detections(box, np.full((1, 5, 2), np.nan, dtype=np.float32), np.ones(1, dtype=np.float32))


def reduced(face_px: int, face: Image, _: int) -> Image:
    """A photo in which the face has this size."""
    side = round(face_px * (1 + 2 * EDGE_PX / SIDE_PX))
    return cv2.resize(photo_of(face), (side, side), interpolation=cv2.INTER_AREA)


def cut(share: float, margin: float, face: Image, row: int) -> Image:
    """A photo that ends within the face's box, of which `share` is missing."""
    end = round(EDGE_PX + SIDE_PX / 2 + (0.5 - share) * SIDE_PX / margin)
    return photo_of(face)[:, :end] if row % 2 else photo_of(face)[:end]


def steps(margin: float) -> Iterator[tuple[str, Callable[[Image, int], Image]]]:
    """Name, (face, row) -> photo."""
    yield "as it is", lambda face, _: photo_of(face)
    for name, (levels, unit) in STEPS.items():
        for level in levels:
            if name == "size":
                change = partial(reduced, level)
            elif name == "cut off":
                change = partial(cut, level, margin)
            else:
                change = partial(lambda name, level, face, row: photo_of(corrupt(name, level, face, row)), name, level)
            yield f"{name}, {level:g} {unit}", change


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--faces", type=int, help="a random choice; default all")
    asked = parser.parse_args()
    finder = Analyzer(asked.model)
    margin = finder.spec.input.margin
    analyzer = Analyzer(asked.model, detector=partial(box_in, margin), measures=())
    faces, target, labels = labelled(asked.data, count=asked.faces)
    print(headline("python benchmarks/quality.py ferplus:FOLDER"))
    print(f"{analyzer.spec.name}, {len(faces)} validation faces")
    print(f"{'':34}accuracy  sure of  with flaw  accuracy without")
    for name, change in steps(margin):
        analyses = list(analyzer.analyze_many(change(face, row) for row, face in enumerate(faces)))
        found = probabilities(analyses, labels)
        right = found.argmax(axis=1) == target
        flaw = np.array([bool(analysis.faces[0].quality.flaws) for analysis in analyses])
        without = f"{right[~flaw].mean():.3f}" if (~flaw).sum() >= 50 else "-"
        sure = found.max(axis=1).mean()
        print(f"{name:34}{right.mean():8.3f}{sure:9.3f}{flaw.mean():10.1%}{without:>18}", flush=True)
    again = list(finder.analyze_many(as_photos(face)[0] for face in faces))
    seen = np.array([bool(analysis.faces) for analysis in again])
    print(f"found again: {seen.sum()} of {len(faces)}")
    whole = Analyzer(asked.model, detector="whole", measures=())
    right = probabilities(whole.analyze_many(faces), labels).argmax(axis=1)[seen] == target[seen]
    qualities = [analysis.faces[0].quality for analysis in again if analysis.faces]
    for axis, angles in (("yaw", [one.yaw_deg for one in qualities]), ("pitch", [one.pitch_deg for one in qualities])):
        for low, high in pairwise(ANGLES_DEG):
            some = (np.array(angles) >= low) & (np.array(angles) < high)
            if some.sum() >= 20:
                print(f"{axis} {low:4} to {high:3} degrees: {some.sum():5} faces, accuracy {right[some].mean():.3f}")


if __name__ == "__main__":
    main()
