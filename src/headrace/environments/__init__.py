"""Where code runs, and which code that is: `headrace.toml`, the identity of the code, the user's program loaded from it.

Not for what a declaration means, nor for who may decide what: it knows names, folders and commits. Below is only core;
the workspace opens the stores that a configuration names.
"""
