"""How long `Stream.push` takes for a frame of 640x480: `python benchmarks/stream.py`, half a minute.

Every tenth frame (`VideoSettings.detect_every`) and those after a face was lost, which none is here, are searched as a
whole; in the others the detector looks only where the known faces should be. A row for each kind: median, 95th
percentile and largest of the milliseconds from the call to its return, with the faces of the portrait, moving. The
first 20 frames do not count.
"""

import argparse
import time

import numpy as np
from _headline import headline

from affectlens import Analyzer, VideoSettings, sample_frames

WARM_UP, SEARCH_EVERY = 20, 10


def main(frames: int) -> None:
    """Print a table."""
    print(headline(f"python benchmarks/stream.py --frames {frames}"))
    print(f"{'faces':>5} {'frame':>9} {'frames':>7} {'median ms':>10} {'95 % ms':>8} {'most ms':>8}")
    analyzer = Analyzer()
    for faces in (1, 5):
        stream, taken = analyzer.stream(VideoSettings(detect_every=SEARCH_EVERY)), {True: [], False: []}
        for number, image in enumerate(sample_frames(frames, faces)):
            start = time.perf_counter()
            analysis = stream.push(image, number / 30)
            took_ms = 1000 * (time.perf_counter() - start)
            assert len(analysis.faces) == faces, f"{len(analysis.faces)} of {faces} faces in frame {number}"
            if number >= WARM_UP:
                taken[number % SEARCH_EVERY == 0].append(took_ms)
        for searched, name in ((True, "searched"), (False, "followed")):
            middle, high, most = np.percentile(taken[searched], (50, 95, 100))
            print(f"{faces:5} {name:>9} {len(taken[searched]):7} {middle:10.1f} {high:8.1f} {most:8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=320)
    main(parser.parse_args().frames)
