"""`affectlens` and `python -m affectlens` run the command line."""

import sys


def main() -> None:
    """Entry point; Ctrl-C ends it without a trace while it is still being loaded, too."""
    try:
        from affectlens.apps.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
