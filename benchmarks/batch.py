"""How a batch grows with its workers, what Ray costs, and whether memory grows with the length of a batch.

Runs `affectlens batch` over photos of 640x480 with one face, JPEG, on the local disk. The rate is that from the first
shard to the last, by the times of their files, so that starting processes does not count; worker counts take turns, the
medians of the rounds are compared. Memory is that of driver and workers together.

usage: python benchmarks/batch.py [--photos 2000] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from _headline import headline
from _photos import write_photos
from _watched import watch

GAIN, KEPT, GROWTH_MB = 1.8, 0.8, 30
KINDS = {"1 worker": ("local", 1), "2 workers": ("local", 2), "2 actors of Ray": ("ray", 2)}
SHARD_ROWS = 100


def measure(photos: Path, out: Path, engine: str, workers: int) -> tuple[float, list[float]]:
    """Photos a second, and megabytes over time from the first shard on."""
    options = ("--engine", engine, "--workers", workers, "--shard-rows", SHARD_ROWS)
    seen = watch("batch", photos, "--out", out, *options, since=out / "part-000000.parquet")
    times = sorted(file.stat().st_mtime for file in out.glob("part-*.parquet"))
    return SHARD_ROWS * (len(times) - 1) / (times[-1] - times[0]), seen.all_mb


def quarters(held: list[float]) -> list[float]:
    """The most in each; the last tenth, in which processes end, does not count."""
    bounds = [9 * len(held) // 10 * part // 4 for part in range(5)]
    return [max(held[low:high], default=0.0) for low, high in pairwise(bounds)]


def main() -> int:
    """Print rates and memory; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000, help=f"a multiple of {SHARD_ROWS}")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    alone, both, on_ray = KINDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = write_photos(folder / "photos", asked.photos)
        found = {kind: [] for kind in KINDS}
        for number in range(asked.rounds):
            for kind, engine in KINDS.items():
                found[kind].append(measure(photos, folder / f"{number} {kind}", *engine))
    rates = {kind: statistics.median(rate for rate, _ in rounds) for kind, rounds in found.items()}
    print(headline(f"python benchmarks/batch.py --photos {asked.photos} --rounds {asked.rounds}"))
    for kind, rounds in found.items():
        print(f"{kind}: {rates[kind]:.1f} photos/s ({', '.join(f'{rate:.1f}' for rate, _ in rounds)})")
    gain, kept = rates[both] / rates[alone], rates[on_ray] / rates[both]
    print(f"gain of the second worker: {gain:.2f}")
    print(f"Ray's rate is {kept:.2f} of the local engine's")
    held = quarters(found[both][-1][1])
    print(f"memory of all local processes, in the quarters of a batch: {', '.join(f'{most:.0f}' for most in held)} MB")
    return int(gain < GAIN or kept < KEPT or held[-1] - held[0] > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
