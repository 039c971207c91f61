import json

import pytest

from affectlens.evaluation.corruptions import CORRUPTIONS


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return make_ferplus(tmp_path / "ferplus")


def test_it_prints_and_writes_what_it_finds(cli, ferplus, tmp_path):
    result = cli("audit", "bundled", "--data", f"ferplus:{ferplus}", "--report", tmp_path / "report")
    assert (result.code, result.err) == (0, "")
    for name in CORRUPTIONS:
        (line,) = [line for line in result.out.splitlines() if line.startswith(f"{name} ")]
        assert line.count("(") == 5
    assert "brightness: " in result.out
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(found["corruptions"]) == set(CORRUPTIONS)
    assert found["clean"]["faces"] == 4
    assert found["split"] == "test"
    assert "Spoilt pictures" in (tmp_path / "report" / "report.html").read_text()


def test_as_json_it_is_what_the_report_holds(cli, ferplus):
    found = json.loads(cli("audit", "bundled", "--data", f"ferplus:{ferplus}", "--split", "valid", "--json").out)
    rows = found["corruptions"]["darkness"]
    assert [row["level"] for row in rows] == list(CORRUPTIONS["darkness"].levels)
    assert found["split"] == "valid"


def test_a_model_that_is_not_there_is_one_line(cli, ferplus):
    result = cli("audit", "nothing.onnx", "--data", f"ferplus:{ferplus}")
    assert (result.code, len(result.errors)) == (1, 1)
