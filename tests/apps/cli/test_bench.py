import json

from affectlens.apps.cli import bench


def test_the_benchmark_as_json_has_its_figures(process):
    result = process("bench", "--json", "--repeats", 3)
    figures = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert figures["faces_in_frame"] == 1
    assert figures["cores"] >= 1
    assert 0 < figures["network_ms_per_face"] < figures["pipeline_ms_per_frame"]
    assert 1000 * figures["cold_start_s"] > figures["network_ms_per_face"]
    assert 20 < figures["cold_start_peak_mb"] < 4000


def test_the_benchmark_for_people_has_three_lines_with_units(cli, monkeypatch):
    monkeypatch.setattr(bench, "_cold_start_s", lambda: 1.25)
    monkeypatch.setattr(bench, "_children_peak_mb", lambda: 321)
    lines = cli("bench", "--repeats", 3).out.splitlines()
    assert [line.split()[-3:] for line in lines[:2]] == [["ms", "per", "face"], ["ms", "per", "frame"]]
    assert lines[2].endswith("1.25 s, 321 MB")
    assert len(lines) == 3
