import hashlib
import json

import cv2
import numpy as np
import pytest

from affectlens import __version__
from affectlens.core.session import model_file
from affectlens.evaluation.corruptions import CORRUPTIONS


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return make_ferplus(tmp_path / "ferplus")


@pytest.mark.slow
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
    assert (found["split"], found["affectlens"]) == ("test", __version__)
    assert found["model_sha256"] == hashlib.sha256(model_file("bundled").read_bytes()).hexdigest()
    assert "Corrupted pictures" in (tmp_path / "report" / "report.html").read_text()


def test_as_json_it_is_what_the_report_holds(cli, ferplus):
    found = json.loads(cli("audit", "bundled", "--data", f"ferplus:{ferplus}", "--split", "valid", "--json").out)
    rows = found["corruptions"]["darkness"]
    assert [row["level"] for row in rows] == list(CORRUPTIONS["darkness"].levels)
    assert found["split"] == "valid"


@pytest.mark.slow
def test_prior_meta_and_broken_pictures_reach_the_figures(cli, ferplus, tmp_path):
    rows = ["id,light", "fer0.png,indoor", "fer1.png,outdoor", "fer2.png,indoor", "fer3.png,outdoor"]
    (tmp_path / "meta.csv").write_text("\n".join(rows))
    (ferplus / "FER2013Test" / "fer3.png").write_bytes(b"no picture")
    asked = ("audit", "bundled", "--data", f"ferplus:{ferplus}?meta={tmp_path / 'meta.csv'}", "--json")
    natural, balanced = (cli(*asked, "--prior", prior) for prior in ("natural", "balanced"))
    found, other = json.loads(natural.out), json.loads(balanced.out)
    assert found["left_out"] == {"image cannot be decoded": 1}
    assert {value: row["faces"] for value, row in found["calibration"]["light"].items()} == {"indoor": 2, "outdoor": 1}
    assert ("prior" in found, other["prior"]) == (False, "balanced")
    assert found["clean"]["confidence"] != other["clean"]["confidence"]


def test_a_column_that_audit_measures_itself_is_not_lost(cli, ferplus, tmp_path):
    (tmp_path / "meta.csv").write_text("id,brightness\nfer0.png,bright\n")
    result = cli("audit", "bundled", "--data", f"ferplus:{ferplus}?meta={tmp_path / 'meta.csv'}")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "'brightness' of the data has the name of a group that audit measures itself" in result.err


@pytest.mark.slow
def test_faces_are_looked_for_before_pictures_are_spoilt(cli, tmp_path, portrait):
    folder = tmp_path / "photos" / "test" / "happiness"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "face.png"), portrait[..., ::-1])
    cv2.imwrite(str(folder / "wall.png"), np.full((200, 200, 3), 90, dtype=np.uint8))
    asked = ("audit", "bundled", "--data", f"folder:{tmp_path / 'photos'}", "--json")
    result = cli(*asked, "--find-faces")
    found = json.loads(result.out)
    assert found["clean"]["faces"] == 1
    assert sum(found["left_out"].values()) == 1
    assert json.loads(cli(*asked).out)["clean"]["faces"] == 2


def test_a_model_that_is_not_there_is_one_line(cli, ferplus):
    result = cli("audit", "nothing.onnx", "--data", f"ferplus:{ferplus}")
    assert (result.code, len(result.errors)) == (1, 1)
