"""Names that a project can have: its folder, its package and its name are one word."""

from __future__ import annotations

import importlib.machinery
import keyword
import re
import sys
from pathlib import Path

from headrace.core.errors import ConfigError

SHAPE = re.compile(r"[a-z][a-z0-9_]*")
LONGEST = 40
FOLDERS = ("ci", "data", "tests")  # of every project, beside its package
POSSIBLE = f"A name is up to {LONGEST} letters from a to z, digits and underscores, a letter first: headrace init shop."


def check_name(name: str) -> str:
    """The name, if a project can have it.

    Raises:
        ConfigError: it is no identifier, a word of Python, the name of a folder of every project, or that of a package that is
            installed, which the project's would hide.
    """
    if not SHAPE.fullmatch(name) or len(name) > LONGEST:
        raise ConfigError(f"{name!r} is no name of a project.", hint=POSSIBLE)
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ConfigError(f"{name!r} is a word of Python, so no package can be imported by it.", hint=POSSIBLE)
    if name in FOLDERS:
        raise ConfigError(
            f"{name!r} is a folder that each project has beside its package.", hint="Choose another name."
        )
    if name in sys.stdlib_module_names or _is_installed(name):
        raise ConfigError(
            f"{name!r} is the name of a module that is installed here, which the project's package would hide.",
            hint="Choose another name.",
        )
    return name


def _is_installed(name: str) -> bool:
    """Whether a package of that name is found elsewhere than in the current folder."""
    here = Path.cwd()
    elsewhere = [each for each in sys.path if each and Path(each).resolve() != here]
    found = importlib.machinery.PathFinder.find_spec(name, elsewhere)
    return found is not None and found.loader is not None
