"""Which crop around the detector's box looks most like a training crop?

Three ways to measure a face are compared: the longer side of the detector's box (what the package does), the root of
the box's area, and the distance of the eyes (Antoniadis, section 3.1). Validation faces of FER+ are enlarged four times
and set into a larger picture (black around them for the detector, their edge repeated for the crop). Wherever MTCNN
finds the face, it is cut out again with many margins, and accuracy and log-likelihood on these crops are set beside
those on the training crop itself.

usage: python benchmarks/crop_geometry.py ferplus:FOLDER [--model FILE] [--faces N]
"""

import argparse
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.data import source
from affectlens.evaluation import metrics
from affectlens.faces.align import cut_faces
from affectlens.faces.detectors import mtcnn
from affectlens.runtime.analyzer import Analyzer

ENLARGED_PX = 192
BORDER_PX = 64
MARGINS = {
    "box side": (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2),
    "box area": (0.9, 0.95, 1.0, 1.05, 1.1, 1.2),
    "eyes": (2.2, 2.4, 2.6, 2.8),
}
"""Sides of the crop to try, in each unit."""


@dataclass(frozen=True)
class Found:
    """A face that the detector found again: its original crop, the picture it was set into, the detection."""

    original: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    detection: Detections
    target: int


def as_photos(face: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A training crop as a photo, RGB, with black around it, which does not mislead the detector, and with its edge
    repeated, which does not mislead the network.
    """
    large = cv2.resize(face, (ENLARGED_PX, ENLARGED_PX), interpolation=cv2.INTER_CUBIC)
    black, edge = (
        np.asarray(cv2.cvtColor(cv2.copyMakeBorder(large, *[BORDER_PX] * 4, kind), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        for kind in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)
    )
    return black, edge


def find_again(data: str, count: int) -> list[Found]:
    """Random validation faces with a majority label, as far as the detector finds them."""
    table = source.parse(data).load("valid")
    table = table.keep(table.targets >= 0)
    detect = mtcnn.build()
    found = []
    for row in np.random.default_rng(0).permutation(len(table))[:count]:
        around_black, around_edge = as_photos(table.images[row])
        faces = detect(around_black)
        if len(faces):
            best = Detections(faces.boxes_xyxy[:1], faces.landmarks_xy[:1], faces.scores[:1])
            found.append(Found(table.images[row], around_edge, best, int(table.targets[row])))
    print(f"found again: {len(found)} of {count}")
    return found


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
    analyzer = Analyzer(options.model)
    found = find_again(options.data, options.faces)
    target = np.array([f.target for f in found])
    print_geometry(found)

    def report(name: str, crops: list[NDArray[np.uint8]]) -> None:
        logits = analyzer.recognizer.answers(crops).logits
        score = metrics.accuracy(logits.argmax(axis=1), target)
        likelihood = metrics.negative_log_likelihood(logits, target, analyzer.spec.temperature)
        print(f"{name:40} accuracy {score:.4f}  nll {likelihood:.4f}", flush=True)

    report("training crop", [f.original for f in found])
    for unit, margins in MARGINS.items():
        detections = [measured_by(f, unit) for f in found]
        for rotate in (False, True):
            for margin in margins:
                change = {"margin": margin, "shift_y": 0.0, "rotate": rotate}
                spec = analyzer.spec.input.model_copy(update=change)
                crops = [cut_faces(f.picture, d, spec)[0] for f, d in zip(found, detections, strict=True)]
                report(f"{unit} x {margin:.2f} rotate {rotate}", crops)


if __name__ == "__main__":
    main()
