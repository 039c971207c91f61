import json

import pytest

from affectlens.apps.batch.manifest import Manifest
from affectlens.runtime.media import PORTRAIT


@pytest.fixture
def faces(cli, tmp_path):
    """The folder of a batch of two photos, one of them broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(PORTRAIT.read_bytes())
    (folder / "b.jpg").write_bytes(PORTRAIT.read_bytes()[:999])
    assert cli("batch", folder, "--out", tmp_path / "faces", "--workers", 0).code == 0
    return tmp_path / "faces"


def test_a_batch_is_summed_up(cli, faces):
    result = cli("summary", faces)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"{faces}: 2 rows, 2 sources, 1 faces"
    assert lines[1:3] == ["  sources in the batch: 1 done, 1 failed, 0 not yet", "  rows without a face: truncated 1"]
    assert lines[3].split()[:4] == ["expression", "faces", "share", "sources"]
    assert lines[4].split()[:4] == ["happiness", "1", "100.0%", "1"]


def test_groups_csv_report_and_json(cli, faces, tmp_path):
    (tmp_path / "groups.csv").write_text("source,crew\na.jpg,STS-93\nx.jpg,STS-93\n")
    options = ("--by", "crew", "--by", "expression", "--groups", tmp_path / "groups.csv")
    result = cli("summary", faces, *options, "--csv", tmp_path / "t.csv", "--report", tmp_path / "report", "--json")
    found = json.loads(result.out)
    assert (found["by"], found["count"], found["table"][0]["crew"]) == (["crew", "expression"], 1, "STS-93")
    assert (tmp_path / "t.csv").read_text().startswith("crew,expression,faces,")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == found
    page = (tmp_path / "report" / "report.html").read_text()
    assert "By crew" in page
    other = str(tmp_path / "photos" / "b.jpg")
    assert found["ungrouped"] == {"sources": 1, "one": other}
    assert "sources not in the groups file" in page
    lines = cli("summary", faces, *options).out.splitlines()
    assert lines[3] == f"  not in the groups file: 1 sources, for example '{other}'"


def test_json_has_more_rows_than_the_terminal_and_a_key_counts_once(cli, faces, monkeypatch):
    monkeypatch.setattr("affectlens.apps.cli.summary._MAX_ROWS_SHOWN", 0)
    found = json.loads(cli("summary", faces, "--by", "expression", "--by", "expression", "--json").out)
    assert (found["by"], len(found["table"])) == (["expression"], 1)


def test_a_batch_that_was_killed_before_it_listed_anything_is_told(cli, tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "manifest.sqlite").write_bytes(b"")
    result = cli("summary", tmp_path / "begun")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "has not written any rows yet" in result.err


def test_a_name_with_a_line_break_stays_in_its_row(cli, tmp_path):
    (tmp_path / "a\nb.jpg").write_bytes(PORTRAIT.read_bytes())
    assert cli("batch", tmp_path, "--out", tmp_path / "out", "--workers", 0).code == 0
    lines = cli("summary", tmp_path / "out", "--by", "source").out.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith(rf"{tmp_path}/a\nb.jpg ")


def test_the_rest_of_a_long_table_is_announced(cli, faces, monkeypatch):
    monkeypatch.setattr("affectlens.apps.cli.summary._MAX_ROWS_SHOWN", 0)
    assert cli("summary", faces).out.splitlines()[-1] == "showing 0 of 1 rows; --csv FILE writes all"


def test_of_a_batch_its_shards_count_and_nothing_else(cli, faces):
    before = cli("summary", faces).out
    shard = faces / "part-000000.parquet"
    for name in ("backup.parquet", "part-000001.parquet"):
        (faces / name).write_bytes(shard.read_bytes())
    (faces / "part-000002.parquet").write_bytes(b"")
    assert cli("summary", faces).out == before
    shard.rename(faces / "moved")
    result = cli("summary", faces)
    assert (result.code, len(result.errors)) == (1, 1)
    assert f"'{shard}' is missing (1 of 1 shards are)" in result.err


def test_a_batch_without_rows_is_told(cli, tmp_path):
    (tmp_path / "begun").mkdir()
    with Manifest(tmp_path / "begun"):
        pass
    result = cli("summary", tmp_path / "begun")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "has not written any rows yet; resume the batch first" in result.err


def test_what_cannot_be_summed_up_is_one_line(cli, faces, tmp_path):
    for arguments in ((tmp_path / "nowhere",), (faces, "--by", "colour"), (faces, "--window", "0")):
        result = cli("summary", *arguments)
        assert (result.code, len(result.errors)) == (1, 1)


def test_names_are_escaped_on_the_terminal_and_formulas_in_the_csv(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.jpg", "\x1b]0;pwn\x07\r\u202eb.jpg"):
        (tmp_path / name).write_bytes(PORTRAIT.read_bytes())
    assert cli("analyze", "=1+1.jpg", "--out", "one.parquet").code == 0
    assert cli("batch", ".", "--out", "all", "--workers", 0).code == 0
    result = cli("summary", "all", "--by", "source")
    assert (result.code, result.err) == (0, "")
    assert r"\x1b]0;pwn\x07\r\u202eb.jpg " in result.out
    assert not any(one in result.out for one in "\x1b\x07\r\u202e")
    for options, cell in (((), "'=1+1.jpg"), (("--raw",), "=1+1.jpg")):
        assert cli("summary", "one.parquet", "--by", "source", "--csv", "a.csv", *options).code == 0
        assert (tmp_path / "a.csv").read_text().splitlines()[1].startswith(f"{cell},1,")


def test_raw_without_a_csv_is_one_line(cli, faces):
    result = cli("summary", faces, "--raw")
    assert (result.code, result.err) == (1, "error: --raw requires --csv\n")
