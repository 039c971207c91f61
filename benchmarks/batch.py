"""How a batch grows with its workers, what Ray costs, and whether memory grows with the length of a batch.

Photos of 640x480 with one face, JPEG, on the local disk. The rate is that between the first tenth of the answers and
the last, so that starting processes does not count; worker counts take turns, the medians of the rounds are compared.

usage: python benchmarks/batch.py [--photos 2000] [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from affectlens.apps.batch.run import Engine, run
from affectlens.apps.batch.work import Settings
from affectlens.apps.cli.conditions import headline
from affectlens.apps.cli.scenes import one_face, tiled
from affectlens.runtime.media import save_image

GAIN, KEPT, GROWTH_MB = 1.8, 0.8, 30
KINDS = {"1 worker": (Engine.LOCAL, 1), "2 workers": (Engine.LOCAL, 2), "2 actors of Ray": (Engine.RAY, 2)}
SHARD_ROWS = 100


def photos(folder: Path, count: int) -> Path:
    """A folder of so many."""
    folder.mkdir()
    frames = [tiled(picture, 1) for picture in one_face(None, 60)]
    for number in range(count):
        save_image(folder / f"{number:05d}.jpg", frames[number % len(frames)])
    return folder


def measure(source: Path, count: int, out: Path, engine: Engine, workers: int) -> tuple[float, list[float]]:
    """Photos a second, and megabytes that driver and workers of the local engine hold together after each 50 photos."""
    times: list[float] = []
    held: list[float] = []
    driver = psutil.Process()

    def watched(parts, _):
        for part in parts:
            yield part
            times.append(time.perf_counter())
            if len(times) % 50 == 0:
                everyone = (driver, *driver.children())
                held.append(sum(one.memory_info().rss for one in everyone) / 2**20)

    run(str(source), out, Settings(), workers, SHARD_ROWS, engine=engine, progress=watched)
    assert len(times) == count, "a source has no answer"
    tenth = count // 10
    return (count - tenth - 1) / (times[-1] - times[tenth]), held


def main() -> int:
    """Print rates and memory; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    alone, both, on_ray = KINDS
    with tempfile.TemporaryDirectory() as folder:
        source = photos(Path(folder, "photos"), asked.photos)
        found = {name: [] for name in KINDS}
        for number in range(asked.rounds):
            for name, kind in KINDS.items():
                found[name].append(measure(source, asked.photos, Path(folder, f"{number} {name}"), *kind))
    rates = {name: statistics.median(rate for rate, _ in rounds) for name, rounds in found.items()}
    print(headline("python benchmarks/batch.py"))
    print(f"{asked.photos} photos, {asked.rounds} rounds")
    for name, rounds in found.items():
        print(f"{name}: {rates[name]:.1f} photos/s ({', '.join(f'{rate:.1f}' for rate, _ in rounds)})")
    gain, kept = rates[both] / rates[alone], rates[on_ray] / rates[both]
    print(f"gain of the second worker: {gain:.2f}")
    print(f"Ray's rate is {kept:.2f} of the local engine's")
    held = found[both][-1][1]
    quarter = len(held) // 4
    quarters = [max(held[part * quarter : (part + 1) * quarter]) for part in range(4)]
    print(
        f"memory of all local processes, in the quarters of a batch: {', '.join(f'{most:.0f}' for most in quarters)} MB"
    )
    return int(gain < GAIN or kept < KEPT or quarters[-1] - quarters[0] > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
