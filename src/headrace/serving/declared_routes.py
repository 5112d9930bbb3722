"""The paths of a server that also has the protocols which `hr.Serve(protocols=…)` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.serving.protocols.from_outside import load_protocol
from headrace.serving.protocols.known import PROTOCOLS
from headrace.serving.routes import KNOWN, RouteTable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from headrace.serving.protocols.base import ServingProtocol


def declared_routes(names: Iterable[str], code: Path) -> RouteTable:
    """The paths of the named protocols, beside those that every server has.

    Args:
        names: each `package.module:NAME`.
        code: the folder with the project's code that they need; it need not be there.

    Raises:
        ConfigError: one of them cannot be found, is none, or has the name or a path of another one. This and the next one
            begin with the name that is at fault.
        UserCodeError: its module raised.
    """
    loaded: list[ServingProtocol] = []
    table = KNOWN
    for name in names:
        try:
            loaded.append(load_protocol(name, code))
            table = RouteTable([*PROTOCOLS, *loaded])
        except HeadraceError as error:
            error.what = f"Serve(protocols=[{name!r}]): {error.what}"
            raise
    return table
