"""The environments of a project, from the lowest to the highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.environments import config
from headrace.operations.record import Record

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EnvironmentList(Record):
    """A project and its environments.

    Attributes:
        project: its name.
        folder: its folder.
        environments: their names, the lowest first.
    """

    project: str
    folder: Path
    environments: tuple[str, ...]


def list_environments(folder: Path | None = None) -> EnvironmentList:
    """The environments of a project; none of them is opened.

    Args:
        folder: of the project, or one below it; None: the current one.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
    """
    found = config.load(folder)
    return EnvironmentList(
        project=found.name, folder=found.folder, environments=tuple(each.name for each in found.environments)
    )
