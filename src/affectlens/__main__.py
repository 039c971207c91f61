"""`python -m affectlens` is the command line."""

from affectlens.apps.cli.main import main

main()
