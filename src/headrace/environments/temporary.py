"""A temporary environment: the policy and the data of an environment with stores of its own, for the time of a test.

The variable `HEADRACE_ENV__<env>__temporary` names a folder below `.headrace/tests`, and `HEADRACE_ENV__<env>__commit` the commit that
is tested. Nothing that a test does is in the environment's own stores, and nobody is notified of it. Its Kafka clusters are those of
the environment, where every topic and consumer group has a name of the test's own: `kafka.Cluster`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.environments.keys import COMMIT, TEMPORARY, VARIABLE

if TYPE_CHECKING:
    from headrace.environments.toml import Table

TESTS = ".headrace/tests"  # in the project's folder: a folder a test, which is deleted at its end
OWN = (
    *("root", "lakehouse", "state", "tracking", "artifacts", "online", "notify", "audit", "catalog"),
    *("databases", "spark"),
)


def temporary_table(project: Path, name: str, table: Table, variables: dict[str, str]) -> tuple[Table, dict[str, str]]:
    """What holds of an environment's table and variables: without its own stores and channels, where it is a temporary one.

    Args:
        project: the project's folder.
        name: the name of the environment.
        table: as the file has it.
        variables: the keys that variables set, and their values.

    Raises:
        ConfigError: the folder is not one of a test, so that it may be that of an environment.
    """
    if TEMPORARY not in variables:
        if COMMIT in variables:
            raise ConfigError(f"{VARIABLE}{name}__{COMMIT} is set, and {name!r} is no temporary environment.")
        return table, variables
    root, tests = Path(variables[TEMPORARY]), project / TESTS
    if tests.resolve() not in root.resolve().parents:
        raise ConfigError(
            f"{VARIABLE}{name}__{TEMPORARY} is no folder below {tests}.",
            hint="headrace test integration makes temporary environments; nobody sets this variable by hand.",
        )
    kept = {key: value for key, value in table.items() if key not in OWN}
    others = {key: value for key, value in variables.items() if key.partition("__")[0] not in OWN}
    return {**kept, "root": str(root), "catalog": False}, others


def id_of_test(project: Path, root: Path) -> str:
    """The id of the test whose stores are in a folder: the name of its folder directly below `.headrace/tests`."""
    return root.resolve().relative_to((project / TESTS).resolve()).parts[0]
