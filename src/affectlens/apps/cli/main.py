"""`affectlens`: collects the commands, one file each, and turns errors into one line."""

import importlib
import io
import logging
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import cv2
import typer
from typer.core import TyperGroup

from affectlens.apps.cli.console import Warnings, fail
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.messages import one_line, visible

_UsageError: Any = typer.BadParameter.__base__  # typer has no name for it


@contextmanager
def _visible_usage_errors() -> Iterator[None]:
    """Messages about wrong usage quote what was typed."""
    try:
        yield
    except _UsageError as error:
        error.message = "\n".join(map(visible, error.message.split("\n")))
        raise


class _Commands(TyperGroup):
    """All commands; control characters in messages about wrong usage are escaped."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the options that stand before the command."""
        with _visible_usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Read the others, and run the command."""
        with _visible_usage_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="Analyze facial expressions, valence and arousal in photos and videos: offline, calibrated, no GPU needed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("affectlens"))
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; give it before the command."),
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


COMMANDS = (
    "analyze",
    "audit",
    "batch",
    "bench",
    "data",
    "demo",
    "evaluate",
    "explain",
    "finetune",
    "live",
    "models",
    "plot",
    "quantise",
    "recipes",
    "reproduce",
    "serve",
    "summary",
    "temporal",
    "train",
)


def _register(names: Iterable[str] = COMMANDS) -> None:
    """Add the commands to `app`; one whose file is broken is a line on standard error and costs no other."""
    for name in names:
        try:
            importlib.import_module(f"affectlens.apps.cli.{name}").register(app)
        except Exception as error:
            if "--debug" in sys.argv[1:]:
                raise
            place = f"affectlens/apps/cli/{name}.py"
            fail(BadSetting(f"the command '{name}' ({place}) cannot be loaded: {one_line(error)}"))


_register()


def _interrupt(*_: object) -> None:
    """A stopped service or container ends as with Ctrl-C: files are closed, lamps let go."""
    raise KeyboardInterrupt


def _quiet_opencv() -> None:
    """It says nothing about damaged pictures, which have their rows."""
    of_opencv_4 = getattr(cv2, "setLogLevel", None)
    (of_opencv_4 or cv2.utils.logging.setLogLevel)(0)


def _quiet_pillow() -> None:
    """Nor about damaged metadata, which cost no picture."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def main() -> None:
    """Entry point; exits 0, 1 (something failed; one line says what) or 2 (usage)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    logger = logging.getLogger("affectlens")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings())
    signal.signal(signal.SIGTERM, _interrupt)
    _quiet_opencv()
    _quiet_pillow()
    try:
        app()
    except (AffectLensError, OSError) as error:
        if "--debug" in sys.argv[1:]:
            raise
        fail(error)
        sys.exit(1)
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        fail(
            RuntimeError(f"this should not happen: {type(error).__name__}: {error}; the trace: affectlens --debug ...")
        )
        sys.exit(1)
