"""What taking PReLUs apart, bands, pieces and blocks save the detector: `python benchmarks/detector.py`, a minute.

Each row times two detectors in turns on the same picture: one with the networks as they come, P-Net over whole levels,
all crops at once and suppression of one box at a time, and the one that ships. Milliseconds are medians of --repeats in
one thread.
"""

import argparse
import time
from dataclasses import dataclass

import cv2
import numpy as np

from affectlens.apps.cli.conditions import headline
from affectlens.apps.cli.scenes import tiled
from affectlens.core.session import open_session
from affectlens.faces import suppression
from affectlens.faces.detectors import mtcnn
from affectlens.runtime.media import PORTRAIT, read_image


@dataclass(frozen=True)
class Plain(mtcnn.Mtcnn):
    """P-Net over a whole level at once."""

    def _cells(self, level):
        offsets, faceness = self.pnet.run(None, {"input_1": mtcnn._normalise(level).transpose(1, 0, 2)[None]})
        return offsets[0], faceness[0, :, :, 1]


def in_turns(detectors, image, repeats):
    """Median milliseconds of each."""
    taken = [[] for _ in detectors]
    for _ in range(repeats):
        for (detect, boxes, crops), times in zip(detectors, taken, strict=True):
            suppression._AT_ONCE, (mtcnn._RNET_CROPS, mtcnn._ONET_CROPS) = boxes, crops
            start = time.perf_counter()
            detect(image)
            times.append(time.perf_counter() - start)
    return [1000 * float(np.median(times)) for times in taken]


def main(repeats):
    """Print a table."""
    ours = mtcnn.build()
    networks = [open_session(mtcnn._network(name)) for name in ("pnet", "rnet", "onet")]
    plain = Plain(ours.min_face_px, ours.pyramid_factor, ours.thresholds, *networks)
    shipped = suppression._AT_ONCE, (mtcnn._RNET_CROPS, mtcnn._ONET_CROPS)
    detectors = [(plain, 1, (10_000, 10_000)), (ours, *shipped)]
    portrait = read_image(PORTRAIT)
    pictures = {
        "640x480, one face": tiled(portrait, 1),
        "640x480, five faces": tiled(portrait, 5),
        "512x512, the portrait": portrait,
        "4000x3000, five faces": cv2.resize(tiled(portrait, 5), (4000, 3000), interpolation=cv2.INTER_CUBIC),
    }
    print(headline("python benchmarks/detector.py"))
    print("                          faces    as it comes     ships    ratio")
    for name, image in pictures.items():
        before, after = in_turns(detectors, image, repeats)
        print(f"{name:26}{len(ours(image)):5}{before:12.1f} ms{after:7.1f} ms{before / after:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    main(parser.parse_args().repeats)
