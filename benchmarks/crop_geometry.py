"""Which crop around the detector's box looks most like a training crop?

Validation faces of FER+ are enlarged four times and set into a larger picture (black around them for the detector,
their edge repeated for the crop). Wherever MTCNN finds the face, it is cut out again with many margins, shifts and
rotations, and accuracy and log-likelihood on these crops are set beside those on the training crop itself.

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


@dataclass(frozen=True)
class Found:
    """A face that the detector found again: its original crop, the picture it was set into, the detection."""

    original: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    detection: Detections
    target: int


def find_again(data: str, count: int) -> list[Found]:
    """Random validation faces with a majority label, as far as the detector finds them."""
    table = source.parse(data).load("valid")
    table = table.keep(table.targets >= 0)
    detect = mtcnn.build(min_face_px=60)
    found = []
    for row in np.random.default_rng(0).permutation(len(table))[:count]:
        large = cv2.resize(table.images[row], (ENLARGED_PX, ENLARGED_PX), interpolation=cv2.INTER_CUBIC)
        bordered = [
            cv2.cvtColor(cv2.copyMakeBorder(large, *[BORDER_PX] * 4, kind), cv2.COLOR_GRAY2RGB)
            for kind in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)
        ]
        faces = detect(bordered[0])
        if len(faces):
            best = Detections(faces.boxes_xyxy[:1], faces.landmarks_xy[:1], faces.scores[:1])
            found.append(Found(table.images[row], bordered[1], best, int(table.targets[row])))
    print(f"found again: {len(found)} of {count}")
    return found


def print_geometry(found: list[Found]) -> None:
    """The training crop in the detector's terms."""
    boxes = np.stack([f.detection.boxes_xyxy[0] for f in found]) - BORDER_PX
    sides = boxes[:, 2:] - boxes[:, :2]
    off = ((boxes[:, :2] + boxes[:, 2:]) / 2 - ENLARGED_PX / 2) / ENLARGED_PX
    for name, values in {
        "crop side / larger box side": ENLARGED_PX / sides.max(axis=1),
        "crop side / root of box area": ENLARGED_PX / np.sqrt(sides.prod(axis=1)),
        "box centre x - crop centre x": off[:, 0],
        "box centre y - crop centre y": off[:, 1],
    }.items():
        print(f"{name:30} median {np.median(values):+.3f}  sd {values.std():.3f}")


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
        logits = analyzer.logits(crops)
        score = metrics.accuracy(logits.argmax(axis=1), target)
        likelihood = metrics.negative_log_likelihood(logits, target, analyzer.spec.temperature)
        print(f"{name:40} accuracy {score:.4f}  nll {likelihood:.4f}", flush=True)

    report("training crop", [f.original for f in found])
    for rotate in (False, True):
        for shift_y in (-0.04, 0.0, 0.04):
            for margin in (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2):
                spec = analyzer.spec.input.model_copy(update={"margin": margin, "shift_y": shift_y, "rotate": rotate})
                crops = [cut_faces(f.picture, f.detection, spec)[0] for f in found]
                report(f"margin {margin:.2f} shift {shift_y:+.2f} rotate {rotate}", crops)


if __name__ == "__main__":
    main()
