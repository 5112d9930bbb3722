"""`python -m headrace.cli` runs the command with the current interpreter."""

from headrace.cli.main import main

main()
