import builtins
import logging

import pytest

from affectlens import LoggingProgress, MissingExtra, NotebookProgress
from affectlens.core.progress import track


def test_a_log_has_the_beginning_of_each_task_and_every_message(caplog):
    caplog.set_level(logging.INFO, "mine")
    progress = LoggingProgress(logging.getLogger("mine"))
    assert list(track("abcd", progress, "reading", 4)) == ["a", "b", "c", "d"]
    with progress.task("waiting"):
        progress.message("half")
    assert caplog.messages == ["reading (4 steps)", "waiting", "half"]


@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")  # no widgets here
def test_a_notebook_has_a_bar_for_each_task_and_lines_for_messages(capsys):
    progress = NotebookProgress()
    with progress.task("reading", 3) as advance:
        advance()
        progress.message("one of three")
    written = capsys.readouterr()
    assert "one of three" in written.out
    assert "reading" in written.err


@pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")
def test_a_bar_of_seconds_has_no_fractions(capsys):
    with NotebookProgress().task("seconds", 19.019) as advance:
        advance(1.4347681)
        advance(9.9)
    written = capsys.readouterr().err
    assert "/19 [" in written
    assert "1.43" not in written


def test_without_tqdm_the_extra_is_named(monkeypatch):
    find = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("tqdm"):
            raise ImportError(name)
        return find(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="needs the extra 'train'"):
        NotebookProgress()


def test_names_in_messages_and_tasks_control_no_terminal(capsys, caplog):
    caplog.set_level(logging.INFO, "affectlens")
    for progress in (NotebookProgress(), LoggingProgress()):
        with progress.task("\x1b]0;pwn\x07 \u202eb", 2):
            progress.message("\x9b2J a\r\nb")
    written = capsys.readouterr()
    for text in (written.err + written.out, caplog.text):
        assert r"\x1b]0;pwn\x07 \u202eb" in text
        assert r"\x9b2J a\r\nb" in text
        assert not any(one in text for one in ("\x1b]", "\x07", "\x9b", "\u202e"))
