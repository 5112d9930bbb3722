"""Where code runs, and which code that is: `headrace.toml`, the identity of the code, the user's program loaded from it.

Not for what a declaration means, nor for who may decide what: it knows names, folders and commits. Below is only core;
the workspace opens the stores that a configuration names.

`headrace.toml`:
    toml: a TOML file as text and as parsed, so that errors name the line.
    keys: the keys that an environment may have.
    secret: secrets by reference, and the refusal of credentials in clear.
    section: one section, its keys checked as they are read.
    variables: environment variables that override connections.
    project_table, stores, kafka, notify, anchors, environment_policy: what one section says, as a record.
    config: the whole: `Config` and its `Environment`s.
    policy: which committed version of the file says what may happen.

Code:
    git, worktree, checkout: a repository, its uncommitted state, and a commit as a read-only folder.
    code: the identity of the code that runs.
    importing, user_code, scan, project: the user's modules, and the declarations found in them.
"""
