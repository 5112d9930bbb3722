"""The command line: it parses arguments, calls one function of `operations`, and prints the result.

Not for anything that another interface would also need. Data goes to stdout, messages to stderr; exit codes are in
`core.errors`.
"""
