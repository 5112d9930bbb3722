"""The parts that a fitted estimator of scikit-learn consists of: steps, members, base estimators."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def parts(fitted: object) -> Iterator[Any]:
    """Every estimator of scikit-learn's kind inside, itself first; none when scikit-learn has not been imported."""
    base = sys.modules.get("sklearn.base")
    if base is not None:
        yield from _parts(fitted, base.BaseEstimator, set())


def one_thread(fitted: object) -> None:
    """Lets estimators compute in one thread: several add up the members of a forest in the order in which they end."""
    for part in parts(fitted):
        held = cast("dict[str, Any]", vars(part))
        if "n_jobs" in held:
            held["n_jobs"] = 1


def _parts(value: Any, base: type, seen: set[int]) -> Iterator[Any]:
    if id(value) in seen:
        return
    seen.add(id(value))
    inside: Sequence[Any] = ()
    if isinstance(value, base):
        yield value
        inside = list(vars(value).values())
    elif isinstance(value, dict):
        inside = list(cast("dict[Any, Any]", value).values())
    elif isinstance(value, list | tuple):
        inside = cast("Sequence[Any]", value)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        inside = value.ravel().tolist()
    elif type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__"):
        inside = list(vars(value).values())
    for each in inside:
        yield from _parts(each, base, seen)
