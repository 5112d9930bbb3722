"""Values of the datatypes of Open Inference V2: from JSON, from binary tensor data, and to it.

A missing value is null in JSON, and NaN in binary data. Binary data is little-endian and row by row; a text has its length
before it, in four bytes. https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from contextlib import suppress
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from headrace.serving.codec import EASY, TEXTS, BadRequestError, named

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT = {"np", "pd", "str", "datetime"}  # MLServer's content types that mean what is done here anyway
FLOATS = {"FP16": "e", "FP32": "f", "FP64": "d"}
WHOLE = {
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
}
LETTERS = {**FLOATS, **WHOLE, "BOOL": "?"}  # of `struct`
DATATYPES = {*LETTERS, "BYTES"}
LENGTH = struct.Struct("<I")


def _bounds(letter: str) -> tuple[int, int]:
    bits = 8 * struct.calcsize("<" + letter)
    return (0, 2**bits - 1) if letter.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


BOUNDS = {datatype: _bounds(letter) for datatype, letter in WHOLE.items()}


def from_json(name: str, datatype: str, data: list[Any], width: int) -> list[Any]:
    """The values of a flat list, as their datatype has them: an FP32 is rounded to one.

    Args:
        width: values in a row, for the message.

    Raises:
        BadRequestError: one is not of the datatype; says which row.
    """
    if datatype == "FP64":
        return data if EASY.issuperset(map(type, data)) else _floats(name, data, width)
    if datatype == "BYTES":
        if not TEXTS.issuperset(map(type, data)):
            place = next(place for place, value in enumerate(data) if type(value) not in TEXTS)
            raise BadRequestError(f"row {place // width}: {named(name)} is no text.")
        return data
    if datatype == "BOOL":
        return [_bool(name, value, place // width) for place, value in enumerate(data)]
    if datatype in BOUNDS:
        low, high = BOUNDS[datatype]
        if data and set(map(type, data)) == {int} and low <= min(data) and max(data) <= high:
            return data
        return [_whole(name, datatype, value, place // width) for place, value in enumerate(data)]
    return _rounded(name, datatype, _floats(name, data, width), width)


def _floats(name: str, data: list[Any], width: int) -> list[float | None]:
    for place, value in enumerate(data):
        if type(value) not in (float, int) and value is not None:
            raise BadRequestError(f"row {place // width}: {named(name)} is no number.")
    return [None if value is None else float(value) for value in data]


def _rounded(name: str, datatype: str, data: list[float | None], width: int) -> list[float | None]:
    letter = FLOATS[datatype]
    if None not in data:
        with suppress(OverflowError):
            return list(struct.unpack(f"<{len(data)}{letter}", struct.pack(f"<{len(data)}{letter}", *data)))
    one = struct.Struct("<" + letter)
    found: list[float | None] = []
    for place, value in enumerate(data):
        try:
            found.append(None if value is None else one.unpack(one.pack(value))[0])
        except OverflowError:
            raise _out_of_range(name, datatype, place // width) from None
    return found


def _whole(name: str, datatype: str, value: Any, row: int) -> int | None:
    if value is None:
        return None
    if type(value) not in (int, float):
        raise BadRequestError(f"row {row}: {named(name)} is no number.")
    if value != int(value):
        raise BadRequestError(f"row {row}: {named(name)} is no {datatype}: it has a fraction.")
    low, high = BOUNDS[datatype]
    if not low <= value <= high:
        raise _out_of_range(name, datatype, row)
    return int(value)


def _bool(name: str, value: Any, row: int) -> bool | None:
    if value is None or type(value) is bool:
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    raise BadRequestError(f"row {row}: {named(name)} is no BOOL.")


def _out_of_range(name: str, datatype: str, row: int) -> BadRequestError:
    return BadRequestError(f"row {row}: {named(name)} is out of range of {datatype}.")


def check_size(name: str, datatype: str, raw: memoryview, count: int) -> None:
    """Holds the bytes of a tensor against its shape, before anything is made of them.

    Raises:
        BadRequestError: there are more or fewer; of texts, fewer than their lengths take.
    """
    size = LENGTH.size if datatype == "BYTES" else struct.calcsize("<" + LETTERS[datatype])
    if len(raw) < count * size or (datatype != "BYTES" and len(raw) > count * size):
        raise BadRequestError(f"tensor {named(name)} has {len(raw)} bytes of data, which its shape has not.")


def from_binary(name: str, datatype: str, raw: memoryview, count: int, width: int) -> list[Any]:
    """The values of binary data whose size was checked.

    Raises:
        BadRequestError: a number is infinite, a BOOL neither 0 nor 1, a text no UTF-8 or not as long as it says.
    """
    if datatype == "BYTES":
        return _texts(name, raw, count, width)
    if datatype == "BOOL" and count and max(raw) > 1:
        raise BadRequestError(f"tensor {named(name)} has a BOOL that is neither 0 nor 1.")
    values = list(struct.unpack(f"<{count}{LETTERS[datatype]}", raw))
    if datatype in FLOATS and not all(map(isfinite, values)):
        for place, value in enumerate(values):
            if isnan(value):
                values[place] = None
            elif not isfinite(value):
                raise BadRequestError(f"row {place // width}: {named(name)} is not finite.")
    return values


def _texts(name: str, raw: memoryview, count: int, width: int) -> list[str]:
    found: list[str] = []
    at = 0
    for place in range(count):
        start = at + LENGTH.size
        end = start + LENGTH.unpack_from(raw, at)[0] if start <= len(raw) else start
        if end > len(raw):
            raise BadRequestError(f"row {place // width}: {named(name)} is longer than the data.")
        try:
            found.append(str(raw[start:end], "utf-8"))
        except UnicodeDecodeError:
            raise BadRequestError(f"row {place // width}: {named(name)} is no text in UTF-8.") from None
        at = end
    if at != len(raw):
        raise BadRequestError(f"tensor {named(name)} has {len(raw)} bytes of data, which its shape has not.")
    return found


def to_binary(datatype: str, values: Sequence[Any]) -> bytes:
    """Values as binary data; a missing number is NaN, a missing text empty."""
    if datatype == "BYTES":
        texts = [("" if each is None else each).encode() for each in values]
        return b"".join(part for text in texts for part in (LENGTH.pack(len(text)), text))
    if datatype in FLOATS:
        values = [float("nan") if each is None else each for each in values]
    return struct.pack(f"<{len(values)}{LETTERS[datatype]}", *values)
