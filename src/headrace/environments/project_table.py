"""`[project]`: the name of a project, the module of its declarations, and the current moment of a replay.

`catalog` is a connection: `environments.config` reads it from the project's folder, never from a commit.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from headrace.core.clock import instant, utc
from headrace.core.errors import ConfigError
from headrace.environments.keys import FILE, Key
from headrace.environments.toml import Table, TomlFile, described

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROJECT_KEYS: Mapping[str, Key] = {
    "name": Key("The name of the project.", "required"),
    "module": Key("The dotted name of the module with the declarations.", "required"),
    "as_of": Key("The moment that a replay of the past calls the present: a date, or a time in UTC.", "the present"),
    "catalog": Key(
        "The catalog that projects share, to find each other's tables and models: a folder, relative to the project's, or the "
        "URL of an object store.",
        "none: a search finds what this project has",
    ),
}
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class ProjectTable:
    """The `[project]` table.

    Attributes:
        name: the project's name.
        module: the dotted name of the module with the declarations.
        as_of: the moment, in UTC, that a replay of the past calls the present; None for the present itself.
    """

    name: str
    _: KW_ONLY
    module: str
    as_of: datetime | None


def load_project(folder: Path) -> ProjectTable:
    """Reads `[project]` alone, from the `headrace.toml` of this very folder: what a commit says of itself.

    Raises:
        ConfigError: there is no `headrace.toml`, or it is malformed.
    """
    return read_project(TomlFile.read(folder / FILE))


def read_project(source: TomlFile) -> ProjectTable:
    """Reads `[project]` from a file.

    Raises:
        ConfigError: the table is not there, or a key or value is not possible.
    """
    source.only(source.table, ("project", "env", "keys", "parity"), "")
    if "project" not in source.table:
        raise source.error(
            "there is no [project] table.", section="project", hint='[project]\nname = "shop"\nmodule = "shop.project"'
        )
    table = source.section("project", source.table["project"])
    source.only(table, PROJECT_KEYS, "project")
    return ProjectTable(
        _text(source, table, "name", shape=re.compile(r"[^\W\d][\w-]*"), possible="letters, digits, - and _"),
        module=_text(source, table, "module", shape=MODULE, possible='a dotted name such as "shop.project"'),
        as_of=_instant(source, table.get("as_of")),
    )


def _text(source: TomlFile, table: Table, key: str, *, shape: re.Pattern[str], possible: str) -> str:
    if key not in table:
        raise source.error(f"[project] has no {key!r}.", section="project", hint=f"{key} is {possible}.")
    value = table[key]
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise source.error(
            f"{key} = {described(value)} is not possible.", section="project", key=key, hint=f"{key} is {possible}."
        )
    return value


def _instant(source: TomlFile, value: object) -> datetime | None:
    """A moment in UTC, from a text or from TOML's own dates and times."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    try:
        if isinstance(value, str):
            return instant(value)
    except ConfigError as error:
        raise source.error(f"as_of: {error.what}", section="project", key="as_of", hint=error.hint) from None
    raise source.error(
        f"as_of = {described(value)} is not a moment.", section="project", key="as_of", hint='as_of = "2014-01-01"'
    )
