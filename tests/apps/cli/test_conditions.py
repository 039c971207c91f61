from affectlens.apps.cli import conditions


def test_the_headline_of_a_benchmark_says_how_and_on_what_it_ran():
    first, second = conditions.headline("python benchmarks/some.py --faces 4").splitlines()[:2]
    assert first == "$ python benchmarks/some.py --faces 4"
    assert str(conditions.conditions()["model_sha256"])[:12] in second
    assert conditions.processor() in second


def test_where_the_system_does_not_name_the_processor_python_does(monkeypatch, tmp_path):
    monkeypatch.setattr(conditions, "_CPU_INFO", tmp_path / "nothing")
    monkeypatch.setattr(conditions.platform, "processor", lambda: "")
    monkeypatch.setattr(conditions.platform, "machine", lambda: "abacus")
    assert conditions.processor() == "abacus"
