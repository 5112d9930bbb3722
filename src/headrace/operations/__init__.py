"""Every act and every question: one function each, which authorises, acts, records, and returns a record.

A face (the command line, a notebook, a console) parses, calls one of these, and shows what it returns; no face has a rule of
its own. Each function takes an open environment first; `operation` says what that means. Not for how a thing is done: that is
in the rooms below.
"""
