"""Precision of training by what the processor or device computes fast, and the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Of processors with bfloat16 instructions, as Linux names them; without these, bfloat16 takes twice as long as
float32.
"""
_CPUINFO = Path("/proc/cpuinfo")


def resolved(precision: str) -> str:
    """The precision that a recipe names; for "auto", "bf16-mixed" where bfloat16 is fast, else "32-true"."""
    if precision != "auto":
        return precision
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if torch.cuda.is_available() else _cpu_has_bfloat16()
    return "bf16-mixed" if fast else "32-true"


def device() -> torch.device:
    """The GPU where there is one, else the CPU: the device that `resolved` answers for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def on_device(module: nn.Module) -> Iterator[torch.device]:
    """`module` in evaluation mode on `device()`; afterwards it is back on the CPU, in the mode that it was in."""
    training = module.training
    where = device()
    try:
        module.eval().to(where)
        yield where
    finally:
        module.cpu().train(training)


def _cpu_has_bfloat16() -> bool:
    """False if /proc/cpuinfo is unavailable."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    named = next((line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not _FLAGS.isdisjoint(named.split())
