"""Does a batch hold every source once, whenever its processes are killed?

Runs `affectlens batch` over photos and a video again and again and kills it with SIGKILL at random moments: all of it,
and goes on with --resume; or one of its workers, which must not even be noticed. Every time the shards must hold what
those of a batch that was left alone hold, and at the kill no row twice.

usage: python benchmarks/kills.py [--engine ray] [--times 20] [--seed NUMBER]
"""

import argparse
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from _photos import write_photos, write_video
from pyarrow import parquet

PHOTOS, FRAMES, SHARD_ROWS, WORKERS = 60, 120, 7, 2
CALLED = {"local": "spawn_main", "ray": "_Actor"}
"""What the command lines of an engine's workers hold."""
MANIFEST = "manifest.sqlite"


def sources(folder: Path) -> None:
    """Photos, some of which cannot be read, and a video."""
    write_photos(folder, PHOTOS, (320, 240))
    for number in (10, 30):
        file = folder / f"{number:06d}.jpg"
        file.write_bytes(file.read_bytes()[:2000])
    write_video(folder / "film.mp4", FRAMES)


def start(engine: str, photos: Path, out: Path) -> subprocess.Popen[bytes]:
    """A batch, or the rest of one."""
    options = ["--engine", engine, "--workers", str(WORKERS), "--shard-rows", str(SHARD_ROWS), "--resume"]
    command = [sys.executable, "-m", "affectlens", "batch", str(photos), "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out: Path) -> Counter[tuple[Any, ...]]:
    """What the shards hold; an unreadable one ends the check."""
    found: Counter[tuple[Any, ...]] = Counter()
    for file in out.glob("part-*.parquet"):
        found.update(tuple(row.values()) for row in parquet.read_table(file).to_pylist())
    return found


def states(out: Path) -> dict[str, int]:
    """How many sources are in which state."""
    if not (out / MANIFEST).exists():
        return {}
    base = sqlite3.connect(out / MANIFEST)
    try:
        return dict(base.execute("select state, count(*) from sources group by state").fetchall())
    except sqlite3.OperationalError:  # killed before it made its tables
        return {}
    finally:
        base.close()


def leftovers(out: Path) -> list[str]:
    """What is neither a shard nor the manifest nor its lock."""
    names = (file.name for file in out.iterdir())
    return [name for name in names if not re.fullmatch(rf"part-\d+\.parquet|{re.escape(MANIFEST)}(\.lock)?", name)]


def kill(batch: subprocess.Popen[bytes], worker: str, after_s: float) -> str:
    """End the driver, or a worker that is called so, after some seconds; what was killed, "" where nothing was."""
    try:
        batch.wait(after_s)
        return ""
    except subprocess.TimeoutExpired:
        pass
    victim = batch.pid
    if worker:
        while not (found := workers(batch.pid, worker)) and batch.poll() is None:
            time.sleep(0.05)  # Ray takes most of a small batch's time to start its actors
        if not found:
            batch.wait()
            return ""
        victim = random.choice(found)
    os.kill(victim, signal.SIGKILL)
    if not worker:
        batch.wait()
    return "a worker" if worker else "the driver"


def workers(driver: int, called: str) -> list[int]:
    """Processes of a batch whose command lines hold a text."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if called in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def main() -> int:
    """Print a line for each kill; 1 where a batch did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=CALLED, default="local")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="default: another each time")
    asked = parser.parse_args()
    random.seed(asked.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        sources(photos)
        began = time.monotonic()
        if start(asked.engine, photos, Path(folder, "whole")).wait():
            raise SystemExit("the batch that was left alone failed")
        whole_s = time.monotonic() - began
        wanted = rows(Path(folder, "whole"))
        print(
            f"engine {asked.engine}, {PHOTOS} photos and a video of {FRAMES} frames, {WORKERS} workers: "
            f"{whole_s:.1f} s left alone; seed {asked.seed}"
        )
        for number in range(asked.times):
            killed, tries = "", 0
            while not killed:  # it came too late, or before there was a worker
                tries += 1
                if tries > 20:
                    raise SystemExit("20 batches, and nothing to kill in any")
                out = Path(folder, f"{number} {time.monotonic_ns()}")
                worker = CALLED[asked.engine] if number % 2 else ""
                after_s = random.uniform(0.1, 0.95) * whole_s
                batch = start(asked.engine, photos, out)
                killed = kill(batch, worker, after_s)
            code = batch.wait() if worker else 0
            at_death = rows(out)
            once = not at_death - wanted
            then = states(out)
            code = code or start(asked.engine, photos, out).wait()
            good = once and code == 0 and rows(out) == wanted and not leftovers(out)
            wrong += not good
            print(f"{'ok ' if good else 'BAD'} {killed} after {after_s:.2f} s; sources then: {then or 'none listed'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
