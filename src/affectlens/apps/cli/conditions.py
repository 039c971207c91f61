"""Conditions of a measurement: hardware and versions."""

import os
import platform
from pathlib import Path

from affectlens import __version__
from affectlens.core.files import sha256_of
from affectlens.core.session import model_file

_CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Its name as the system tells it."""
    if _CPU_INFO.is_file():
        named = [line.partition(":")[2].strip() for line in _CPU_INFO.read_text().splitlines() if "model name" in line]
        if named:
            return named[0]
    return platform.processor() or platform.machine()


def conditions() -> dict[str, str | int]:
    """Processor, cores, versions, and the digest of the bundled model."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "affectlens": __version__,
        "model_sha256": sha256_of(model_file("bundled")),
    }


def headline(command: str) -> str:
    """The first line of a benchmark's output: its command and what it ran on."""
    met = conditions()
    return (
        f"$ {command}\n"
        f"affectlens {met['affectlens']}, bundled model {str(met['model_sha256'])[:12]}, {met['cores']} cores of "
        f"{met['processor']}, Python {met['python']}"
    )
