import re
from types import SimpleNamespace

from affectlens.training.callbacks import Log
from affectlens.training.fit import fit


def test_what_ended_a_run_is_named_with_or_without_a_message(tmp_path):
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=3)
    for error in (KeyboardInterrupt(), ValueError("too\nmany")):
        Log(tmp_path).on_exception(trainer, None, error)
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == ["ended in epoch 3 by KeyboardInterrupt", "ended in epoch 3 by ValueError: too many"]


def test_progress_keeps_to_the_terminal_and_leaves_a_line_per_epoch(data, recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    fit(recipe, data, tmp_path / "run", resume=False, progress=True)
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    lines = [line for line in re.split(r"[\r\n]+", seen) if line.strip()]
    assert all(len(line) <= 60 for line in lines if "━" in line)
    assert any(line.startswith("epoch 1 of 2 ") and "4/4" in line for line in lines)
    for epoch in (1, 2):
        assert any(re.match(rf"epoch {epoch} of 2: train_loss \d\.\d{{4}}, valid_accuracy", line) for line in lines)
