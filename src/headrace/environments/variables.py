"""Environment variables that override connections of `headrace.toml`: `HEADRACE_ENV__<env>__<key>`."""

from __future__ import annotations

from headrace.core import vault
from headrace.core.errors import ConfigError
from headrace.environments.keys import CLUSTERS, COMMIT, ENV_KEYS, FILE, POLICY_KEYS, SPLIT_KEYS, TEMPORARY, VARIABLE
from headrace.environments.toml import suggest


def read_variables(names: list[str]) -> dict[str, dict[str, str]]:
    """Reads the variables of all environments.

    Args:
        names: the names of the environments.

    Returns:
        For each environment the keys that variables set, and their values. A key inside of a table is spelled
        `storage_options__<name>`, and that of a Kafka cluster `kafka__<cluster>__<property>`.

    Raises:
        ConfigError: a variable of that form names no environment, no key, or a key that no variable may set.
    """
    variables: dict[str, dict[str, str]] = {name: {} for name in names}
    for variable, value in sorted(vault.starting(VARIABLE).items()):
        name, _, key = variable.removeprefix(VARIABLE).partition("__")
        if name not in variables:
            raise ConfigError(f"{variable} is set, but there is no environment {name!r}.", hint=suggest(name, names))
        if key in POLICY_KEYS:
            raise ConfigError(
                f"{variable} is set, but {key!r} says what may happen in {name!r}, and no variable says that.",
                hint=f"Write it under [env.{name}] in {FILE}, and commit it. Variables set connections and secrets.",
            )
        if (
            key not in ENV_KEYS
            and key not in (TEMPORARY, COMMIT)
            and not key.startswith(tuple(f"{split}__" for split in (*SPLIT_KEYS, CLUSTERS)))
        ):
            raise ConfigError(f"{variable} is set, but there is no key {key!r}.", hint=suggest(key, ENV_KEYS))
        variables[name][key] = value
    return variables
