"""How long `Stream.push` takes for a frame of 640x480: `python benchmarks/stream.py`, half a minute.

Every tenth frame (`VideoSettings.detect_every`) and those after a face was lost are searched as a whole; in the others
the detector looks only where the known faces should be. A row for each kind: median, 95th percentile and largest of the
milliseconds from the call to its return, with the faces of the portrait, moving. The first 20 frames do not count.
"""

import argparse
import time

import numpy as np

from affectlens import Analyzer
from affectlens.apps.cli.conditions import headline
from affectlens.apps.cli.scenes import one_face, tiled
from affectlens.faces.detectors import mtcnn

WARM_UP = 20


class Noting:
    """A detector, and whether it searched the whole of the last frame."""

    def __init__(self, detector):
        self._detector, self.searched = detector, False

    def __call__(self, image):
        self.searched = True
        return self._detector(image)

    def follow(self, image, boxes):
        """Where known faces should be."""
        self.searched = False
        return self._detector.follow(image, boxes)


def main(frames):
    """Print a table."""
    print(headline(f"python benchmarks/stream.py --frames {frames}"))
    print(f"{'faces':>5} {'frame':>9} {'frames':>7} {'median ms':>10} {'95 % ms':>8} {'most ms':>8}")
    shown = one_face(None, frames)
    detector = Noting(mtcnn.build())
    analyzer = Analyzer(detector=detector)
    for faces in (1, 5):
        stream, taken = analyzer.stream(), {True: [], False: []}
        for number in range(frames):
            image = tiled(shown[number % len(shown)], faces)
            start = time.perf_counter()
            analysis = stream.push(image, number / 30)
            took_ms = 1000 * (time.perf_counter() - start)
            assert len(analysis.faces) == faces, f"{len(analysis.faces)} of {faces} faces in frame {number}"
            if number >= WARM_UP:
                taken[detector.searched].append(took_ms)
        for searched, name in ((True, "searched"), (False, "followed")):
            middle, high, most = np.percentile(taken[searched], (50, 95, 100))
            print(f"{faces:5} {name:>9} {len(taken[searched]):7} {middle:10.1f} {high:8.1f} {most:8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=320)
    main(parser.parse_args().frames)
