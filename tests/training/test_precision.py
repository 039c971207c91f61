import pytest
import torch

from affectlens.training import precision
from affectlens.training.precision import resolved


@pytest.mark.parametrize("name", ["bf16-mixed", "32-true"])
def test_a_precision_that_is_named_stays(name):
    assert resolved(name) == name


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("model name\t: x\nflags\t\t: fpu avx512f avx512_bf16 ssse3\n", "bf16-mixed"),
        ("flags\t\t: fpu amx_tile amx_bf16\n", "bf16-mixed"),
        ("Features\t: fp asimd bf16 i8mm\n", "bf16-mixed"),
        ("flags\t\t: fpu avx2 avx512f\n", "32-true"),
        ("", "32-true"),
        (None, "32-true"),
    ],
)
def test_auto_is_what_the_processor_has(tmp_path, monkeypatch, info, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    if info is not None:
        (tmp_path / "cpuinfo").write_text(info)
    assert resolved("auto") == expected


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_what_the_device_has(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has)
    assert resolved("auto") == expected
