"""`python -m headrace.cli`: the command, by the interpreter that runs."""

from headrace.cli.main import main

main()
