"""The shared library of an installed package, without importing the package, which would also load pandas and SciPy."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

from headrace.serving.predictors.base import UnfitError


def shared(package: str, stem: str) -> ctypes.CDLL:
    """Loads `<package>/lib/<stem>.so` or `.dylib`.

    Raises:
        UnfitError: there is none.
    """
    found = find_spec(package)
    for place in (found.submodule_search_locations or ()) if found else ():
        for suffix in (".so", ".dylib"):
            file = (Path(place) / "lib" / stem).with_suffix(suffix)
            if file.is_file():
                return ctypes.CDLL(str(file))
    raise UnfitError(f"the library of {package} was not found")
