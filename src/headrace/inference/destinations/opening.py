"""Creates the declared destinations in an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.inference.declarations import Database, Files
from headrace.inference.destinations.delta import DeltaTable

if TYPE_CHECKING:
    from headrace.environments.config import Environment
    from headrace.inference.declarations import Into
    from headrace.inference.destinations.base import Destination
    from headrace.lakehouse.lakehouse import Lakehouse


def destination(declared: Into, lakehouse: Lakehouse, environment: Environment) -> Destination:
    """The destination.

    Raises:
        NotFoundError: the environment has no database of that name.
        ConfigError: its URL cannot be used.
    """
    if isinstance(declared, Database):
        from headrace.inference.destinations.database import DatabaseTable

        if declared.name not in environment.databases:
            raise NotFoundError(
                f"database of {environment.name}",
                declared.name,
                environment.databases,
                hint=f'[env.{environment.name}.databases]\n{declared.name} = {{secret = "NAME"}}',
            )
        return DatabaseTable(environment.database_url(declared.name), database=declared.name, table=declared.table)
    if isinstance(declared, Files):
        from headrace.inference.destinations.files import FilesDestination

        return FilesDestination(environment.root / Path(declared.path), format=declared.format)
    return DeltaTable(lakehouse, declared)
