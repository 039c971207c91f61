"""`affectlens`: collects the commands, one file each, and turns errors into one line."""

import importlib
import sys

import click
import typer

from affectlens.apps.cli.console import fail
from affectlens.core.errors import AffectLensError

app = typer.Typer(
    help="Read facial expressions, valence and arousal from photos: offline, calibrated, no GPU needed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show the trace of an error."),
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("affectlens"))
        raise typer.Exit


COMMANDS = ("analyze", "bench", "demo", "evaluate", "models", "train")


def _register() -> None:
    for name in COMMANDS:
        importlib.import_module(f"affectlens.apps.cli.{name}").register(app)


_register()


def main() -> None:
    """Entry point; exits 0, 1 (something failed; one line says what), 2 (usage) or 130 (interrupted)."""
    debug = "--debug" in sys.argv[1:]
    try:
        app(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except (AffectLensError, OSError) as error:
        if debug:
            raise
        fail(error)
        sys.exit(1)
