"""How evidence is best drawn, by how well it then agrees with occlusion, which needs no map: `python
experiments/heat_maps.py ferplus:DIR`, two minutes. How well what is drawn agrees: benchmarks/heat_maps.py.

Mean correlation of the two heat maps over the first 100 validation faces, for where the map's first place is put and
how far its places spread (in places; 0 is bilinear between their middles).
"""

import sys

import cv2
import numpy as np

from affectlens import Analyzer, load_data
from affectlens.core.model_outputs import ModelOutputs
from affectlens.runtime import explain

FACES = 100


def bilinear(positive, start, side):
    """(h, w) evidence with its first place at `start` -> (side, side)."""
    at = ((np.arange(side) + 0.5) * len(positive) / side - start).astype(np.float32)
    places = np.meshgrid(at, at)
    return cv2.remap(positive.astype(np.float32), *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def main(spec):
    """Print a table."""
    table = load_data(spec, "valid")
    crops = [np.stack([table.images[row]] * 3, axis=-1) for row in range(min(FACES, len(table)))]
    analyzer = Analyzer(detector="whole", explain=True)
    outputs = analyzer.recognizer.outputs(crops)
    occluded = explain.explanations(crops, ModelOutputs(outputs.logits), analyzer.recognizer.outputs)
    print("first place  spread  correlation with occlusion")
    for start in (0.5, analyzer.spec.first_place):
        for spread in (0.0, 0.35, 0.5, 0.7, 1.0):
            found = []
            for crop, logits, maps, truth in zip(crops, outputs.logits, outputs.explanation, occluded, strict=True):
                positive = maps[logits.argmax()].clip(0)
                explain.SPREAD_PLACES = spread
                drawn = explain._over(crop, positive, start) if spread else bilinear(positive, start, len(crop))
                if drawn.std() and truth.heat.std():
                    found.append(np.corrcoef(drawn.ravel(), truth.heat.ravel())[0, 1])
            print(f"{start:11.3f}  {spread:6.2f}  {np.mean(found):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
