"""A command of affectlens as a process of its own, watched from outside."""

import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TICK_S = 0.05


@dataclass
class Watched:
    """What was seen.

    Attributes:
        seconds: from start to end. cpu_s: of the process itself, without its children.
        own_mb: its resident memory in millions of bytes, tick by tick. all_mb: with that of its children.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    own_mb: list[float] = field(default_factory=list)
    all_mb: list[float] = field(default_factory=list)


def watch(*words: object, since: Path | None = None) -> Watched:
    """Run `affectlens` with these words; ends this program where that fails.

    `since` is a file: memory is looked at once the process has made it.
    """
    found, start = Watched(), time.perf_counter()
    command = [sys.executable, "-m", "affectlens", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            with suppress(psutil.Error):  # some process has just ended
                used = process.cpu_times()
                found.cpu_s = used.user + used.system
                if since is None or since.exists():
                    found.all_mb.append(family_mb(process))
                    found.own_mb.append(resident_mb(process))
            time.sleep(TICK_S)
        found.seconds = time.perf_counter() - start
        if running.returncode:
            sys.exit(f"{' '.join(command)} failed: {running.stderr.read()}")
    return found


def resident_mb(process: psutil.Process) -> float:
    """In millions of bytes."""
    return process.memory_info().rss / 1e6


def family_mb(process: psutil.Process) -> float:
    """With that of its children and theirs."""
    found = resident_mb(process)
    for child in process.children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            found += resident_mb(child)
    return found
