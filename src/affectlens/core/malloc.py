"""What glibc does with freed memory: keep it for this process, or return it; elsewhere nothing happens."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MEGABYTE = 2**20


def keep_freed_memory() -> None:
    """Reuse the memory of freed tensors instead of returning it to the system and fetching it again.

    Networks with large maps train up to a third faster on the CPU (experiments/training.py).
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1})


def return_freed_memory() -> None:
    """Return large pieces at once, so that a process that runs for days does not keep what its largest pictures took.

    By default glibc returns ever larger pieces only.
    """
    _set({_MMAP_THRESHOLD: _MEGABYTE, _TRIM_THRESHOLD: _MEGABYTE})


def _set(parameters: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for name, value in parameters.items():
            mallopt(name, value)
