"""What the detector's shortcuts save: `python experiments/detector.py`, a minute.

Each row times two detectors in turns on the same picture: the plain cascade (networks as they come, P-Net over whole
levels, the largest level and crops straight from the picture, all crops at once, O-Net sees every candidate,
suppression of one box at a time), and the one that ships. Milliseconds are medians of --repeats in one thread.
"""

import argparse
from dataclasses import dataclass
from timeit import timeit
from unittest.mock import patch

import cv2
import numpy as np

from affectlens import environment, read_image, sample_frames
from affectlens.core.session import open_session
from affectlens.faces import suppression
from affectlens.faces.detectors import mtcnn
from affectlens.runtime.media import PORTRAIT


@dataclass(frozen=True)
class Plain(mtcnn.Mtcnn):
    """The cascade without shortcuts."""

    def __call__(self, image):
        boxes, _ = self._refine(image, self._propose(image))
        return self._reported(self._judge(image, boxes))

    def _propose(self, image):
        with patch.object(mtcnn, "_half", lambda image: image):
            return super()._propose(image)

    def _cells(self, level):
        offsets, faceness = self.pnet.run(None, {"input_1": mtcnn._normalise(level).transpose(1, 0, 2)[None]})
        return offsets[0], faceness[0, :, :, 1]


def resized(image, side):
    """As `mtcnn._resized`, in one step."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


PLAIN = {"_RNET_CROPS": 10_000, "_ONET_CROPS": 10_000, "_resized": resized}


def in_turns(plain, ours, image, repeats):
    """Median milliseconds of each."""
    taken = [], []
    for _ in range(repeats):
        with patch.multiple(mtcnn, **PLAIN), patch.object(suppression, "_BLOCK_SIZE", 1):
            taken[0].append(timeit(lambda: plain(image), number=1))
        taken[1].append(timeit(lambda: ours(image), number=1))
    return [1000 * float(np.median(times)) for times in taken]


def main(repeats):
    """Print a table."""
    ours = mtcnn.build()
    networks = [open_session(mtcnn._network(name)) for name in ("pnet", "rnet", "onet")]
    plain = Plain(ours.min_face_px, ours.pyramid_factor, ours.thresholds, *networks)
    one, five = (next(sample_frames(faces=faces)) for faces in (1, 5))
    pictures = {
        "640x480, one face": one,
        "640x480, five faces": five,
        "512x512, the portrait": read_image(PORTRAIT),
        "4000x3000, five faces": cv2.resize(five, (4000, 3000), interpolation=cv2.INTER_CUBIC),
    }
    machine = environment()
    print(f"$ python experiments/detector.py\n{machine['cores']} cores of {machine['processor']}")
    print("                          faces          plain     ships    ratio")
    for name, image in pictures.items():
        before, after = in_turns(plain, ours, image, repeats)
        print(f"{name:26}{len(ours(image)):5}{before:12.1f} ms{after:7.1f} ms{before / after:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    main(parser.parse_args().repeats)
