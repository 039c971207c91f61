"""Precision of training by what the processor or device computes fast."""

from pathlib import Path

import torch

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


def _cpu_has_bfloat16() -> bool:
    """False where the system does not tell."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    named = next((line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not _FLAGS.isdisjoint(named.split())
