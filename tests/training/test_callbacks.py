import re
from types import SimpleNamespace

import pytest
from rich.progress import Progress as Bar

from affectlens.training.callbacks import Log
from affectlens.training.fit import fit
from affectlens.training.module import ExpressionModule


def test_what_ended_a_run_is_named_with_or_without_a_message(tmp_path):
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=3)
    for error in (KeyboardInterrupt(), ValueError("too\nmany")):
        Log(tmp_path).on_exception(trainer, None, error)
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == ["ended in epoch 4 by KeyboardInterrupt", "ended in epoch 4 by ValueError: too many"]


def test_progress_keeps_to_the_terminal_and_leaves_a_line_per_epoch(data, recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    fit(recipe, data, tmp_path / "run", resume=False, progress=True)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.endswith("\x1b[?25h") or written.err.rstrip().endswith("\x1b[2K")  # the cursor is back
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.err)
    lines = [line for line in re.split(r"[\r\n]+", seen) if line.strip()]
    assert all(len(line) <= 60 for line in lines if "━" in line)
    assert any(re.match(r"epoch \d of 2 .*━.* \d/4 ", line) for line in lines)
    for epoch in (1, 2):
        assert any(
            re.match(rf"epoch {epoch} of 2: train_accuracy \d\.\d{{4}}, train_loss \d\.\d{{4}},", line)
            for line in lines
        )


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_bar_is_gone_after_whatever_ended_the_run(data, recipe, tmp_path, monkeypatch, error):
    made = []
    start = Bar.start
    monkeypatch.setattr(Bar, "start", lambda bar: made.append(bar) or start(bar))

    def fail(*_):
        raise error

    monkeypatch.setattr(ExpressionModule, "validation_step", fail)
    with pytest.raises(BaseException):  # noqa: B017, PT011 (Lightning ends the process after an interrupt)
        fit(recipe, data, tmp_path / "run", resume=False, progress=True)
    assert made
    assert not any(bar.live.is_started for bar in made)
