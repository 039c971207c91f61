import pytest

from affectlens.apps.cli.console import fail, track
from affectlens.core.errors import BadSetting


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
    assert list(track(range(count), count, "counting")) == list(range(count))
    assert capsys.readouterr() == ("", "")
