"""Columns of a feature table into the keys and packed values of an online store, a column at a time.

The same bytes as `packing` makes of one row.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.features.keys import TEXT, TIMES, microseconds
from headrace.features.online.packing import CODES, Packing, joined, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTANT = pa.timestamp("us", "UTC")
FIRST, LAST = microseconds(datetime.min), microseconds(datetime.max)  # noqa: DTZ901 - the ends of what can be given back
DAY = 86_400_000_000
FAR = 10**8  # days; beyond the last date, and still a number of microseconds
AT_ONCE = 50_000  # rows
NUMPY = {kind: "?" if code == "?" else f"<{np.dtype(code).str[1:]}" for kind, code in CODES.items()}


def encoded(
    rows: pa.Table, keys: Sequence[tuple[str, str]], time: str, packing: Packing
) -> Iterator[tuple[bytes, int, bytes]]:
    """The key, time and packed values of each row.

    Args:
        rows: with the columns of the key, none of them null, and of the packing.
        keys: pairs (column, type) of the key.
        time: the column of type INSTANT.
        packing: of the values.

    Raises:
        DataError: a time that is no Python datetime, and so could not be given back.
    """
    for start in range(0, rows.num_rows, AT_ONCE):
        part = rows.slice(start, AT_ONCE).combine_chunks()
        tokens = [_tokens(name, kind, part[name]) for name, kind in keys]
        times = part[time].cast(pa.int64()).to_pylist()
        yield from zip((joined(each) for each in zip(*tokens, strict=True)), times, _packed(part, packing), strict=True)


def _tokens(name: str, kind: str, values: pa.ChunkedArray) -> list[str]:
    """Each distinct value is made into text once."""
    distinct = _whole(name, kind, values.combine_chunks()).dictionary_encode()
    texts = [token(kind, value) for value in distinct.dictionary.to_pylist()]
    return [texts[place] for place in distinct.indices.to_pylist()]


def _whole(name: str, kind: str, values: pa.Array) -> pa.Array:
    """Times as microseconds, whatever their type; other values as they are."""
    if kind not in TIMES:
        return values
    if pa.types.is_date(values.type):
        days = values.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64)
        whole = np.clip(days, -FAR, FAR) * DAY
    else:
        whole = values.cast(pa.int64()).fill_null(0).to_numpy()
    if len(whole) and not FIRST <= whole.min() <= whole.max() <= LAST:
        raise DataError(
            f"column {name!r} has a time outside of the years 1 to 9999, which cannot be served.",
            hint="Make it null in the table's SQL.",
        )
    return pa.array(whole, mask=values.is_null().to_numpy(zero_copy_only=False))


def _packed(rows: pa.Table, packing: Packing) -> Iterator[bytes]:
    """All fixed-size values at once, in one block that is cut into rows; then each row gets its texts."""
    count, size = rows.num_rows, packing.fixed.size
    if not packing.names:
        return iter([b""] * count)
    layout = [
        ("missing", np.uint8, (packing.bits,)),
        *((f"{place}", NUMPY[kind]) for place, kind in enumerate(packing.kinds)),
    ]
    block = np.zeros(count, np.dtype(cast("Any", layout)))
    assert block.itemsize == size
    texts: list[list[bytes]] = []
    for place, (name, kind) in enumerate(zip(packing.names, packing.kinds, strict=True)):
        values = rows[name].combine_chunks()
        missing = values.is_null().to_numpy(zero_copy_only=False)
        block["missing"][:, place // 8] |= missing.astype(np.uint8) << np.uint8(place % 8)
        if kind == TEXT:
            texts.append([b"" if value is None else value.encode() for value in values.to_pylist()])
            block[f"{place}"] = np.fromiter(map(len, texts[-1]), np.uint32, count)
        else:
            block[f"{place}"] = _fixed(name, kind, values)
    whole = block.tobytes()
    fixed = (whole[start : start + size] for start in range(0, count * size, size))
    return fixed if not texts else (b"".join(each) for each in zip(fixed, *texts, strict=True))


def _fixed(name: str, kind: str, values: pa.Array) -> Any:
    if pa.types.is_decimal(values.type):  # Arrow's own cast may be off in the last bit
        return np.array([0.0 if value is None else float(value) for value in values.to_pylist()])
    whole = _whole(name, kind, values)
    return whole.fill_null(pa.scalar(0).cast(whole.type)).to_numpy(zero_copy_only=False)
