"""Peak memory of what a training run does with a whole data set, over 20,000 made faces."""

import subprocess
import sys

import pytest

MADE = """
import resource
from dataclasses import replace

import numpy as np
import torch

from affectlens.core.sample import Sample
from affectlens.data import table
from affectlens.data.near_duplicates import has_near_duplicate
from affectlens.training.loaders import valid_loader
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find

FACES, SIDE = 20_000, 96
random = np.random.default_rng(0)
pixels = random.integers(0, 256, (64, SIDE, SIDE), dtype=np.uint8)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class Made:
    def __init__(self, row):
        self.row = row

    def decode(self):
        return np.roll(pixels[self.row % 64], self.row // 64, axis=1)


def faces(count):
    from affectlens.data.images import Images

    small = [Sample(str(row), None, "valid", "ab"[row % 2], content=pixels[0]) for row in range(count)]
    made = table.load(iter(small), ("a", "b"))
    return made.with_images(Images([Made(row) for row in range(count)]), {})
"""


def grown(code):
    """Megabytes by which the peak grows while the code after "# measured" runs; what is before has run already."""
    before, _, measured = code.partition("# measured")
    lines = [MADE, before, "start = peak_mb()", measured, "print(peak_mb() - start)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_near_duplicates_are_searched_image_by_image():
    # all images at once would be 176 MB, all hashes as numbers 60
    code = """
images, others = faces(FACES), faces(FACES)
has_near_duplicate(images.images[np.arange(500)], others.images[np.arange(500)])
# measured
has_near_duplicate(images.images, others.images)
"""
    assert grown(code) < 80


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_validation_keeps_no_images():
    # images of one epoch as the network sees them would be 703 MB
    code = """
recipe = replace(find("caciolai/baseline"), size_px=SIDE, model="compact_resnet",
                 model_options={"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1]})
module = ExpressionModule(recipe, 2).eval()
valid = faces(FACES)
loader = iter(valid_loader(valid, recipe))
with torch.inference_mode():
    for _ in range(4):
        module.validation_step(next(loader))
# measured
with torch.inference_mode():
    for batch in loader:
        module.validation_step(batch)
assert sum(len(part["logits"]) for part in module._valid) == FACES
"""
    assert grown(code) < 80
