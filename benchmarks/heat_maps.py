"""How well the drawn evidence of the bundled model agrees with occlusion, which needs no map.

Occlusion (Zeiler and Fergus 2014): a gray square of a quarter of the side moves over the face in eight by eight places,
and what the expression's logit loses is what counts there. Over validation faces the mean correlation of its map with
the one that is drawn (`Face.explanation`), and with the mean of all drawn maps, which knows nothing of the face.

usage: python benchmarks/heat_maps.py ferplus:FOLDER [--faces 100]
"""

import argparse

import cv2
import numpy as np
from _faces import Image, labelled
from _headline import headline
from numpy.typing import NDArray

from affectlens import Analyzer, Face

STEPS, SQUARE = 8, 0.25


def covered(face: Image) -> list[Image]:
    """Copies with a gray square, row by row."""
    copies = []
    for middle in ((np.indices((STEPS, STEPS)).reshape(2, -1).T + 0.5) / STEPS).tolist():
        (top, bottom), (left, right) = (
            (max(round((at - SQUARE / 2) * side), 0), round((at + SQUARE / 2) * side))
            for at, side in zip(middle, face.shape[:2], strict=True)
        )
        copies.append(face.copy())
        copies[-1][top:bottom, left:right] = 128
    return copies


def logit(face: Face, label: str) -> float:
    """Of a label, up to a factor: its log-probability against the mean of all."""
    return float(np.log(face.probabilities[label]) - np.mean(np.log(list(face.probabilities.values()))))


def occlusion(analyzer: Analyzer, crop: Image, face: Face) -> NDArray[np.float32]:
    """What its expression loses at each place of a face, as large as the crop; what it gains there is 0."""
    after = [logit(analysis.faces[0], face.expression) for analysis in analyzer.analyze_many(covered(crop))]
    lost = (logit(face, face.expression) - np.array(after, dtype=np.float32)).reshape(STEPS, STEPS).clip(0)
    return cv2.resize(lost, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Of two maps; NaN where one of them is even."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1]) if first.std() and second.std() else np.nan


def main() -> None:
    """Print both correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--faces", type=int, default=100)
    asked = parser.parse_args()
    crops, _, _ = labelled(asked.data, count=asked.faces)
    analyzer = Analyzer(detector="whole", measures=())
    faces = [analysis.faces[0] for analysis in analyzer.explaining().analyze_many(crops)]
    drawn = [face.explanation.heat for face in faces]
    occluded = [occlusion(analyzer, crop, face) for crop, face in zip(crops, faces, strict=True)]
    mean = np.mean(drawn, axis=0)
    print(headline("python benchmarks/heat_maps.py ferplus:FOLDER"))
    print(f"{len(crops)} validation faces, correlation with occlusion")
    for name, maps in (("drawn", drawn), ("mean of all drawn", [mean] * len(drawn))):
        found = [correlation(one, truth) for one, truth in zip(maps, occluded, strict=True)]
        print(f"{name:18} {np.nanmean(found):.3f}")


if __name__ == "__main__":
    main()
