import logging
import re
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table as RichTable

from affectlens.apps.cli import console
from affectlens.apps.cli.console import TERMINAL, Table, fail, note, print_table, say, warn
from affectlens.core.errors import BadSetting
from affectlens.core.progress import track


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BadSetting("wrong value"), "error: wrong value\n"),
        (BadSetting("two\nlines  and\tspaces"), "error: two lines and spaces\n"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "error: No such file or directory: 'x.csv'\n"),
        (OSError("no file name"), "error: no file name\n"),
        (BadSetting("[red]brackets[/nope]"), "error: [red]brackets[/nope]\n"),
    ],
)
def test_an_error_is_one_line_on_standard_error(capsys, error, line):
    fail(error)
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("count", [0, 2, 100])
def test_items_pass_in_order_and_silently_where_there_is_no_terminal(capsys, count):
    assert list(track(range(count), TERMINAL, "counting", count)) == list(range(count))
    assert capsys.readouterr() == ("", "")


def test_the_messages_of_a_task_are_printed_and_its_bar_only_on_a_terminal(capsys):
    with TERMINAL.task("counting", 10) as advance:
        advance()
        TERMINAL.message("half [of it]")
    assert capsys.readouterr() == ("half [of it]\n", "")


@pytest.mark.parametrize("total", [10, 3, None])
def test_on_a_terminal_the_bar_of_a_task_is_there_until_its_end(capsys, monkeypatch, total):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(stderr=True, **console.PLAIN))
    with suppress(ValueError), TERMINAL.task("counting", total) as advance:
        advance()
        raise ValueError
    written = capsys.readouterr()
    assert written.out == ""
    assert "counting" in written.err
    assert written.err.rstrip().endswith(("\x1b[?25h", "\x1b[2K"))  # the cursor is back


def test_tasks_within_a_task_share_its_display(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, **console.PLAIN))
    with TERMINAL.task("outer", 10) as outer:
        for name in ("first", "second"):
            with TERMINAL.task(name, 7.5) as inner:
                inner(2.5)
            outer()
    with TERMINAL.task("later", 10):
        pass
    written = capsys.readouterr().err
    assert all(name in written for name in ("outer", "first", "second", "later"))
    assert written.rstrip().endswith(("\x1b[?25h", "\x1b[2K"))


def test_tasks_that_end_in_any_order_leave_room_for_later_ones(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, **console.PLAIN))
    first, second = (track(range(9), TERMINAL, name, 9) for name in ("first", "second"))
    next(first), next(second)
    first.close(), second.close()
    capsys.readouterr()
    with TERMINAL.task("later", 10):
        pass
    assert "later" in capsys.readouterr().err


def test_lines_of_a_table_end_with_their_last_letter(capsys):
    table = RichTable("long name", "", box=None, pad_edge=False)
    table.add_row("a", "1")
    table.add_row("b [c]", "")
    print_table(table)
    assert capsys.readouterr().out.splitlines() == ["long name", "a          1", "b [c]"]


HOSTILE = "\x1b]0;pwn\x07 \x9b2J \u202egpj"
SHOWN = r"\x1b]0;pwn\x07 \x9b2J \u202egpj"


def test_names_in_lines_control_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, **console.PLAIN))
    fail(BadSetting(HOSTILE))
    warn(HOSTILE)
    note(HOSTILE)
    TERMINAL.message(HOSTILE)
    say(f"two\r\n{HOSTILE}")
    assert capsys.readouterr() == (
        f"{SHOWN}\ntwo\\r\\n{SHOWN}\n",
        f"error: {SHOWN}\nwarning: {SHOWN}\n{SHOWN}\n",
    )


def test_what_the_package_logs_controls_no_terminal(capsys):
    console.Warnings().emit(logging.makeLogRecord({"msg": "%s: damaged", "args": (HOSTILE,)}))
    assert capsys.readouterr().err == f"warning: {SHOWN}: damaged\n"


@pytest.mark.parametrize("fold", [False, True])
def test_a_row_of_a_table_stays_a_row_whatever_its_cells_hold(capsys, fold):
    table = Table()
    table.add_column(f"name\r\n{HOSTILE}")
    table.add_column("")
    table.add_row(f"label\r\n{HOSTILE}", "1")
    print_table(table, console.wide, fold=fold)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == rf"name\r\n{SHOWN}"
    assert lines[1].split("  ")[0] == rf"label\r\n{SHOWN}"
    assert len(lines) == 2


def test_a_long_name_is_escaped_before_it_is_folded(capsys):
    table = Table()
    table.add_column("", overflow="fold")
    table.add_row("\x9b" * 10)
    print_table(table, Console(width=16, **console.PLAIN), fold=True)
    assert capsys.readouterr().out == "\n\\x9b\\x9b\\x9b\\x9b\n\\x9b\\x9b\\x9b\\x9b\n\\x9b\\x9b\n"


@pytest.mark.parametrize("name", ["w[/x].mp4", "[red]y[link=http:evil]z.mp4", HOSTILE])
def test_a_task_is_described_by_the_letters_of_its_name(capsys, monkeypatch, name):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, width=200, **console.PLAIN))
    with TERMINAL.task(f"seconds of {name}", 10) as advance:
        advance()
    written = capsys.readouterr().err
    assert f"seconds of {SHOWN if name == HOSTILE else name}" in written
    assert "\x1b]" not in written  # titles and links


def test_all_tables_and_lines_of_commands_go_through_the_console():
    folder = Path(console.__file__).parent
    for file in folder.glob("*.py"):
        if file.name != "console.py":
            assert not re.search(r"rich\.table|\.print\(", file.read_text(encoding="utf-8")), file
