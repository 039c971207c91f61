import sys

import pytest


@pytest.mark.parametrize("missing", ["lightning", "torch"])
def test_without_its_extra_training_is_one_line_that_names_it(cli, monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, "lightning", sys)
    monkeypatch.setitem(sys.modules, missing, None)
    result = cli("train", "default", "--data", f"ferplus:{tmp_path}")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert "pip install 'affectlens[train]'" in result.err
