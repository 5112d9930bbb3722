"""The text that names a slice: one function from a value to its text, for evaluation, quality, profiles and drift.

Equal values have equal texts, whatever type a column happens to have on the way: a whole number is `1` as an integer, as
a float of a column with missing values and as a decimal; a boolean is `1` or `0`, since features keep it as a number;
nulls and NaN are `(missing)`.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

MISSING = "(missing)"
Codes = np.ndarray[Any, np.dtype[np.int64]]


def slice_text(value: object) -> str:
    """The name of the slice of the rows that have this value.

    Times are written by ISO 8601, in UTC where they have a zone; midnight without a zone is its date. A text is itself,
    but for the text `(missing)`, which is put into quotes.

    >>> [slice_text(value) for value in (1, 1.0, True, None, float("nan"), 0.5, "1.0")]
    ['1', '1', '1', '(missing)', '(missing)', '0.5', '1.0']
    """
    if isinstance(value, str):
        return f'"{value}"' if value == MISSING else str(value)
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT alone are not equal to themselves
        return MISSING
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, np.generic):
        return slice_text(value.item())
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def slice_codes(values: pa.ChunkedArray | pd.Series) -> tuple[Codes, list[str]]:
    """Which slice each row is in: the place of its text among the texts, which are sorted and each there once."""
    codes, uniques = _arrow(values) if isinstance(values, pa.ChunkedArray) else _pandas(values)
    texts = [*(slice_text(value) for value in uniques), MISSING]  # the code -1 is missing
    kept = sorted({texts[code] for code in np.unique(codes).tolist()})
    places = {text: place for place, text in enumerate(kept)}
    return np.array([places.get(text, -1) for text in texts], dtype=np.int64)[codes], kept


def _number(value: float | Decimal) -> str:
    whole = math.isfinite(value) and value == int(value)
    return str(int(value)) if whole else repr(float(value))


def _moment(value: datetime) -> str:
    if value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    at_midnight = value == datetime(value.year, value.month, value.day)  # noqa: DTZ001 - neither has a zone
    return value.date().isoformat() if at_midnight else value.isoformat()


def _arrow(values: pa.ChunkedArray) -> tuple[Codes, Sequence[object]]:
    if pa.types.is_nested(values.type):
        return _one_by_one(values.to_pylist())
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    encoded = encoded.unify_dictionaries()
    if not encoded.num_chunks:
        return np.zeros(0, dtype=np.int64), []
    indices = [chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    return np.concatenate(indices), encoded.chunk(0).dictionary.to_pylist()


def _pandas(values: pd.Series) -> tuple[Codes, Sequence[object]]:
    try:
        codes, uniques = values.factorize()
    except TypeError:  # lists and the like
        return _one_by_one(values.tolist())
    return codes.astype(np.int64), uniques.tolist()


def _one_by_one(values: Sequence[object]) -> tuple[Codes, Sequence[object]]:
    texts = [None if value is None else str(value) for value in values]
    known = {text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    return np.array([-1 if text is None else known[text] for text in texts], dtype=np.int64), list(known)
