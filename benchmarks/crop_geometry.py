"""Which crop around the detector's box looks most like a training crop?

Three ways to measure a face are compared: the longer side of the detector's box (what the package does), the root of
the box's area, and the distance of the eyes (Antoniadis, section 3.1). Validation faces of FER+ are enlarged four times
and set into a larger picture (black around them for the detector, their edge repeated for the crop). Wherever the
detector finds the face, it is cut out again with many margins, and accuracy and log-likelihood on these crops are set
beside those on the training crop itself.

usage: python benchmarks/crop_geometry.py ferplus:FOLDER [--model FILE] [--faces N]
"""

import argparse
from dataclasses import dataclass

import numpy as np
from _faces import (
    BORDER_PX,
    ENLARGED_PX,
    Image,
    analyze_at,
    as_photos,
    labelled,
    likelihood,
    probabilities,
    resized_boxes,
)
from _headline import headline
from numpy.typing import NDArray

from affectlens import Analyzer, Detections

MARGINS = {
    "box side": (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2),
    "box area": (0.9, 0.95, 1.0, 1.05, 1.1, 1.2),
    "eyes": (2.2, 2.4, 2.6, 2.8),
}
"""Sides of the crop to try, in each unit."""


@dataclass(frozen=True)
class Found:
    """A face that was found again: its original crop, the picture it was set into, the detection, its label."""

    original: Image
    picture: Image
    detection: Detections
    target: int


def units(found: Found) -> dict[str, tuple[NDArray[np.float32], float]]:
    """(centre, size) of the face in pixels of the picture, by each way to measure it."""
    box, points = found.detection.boxes_xyxy[0], found.detection.landmarks_xy[0]
    width, height = box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    return {
        "box side": (centre, float(max(width, height))),
        "box area": (centre, float(np.sqrt(width * height))),
        "eyes": (eyes + 0.3 * (mouth - eyes), float(np.linalg.norm(points[1] - points[0]))),
    }


def measured_by(found: Found, unit: str) -> Detections:
    """The detection with a square box of one `unit` around the face's centre by that measure."""
    centre, size = units(found)[unit]
    box = np.hstack([centre - size / 2, centre + size / 2])[None].astype(np.float32)
    return Detections(box, found.detection.landmarks_xy, found.detection.scores)


def print_geometry(found: list[Found]) -> None:
    """The training crop in the detector's terms."""
    for unit in units(found[0]):
        measured = [units(f)[unit] for f in found]
        side = np.array([ENLARGED_PX / size for _, size in measured])
        off = (np.array([centre for centre, _ in measured]) - BORDER_PX) / ENLARGED_PX - 0.5
        print(
            f"crop side / {unit:9} median {np.median(side):.3f} sd/mean {side.std() / side.mean():.3f}; "
            f"centre off by x {np.median(off[:, 0]):+.3f} y {np.median(off[:, 1]):+.3f} of the crop"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--faces", type=int, default=1500)
    options = parser.parse_args()
    analyzer, whole = Analyzer(options.model), Analyzer(options.model, detector="whole", measures=())
    faces, targets, labels = labelled(options.data, count=options.faces)
    found = []
    for face, label in zip(faces, targets.tolist(), strict=True):
        around_black, around_edge = as_photos(face)
        if len(seen := analyzer.detector(around_black)):
            found.append(Found(face, around_edge, seen.only(0), label))
    print(headline("python benchmarks/crop_geometry.py ferplus:FOLDER"))
    print(f"found again: {len(found)} of {len(faces)}")
    target = np.array([f.target for f in found])
    print_geometry(found)

    def report(name: str, answers: NDArray[np.float64]) -> None:
        accuracy = (answers.argmax(axis=1) == target).mean()
        print(f"{name:40} accuracy {accuracy:.4f}  nll {likelihood(answers, target):.4f}", flush=True)

    report("training crop", probabilities(whole.analyze_many(f.original for f in found), labels))
    for unit, margins in MARGINS.items():
        for rotate in (False, True):
            for margin in margins:
                factor = margin / analyzer.spec.input.margin
                boxes = (resized_boxes(measured_by(f, unit), factor, rotate) for f in found)
                answers = analyze_at(options.model, (f.picture for f in found), boxes)
                report(f"{unit} x {margin:.2f} rotate {rotate}", probabilities(answers, labels))


if __name__ == "__main__":
    main()
