"""`requirements.lock`: the versions of what is installed here and what a project needs, headrace and all below it."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.requirements import Requirement


def locked(extras: Sequence[str]) -> str:
    """`name==version` of headrace with these extras and of everything that they require, sorted, one a line.

    Only what the markers ask for on this machine: the lock is for its kind of machine and its version of Python.

    Raises:
        ConfigError: something is not installed, or in a version that headrace does not go with.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    asked = [Requirement(f"headrace[{','.join(extras)}]")]
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        requirement = asked.pop()
        name, wanted = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        here = installed(requirement, extras)
        found[name] = here.version
        asked += [each for each in map(Requirement, here.requires or ()) if _applies(each, wanted)]
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))


def installed(requirement: Requirement, extras: Sequence[str]) -> Distribution:
    """What is installed for a requirement.

    Raises:
        ConfigError: nothing is, or another version.
    """
    install = f"pip install 'headrace[{','.join(extras)}]'"
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        raise ConfigError(
            f"a project needs {requirement.name!r}, which is not installed, so its version cannot be locked.",
            hint=install,
        ) from None
    if not requirement.specifier.contains(found.version, prereleases=True):
        raise ConfigError(
            f"a project needs {str(requirement).partition(';')[0].strip()!r}; installed is {found.version}.",
            hint=install,
        )
    return found


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": each}) for each in (extras or ("",)))
