"""Environments and their code: `headrace.toml`, the identity of the code, and loading the user's program.

Not for the meaning of a declaration, nor for rights: this package knows names, folders and commits. It imports only
`core`; the workspace opens the stores that a configuration names.

`headrace.toml`:
    toml: a TOML file as text and as parsed, so that errors name the line.
    keys: the keys that an environment may have.
    secret: secrets by reference, and the refusal of credentials in clear.
    section: one section, its keys checked as they are read.
    variables: environment variables that override connections.
    project_table, stores, kafka, notify, anchors, environment_policy: one section each, as a record.
    config: the whole file: `Config` and its `Environment`s.
    policy: which committed version of the file the policy is read from.

Code:
    git, worktree, checkout: a repository, its uncommitted state, and a commit as a read-only folder.
    code: the identity of the code that runs.
    importing, user_code, scan, project: the user's modules, and the declarations found in them.
"""
