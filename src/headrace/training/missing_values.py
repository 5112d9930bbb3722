"""Estimators that take no missing or infinite values: which row and feature such an estimator has refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = re.compile(r"\bnan\b|missing|infin", re.IGNORECASE)  # what libraries call them


def refused_value(error: Exception, values: np.ndarray[Any, Any], names: Sequence[str]) -> DataError | None:
    """What an estimator has refused; None where its error is about something else.

    Args:
        error: that the estimator raised.
        values: that it was given, a row a row.
        names: of the features, in the order of the columns of `values`.
    """
    if not isinstance(error, ValueError) or not SAID.search(str(error)):
        return None
    places = np.argwhere(~np.isfinite(values.astype("float64")))
    if not len(places):
        return None
    row, feature = places[0]
    what = "missing" if np.isnan(values[row, feature]) else "infinite"
    return DataError(
        f"row {row}: {names[feature]!r} is {what}, and the estimator takes no {what} values.",
        hint="Give a value; or fit an estimator that takes them, such as a pipeline that begins with an imputer.",
    )
