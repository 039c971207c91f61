import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import numpy as np
from affectlens.core.malloc import keep_freed_memory, return_freed_memory

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

{call}
np.ones(30_000_000, np.uint8).copy()  # by default, glibc then keeps pieces of this size
pieces = [np.ones(20_000_000, np.uint8) for _ in range(10)]
before = resident_mb()
del pieces[:-1]
print(before - resident_mb())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not Path("/proc/self/statm").exists(), reason="memory is read from /proc"
)
@pytest.mark.parametrize(("call", "returned"), [("keep_freed_memory()", False), ("return_freed_memory()", True)])
def test_freed_memory_is_kept_or_returned(call, returned):
    done = subprocess.run([sys.executable, "-c", CODE.format(call=call)], capture_output=True, text=True, check=True)
    assert (float(done.stdout) > 150) == returned
