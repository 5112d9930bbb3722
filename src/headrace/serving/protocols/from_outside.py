"""An external serving protocol that a deployment names: from the code that is packed with the model, or an installed package."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.environments.importing import load_tree
from headrace.environments.user_code import located, running
from headrace.serving.protocols.base import ServingProtocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load_protocol(name: str, package: Path) -> ServingProtocol:
    """The protocol of a name.

    Args:
        name: `package.module:NAME`.
        package: the folder of the version's package; its `code` comes before what is installed.

    Raises:
        ConfigError: there is no such module or name, or it is no ServingProtocol.
        UserCodeError: the module raised.
    """
    place, _, attribute = name.partition(":")
    module = _module(name, place, package)
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(
            f"Serve(protocols=[{name!r}]): the module {place!r} has no {attribute!r}.",
            hint=f"Write {attribute} = YourProtocol() in it.",
        )
    if not isinstance(found, ServingProtocol):
        raise ConfigError(
            f"Serve(protocols=[{name!r}]) is {type(found).__name__}, and no ServingProtocol.",
            hint="Name an object, not its class: NAME = YourProtocol()",
        )
    return found


def _module(name: str, place: str, package: Path) -> ModuleType:
    code, path = package / "code", place.replace(".", "/")
    if any((code / top / each).is_file() for top in ("", "src") for each in (f"{path}.py", f"{path}/__init__.py")):
        spec = json.loads((package / "spec.json").read_text(encoding="utf-8"))
        return load_tree(code, place, version=spec["code"]["content"])
    with running(f"importing {place!r}"), located():
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
                raise
            raise ConfigError(
                f"Serve(protocols=[{name!r}]): there is no module {place!r}, neither installed nor in the code of this "
                "version.",
                hint="Install its package where servers run, or import it in a module that the model's code needs.",
            ) from None
