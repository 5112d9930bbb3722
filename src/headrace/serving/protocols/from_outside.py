"""A serving protocol that a deployment names: from the project's code in the version's copy, or from an installed package."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.core.folders import folder_digest
from headrace.environments.importing import load_tree, roots
from headrace.environments.user_code import located, running
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.route import Route

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


CODE = "code"  # below the folder `protocols` of a copy


def load_protocol(name: str, code: Path) -> ServingProtocol:
    """The protocol of a name.

    Args:
        name: `package.module:NAME`.
        code: the folder with the project's code, which comes before what is installed; it need not be there.

    Raises:
        ConfigError: there is no such module or name, or it is no ServingProtocol with a name and routes.
        UserCodeError: the module raised.
        DataError: the folder holds what cannot be sealed, such as a link.
    """
    place, _, attribute = name.partition(":")
    found = getattr(_module(place, code), attribute, None)
    if found is None:
        raise ConfigError(
            f"the module {place!r} has no {attribute!r}.", hint=f"Write {attribute} = YourProtocol() in it."
        )
    if not isinstance(found, ServingProtocol):
        kind = f"the class {found.__name__}" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise ConfigError(
            f"{attribute!r} of the module {place!r} is {kind}, and no ServingProtocol.",
            hint="Name an object, not its class: NAME = YourProtocol()",
        )
    _check(found)
    return found


def is_module(folder: Path, place: str) -> bool:
    """Whether a module is in a folder of a project's code."""
    inside = place.replace(".", "/")
    return folder.is_dir() and any(
        (root / file).is_file() for root in roots(folder) for file in (f"{inside}.py", f"{inside}/__init__.py")
    )


def _module(place: str, code: Path) -> ModuleType:
    if is_module(code, place):
        return load_tree(code, place, version=folder_digest(code))
    with running(f"importing {place!r}"), located():
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
                raise
            raise ConfigError(
                f"there is no module {place!r}, neither in the project's code nor installed.",
                hint="Write it in the project, or install its package here and where servers run. Then: headrace run deploy",
            ) from None


def _check(protocol: ServingProtocol) -> None:
    """What `RouteTable` relies on, which the class of a protocol leaves open."""
    kind, routes = type(protocol).__name__, getattr(protocol, "routes", None)
    if not isinstance(name := getattr(protocol, "name", None), str) or not name:
        raise ConfigError(f"{kind}.name is {name!r}, and no name.", hint='Write name = "rows" in the class.')
    if not isinstance(routes, tuple | list) or not routes or not all(isinstance(each, Route) for each in routes):
        raise ConfigError(
            f"{kind}.routes is {routes!r}, and no tuple of routes.",
            hint='Write routes = (hr.protocols.Route(pattern="/rows", predicts=True),) in the class.',
        )
