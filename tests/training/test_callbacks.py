import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from affectlens.training.callbacks import Log
from affectlens.training.fit import fit
from affectlens.training.module import ExpressionModule


def test_what_ended_a_run_is_named_with_or_without_a_message(tmp_path):
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=3)
    for error in (KeyboardInterrupt(), ValueError("too\nmany \x1b]0;pwn\x07 \u202ea")):
        Log(tmp_path).on_exception(trainer, None, error)
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == [
        "stopped in epoch 4: KeyboardInterrupt",
        r"stopped in epoch 4: ValueError: too many \x1b]0;pwn\x07 \u202ea",
    ]


class Watcher:
    """A `Progress` that keeps what it is told."""

    def __init__(self):
        self.tasks, self.messages, self.open = [], [], 0

    def message(self, text):
        assert not self.open
        self.messages.append(text)

    @contextmanager
    def task(self, description, total=None):
        steps = []
        self.tasks.append((description, total, steps))
        self.open += 1
        try:
            yield lambda: steps.append(1)
        finally:
            self.open -= 1


def test_each_epoch_is_a_task_of_its_batches_and_a_line_of_figures(data, recipe, tmp_path):
    watcher = Watcher()
    fit(recipe, data, tmp_path / "run", progress=watcher)
    assert [(what, total, len(steps)) for what, total, steps in watcher.tasks] == [
        ("epoch 1 of 2", 4, 4),
        ("epoch 2 of 2", 4, 4),
    ]
    for epoch, said in enumerate(watcher.messages, 1):
        assert re.match(rf"epoch {epoch} of 2: train_accuracy \d\.\d{{4}}, train_loss \d\.\d{{4}},", said)
    assert len(watcher.messages) == 2
    assert not watcher.open


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_task_ends_whatever_ended_the_run(data, recipe, tmp_path, monkeypatch, error):
    watcher = Watcher()

    def fail(*_):
        raise error

    monkeypatch.setattr(ExpressionModule, "validation_step", fail)
    with pytest.raises(BaseException):  # noqa: B017, PT011 (Lightning ends the process after an interrupt)
        fit(recipe, data, tmp_path / "run", progress=watcher)
    assert len(watcher.tasks) == 1
    assert not watcher.open
