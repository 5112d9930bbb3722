"""`[parity]`: in what two environments may differ; `headrace env compare` fails for any other difference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from headrace.environments.keys import Key
from headrace.environments.toml import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.environments.toml import TomlFile

PARITY_KEYS: Mapping[str, Key] = {
    "allowed": Key(
        'A list of patterns of what may differ between environments, as `headrace env compare` names it: `["stores.state"]`.',
        "none beside what may always differ",
    ),
}
ALWAYS = (
    "policy.attested_by",
    "policy.code",
    "policy.reads",
    "policy.runtime",
    "policy.sample",
    "policy.trials",
    "policy.ttl",
)  # what an environment is lower by
PATTERN = re.compile(r"[\w.*?!\[\]-]+")


def read_parity(source: TomlFile) -> tuple[str, ...]:
    """Reads the patterns of what may differ.

    Raises:
        ConfigError: a value is not possible.
    """
    table = source.section("parity", source.table.get("parity", {}))
    source.only(table, PARITY_KEYS, "parity")
    value = table.get("allowed", [])
    patterns = cast("list[object]", value) if isinstance(value, list) else [None]
    for pattern in patterns:
        if not isinstance(pattern, str) or not PATTERN.fullmatch(pattern):
            raise source.error(
                f"allowed: {described(value)} is not a list of patterns.",
                section="parity",
                key="allowed",
                hint='For example: allowed = ["stores.state", "installed.torch*"], as headrace env compare names them.',
            )
    return tuple(dict.fromkeys(cast("list[str]", patterns)))
