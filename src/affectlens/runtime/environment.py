"""Conditions of a measurement: hardware and versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from affectlens.core.files import sha256_of
from affectlens.core.session import model_file

_CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, str | int]:
    """What figures depend on, to be noted beside them or in a bug report.

    Returns:
        "processor" (its name as the system gives it), "cores", "machine" (x86_64, arm64, ...), the versions "python"
        and "affectlens", and "model_sha256", the digest of the bundled model in hexadecimal.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "affectlens": version("affectlens"),
        "model_sha256": sha256_of(model_file("bundled")),
    }


def _processor() -> str:
    if _CPU_INFO.is_file():
        named = [line.partition(":")[2].strip() for line in _CPU_INFO.read_text().splitlines() if "model name" in line]
        if named:
            return named[0]
    return platform.processor() or platform.machine()
