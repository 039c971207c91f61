import re
import tomllib
from pathlib import Path

import pytest

from affectlens import Analyzer, __main__
from affectlens.apps.cli import main
from affectlens.apps.cli.main import COMMANDS
from affectlens.core.errors import BadModelFile
from affectlens.runtime.media import PORTRAIT

NESTED = [
    *([name] for name in COMMANDS),
    ["compare"],
    *(["data", name] for name in ("inspect", "prepare", "preview")),
    *(["recipes", name] for name in ("list", "show")),
    ["models", "show"],
]


def test_the_version_is_that_of_the_project(cli):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    result = cli("--version")
    assert (result.code, result.out.strip(), result.err) == (0, project["version"], "")


def test_the_version_needs_no_command_and_no_model_in_a_process_of_its_own(process):
    result = process("--version")
    assert result.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", result.out)


def test_help_lists_every_command(cli):
    result = cli("--help")
    assert result.code == 0
    assert all(name in result.out for name in COMMANDS)


@pytest.mark.parametrize("command", NESTED, ids=" ".join)
def test_every_command_explains_itself(cli, command):
    result = cli(*command, "--help")
    assert result.code == 0
    assert re.search(rf"Usage: .*affectlens {' '.join(command)} ", " ".join(result.out.split()))
    assert result.err == ""


def test_every_file_with_a_command_is_registered():
    folder = Path(__file__).parents[3] / "src" / "affectlens" / "apps" / "cli"
    files = {file.stem for file in folder.glob("*.py") if "def register(" in file.read_text()}
    assert files == set(COMMANDS)


@pytest.mark.parametrize("code", ["def register(app:", "import nowhere", "", "def register(app): app.add(5)"])
def test_a_broken_command_is_one_line_that_names_its_file_and_costs_no_other(contribute, cli, capfd, code):
    contribute("apps.cli", "new", code)
    main._register(("new",))
    assert re.fullmatch(
        r"error: the command 'new' \(affectlens/apps/cli/new\.py\) cannot be loaded: \w+Error: .*\n",
        capfd.readouterr().err,
    )
    assert cli("--version").code == 0


@pytest.mark.parametrize("command", [[], ["data"], ["models"], ["recipes"]])
def test_without_a_command_the_help_is_shown_as_wrong_usage(cli, command):
    result = cli(*command)
    assert result.code == 2
    assert "Usage" in result.out + result.err


@pytest.mark.parametrize(
    "command",
    [
        ["analyse", "x.jpg"],
        ["analyze"],
        ["analyze", "--nope"],
        ["analyze", "x.jpg", "--min-face", "small"],
        ["analyze", "x.jpg", "--format", "xml"],
        ["bench", "--repeats", "1"],
        ["compare", "bundled"],
        ["data", "inspect"],
        ["data", "inspect", "ferplus:.", "--suspects", "0"],
        ["data", "prepare", "ferplus:."],
        ["data", "preview", "ferplus:.", "--faces", "99"],
        ["data", "show", "ferplus:."],
        ["evaluate", "bundled"],
        ["evaluate", "bundled", "--data", "ferplus:.", "--split", "dev"],
        ["finetune"],
        ["models", "show"],
        ["recipes", "show"],
        ["reproduce", "caciolai"],
        ["train", "default"],
        ["train", "default", "--data", "ferplus:.", "--devices", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_without_a_trace(cli, command):
    result = cli(*command)
    assert result.code == 2
    assert result.out == ""
    assert "Usage" in result.err
    assert "Traceback" not in result.err


def test_an_unknown_option_exits_2_in_a_process_of_its_own(process):
    result = process("analyze", PORTRAIT, "--nope")
    assert result.code == 2
    assert "--nope" in result.err
    assert "Traceback" not in result.err


def test_an_error_is_one_line_and_exits_1(cli):
    result = cli("analyze", PORTRAIT, "--detector", "mtcn")
    assert result.code == 1
    assert result.errors == ["error: unknown detector 'mtcn'; did you mean 'mtcnn'?"]


def test_with_debug_the_error_itself_comes_through(cli):
    with pytest.raises(BadModelFile):
        cli("--debug", "models", "show", "nowhere.onnx")


@pytest.fixture
def broken(monkeypatch):
    """Every analysis divides by zero, which no code expects."""
    monkeypatch.setattr(Analyzer, "analyze", lambda *_: 1 // 0)


def test_an_error_that_nobody_foresaw_is_one_line_and_exits_1(cli, broken):
    result = cli("analyze", PORTRAIT, "--format", "csv")
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: this should not happen: ZeroDivisionError: ")
    assert "--debug" in result.err


def test_with_debug_an_error_that_nobody_foresaw_comes_through(cli, broken):
    with pytest.raises(ZeroDivisionError):
        cli("--debug", "analyze", PORTRAIT, "--format", "csv")


def test_an_interrupt_exits_130_without_a_trace(cli, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Analyzer, "analyze", interrupt)
    result = cli("analyze", PORTRAIT)
    assert result.code == 130
    assert "Traceback" not in result.err


def test_opencv_is_quiet_in_its_fourth_version_too(cli, monkeypatch):
    levels = []
    monkeypatch.setattr("affectlens.apps.cli.main.cv2.setLogLevel", levels.append, raising=False)
    assert cli("--version").code == 0
    assert levels == [0]


def test_ctrl_c_while_the_command_line_is_loaded_leaves_no_trace(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("affectlens.apps.cli.main.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ("--{}",), ("{}",), ("analyze", "--{}"), ("analyze", "x", "--format", "{}"), ("models", "{}"),
        ("models", "show", "a", "{}"), ("evaluate", "bundled", "--data", "x", "--split", "{}"),
        ("train", "{}", "--data", "x:."), ("recipes", "list", "{}"),
        ("data", "inspect", "ferplus:{}"), ("batch", "{}", "--out", "y"), ("summary", "{}"), ("models", "show", "{}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_was_typed_controls_no_terminal(cli, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = cli(*(one.format("\x1b]0;pwn\x07\x9b2J\u202egpj") for one in arguments))
    assert result.code in (1, 2)
    assert "pwn" in "".join(filter(str.isalnum, result.err))  # the box folds it
    assert not re.search("[\x07\x1b\x9b\u202e]", result.err)


def test_usage_is_shown_with_its_line_ends(cli):
    assert len(cli("analyze").errors) > 3
