"""How a batch grows with its workers, what Ray costs, and whether memory grows with the length of a batch.

Runs `affectlens batch` over photos of 640x480 with one face, JPEG, on the local disk. A rate is that of how much longer
twice as many photos take, so that starting processes does not count; worker counts take turns, the medians of the
rounds are compared. Memory is that of driver and workers together, in the quarters of the longest batch.

usage: python benchmarks/batch.py [--photos 1000] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from _headline import headline
from _photos import write_photos
from _watched import Watched, watch

GAIN, KEPT, GROWTH_MB = 1.8, 0.8, 30
KINDS = {"1 worker": ("local", 1), "2 workers": ("local", 2), "2 actors of Ray": ("ray", 2)}
SHARD_ROWS = 100


def measure(folders: tuple[Path, Path], photos: int, out: Path, engine: str, workers: int) -> tuple[float, Watched]:
    """Photos a second, and what was seen of the longer batch."""
    options = ("--engine", engine, "--workers", workers, "--shard-rows", SHARD_ROWS)
    once, twice = (watch("batch", folder, "--out", out / folder.name, *options) for folder in folders)
    return photos / (twice.seconds - once.seconds), twice


def quarters(held: list[float]) -> list[float]:
    """The most in each; the first tenth, in which processes start, and the last, in which they end, do not count."""
    held = held[len(held) // 10 : -(len(held) // 10) or None]
    bounds = [len(held) * part // 4 for part in range(5)]
    return [max(held[low:high], default=0.0) for low, high in pairwise(bounds)]


def main() -> int:
    """Print rates and memory; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000, help="of the shorter batch")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    alone, both, on_ray = KINDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = write_photos(folder / "once", asked.photos), write_photos(folder / "twice", 2 * asked.photos)
        found = {kind: [] for kind in KINDS}
        for number in range(asked.rounds):
            for kind, engine in KINDS.items():
                found[kind].append(measure(folders, asked.photos, folder / f"{number} {kind}", *engine))
    rates = {kind: statistics.median(rate for rate, _ in rounds) for kind, rounds in found.items()}
    print(headline(f"python benchmarks/batch.py --photos {asked.photos} --rounds {asked.rounds}"))
    for kind, rounds in found.items():
        print(f"{kind}: {rates[kind]:.1f} photos/s ({', '.join(f'{rate:.1f}' for rate, _ in rounds)})")
    gain, kept = rates[both] / rates[alone], rates[on_ray] / rates[both]
    print(f"gain of the second worker: {gain:.2f}")
    print(f"Ray's rate is {kept:.2f} of the local engine's")
    held = quarters(found[both][-1][1].all_mb)
    print(f"memory of all local processes, in the quarters of a batch: {', '.join(f'{most:.0f}' for most in held)} MB")
    return int(gain < GAIN or kept < KEPT or held[-1] - held[0] > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
