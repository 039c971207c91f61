import builtins
import logging

import pytest

from affectlens import LoggingProgress, MissingExtra, NotebookProgress
from affectlens.core.progress import track


def test_a_log_has_the_beginning_of_each_task_and_every_message(caplog):
    caplog.set_level(logging.INFO, "mine")
    progress = LoggingProgress(logging.getLogger("mine"))
    assert list(track("abc", progress, "reading", 3)) == ["a", "b", "c"]
    with progress.task("waiting"):
        progress.message("half")
    assert caplog.messages == ["reading (3 steps)", "waiting", "half"]


@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")  # no widgets here
def test_a_notebook_has_a_bar_for_each_task_and_lines_for_messages(capsys):
    progress = NotebookProgress()
    with progress.task("reading", 3) as advance:
        advance()
        progress.message("one of three")
    written = capsys.readouterr()
    assert "one of three" in written.out
    assert "reading" in written.err


def test_without_tqdm_the_extra_is_named(monkeypatch):
    find = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("tqdm"):
            raise ImportError(name)
        return find(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="needs the extra 'train'"):
        NotebookProgress()
