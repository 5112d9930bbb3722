"""The command line: a face. It reads arguments, calls one function of a lower room, prints what came back.

Not for anything that another face would also need. Data goes to stdout, talk to stderr; exit codes are in `core.errors`.
"""
