"""Every action and every query: one function each, which authorises, audits, acts, and returns a record.

A user interface (the command line, a notebook, a console) parses, calls one of these functions, and shows its result;
it has no rules of its own. Each function takes an open environment first; see `operation`. Not for the work itself,
which is in the packages below.
"""
