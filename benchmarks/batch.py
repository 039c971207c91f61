"""How a batch grows with its workers, and whether its memory does with its length.

Photos of 640x480 with one face, JPEG, on the local disk. The rate is that between the first tenth of the answers and
the last, so that starting processes does not count; worker counts take turns, the medians of the rounds are compared.

usage: python benchmarks/batch.py [--photos 1000] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from affectlens.apps.batch.run import run
from affectlens.apps.batch.work import Settings
from affectlens.apps.cli.scenes import one_face
from affectlens.runtime.media import save_image

GAIN, GROWTH_MB = 1.8, 30
COUNTS = (1, 2)
SHARD_ROWS = 100


def photos(folder: Path, count: int) -> Path:
    """A folder of so many."""
    folder.mkdir()
    frames = one_face(None, 60)
    for number in range(count):
        save_image(folder / f"{number:05d}.jpg", frames[number % len(frames)])
    return folder


def measure(source: Path, out: Path, workers: int) -> tuple[float, float]:
    """Photos a second, and megabytes that driver and workers hold together at most."""
    times: list[float] = []
    most = 0.0
    driver = psutil.Process()

    def watched(parts, _):
        nonlocal most
        for part in parts:
            yield part
            times.append(time.perf_counter())
            if len(times) % 50 == 0:
                everyone = (driver, *driver.children())
                most = max(most, sum(one.memory_info().rss for one in everyone) / 2**20)

    run(str(source), out, Settings(), workers, SHARD_ROWS, progress=watched)
    tenth = len(times) // 10
    return (len(times) - tenth - 1) / (times[-1] - times[tenth]), most


def main() -> int:
    """Print rates and memory; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (photos(Path(folder, str(count)), count) for count in (asked.photos // 4, asked.photos))
        found = {workers: [] for workers in COUNTS}
        for number in range(asked.rounds):
            for workers in COUNTS:
                found[workers].append(measure(many, Path(folder, f"{number}-{workers}"), workers))
        short = measure(few, Path(folder, "short"), COUNTS[-1])[1]
    rates = {workers: statistics.median(rate for rate, _ in rounds) for workers, rounds in found.items()}
    for workers, rounds in found.items():
        print(f"{workers} workers: {rates[workers]:.1f} photos/s ({', '.join(f'{rate:.1f}' for rate, _ in rounds)})")
    gain, most = rates[COUNTS[-1]] / rates[1], max(memory for _, memory in found[COUNTS[-1]])
    print(f"gain of the second worker: {gain:.2f}")
    print(f"memory of all processes: {short:.0f} MB for {asked.photos // 4} photos, {most:.0f} MB for {asked.photos}")
    return int(gain < GAIN or most - short > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
