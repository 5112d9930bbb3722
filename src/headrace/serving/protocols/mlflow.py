"""MLflow's scoring server: `POST /invocations` with `dataframe_split`, `dataframe_records`, `inputs`, `instances` or CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from headrace.serving.codec import BadRequestError, document, listed, named
from headrace.serving.protocols.asked import params_of

if TYPE_CHECKING:
    from headrace.serving.codec import Codec
    from headrace.serving.connection import Request
    from headrace.serving.predictors import Row
    from headrace.serving.protocols.asked import Part
    from headrace.serving.version import Serving

FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")


def read(serving: Serving, request: Request) -> list[Row]:
    """The rows of a body, checked, in the order of the version's inputs; parameters, where there are any, come last in each.

    Raises:
        BadRequestError: says what is wrong, with the row and the column.
    """
    codec = serving.codec
    if request.headers.get(b"content-type", b"").startswith(b"text/csv"):
        return codec.check(codec.csv(request.body))
    asked = document(request.body)
    given = [name for name in FORMATS if name in asked]
    if len(given) != 1:
        raise BadRequestError(f"the body needs exactly one of {', '.join(FORMATS)}.")
    params: dict[str, Any] = {}
    if len(asked) > 1:
        if stray := [name for name in asked if name not in (*given, "params")]:
            raise BadRequestError(f"unexpected {named(stray[0])} in the body.")
        params = params_of(serving, asked["params"])
    rows = _rows(codec, asked, given[0])
    return [[*row, params] for row in rows] if params else rows


def _rows(codec: Codec, asked: dict[str, Any], given: str) -> list[Row]:
    data = asked[given]
    if given == "dataframe_split":
        return codec.check(codec.split(data))
    if given == "inputs" and isinstance(data, dict):
        return codec.check(codec.columns(cast("dict[str, Any]", data)))
    if given == "dataframe_records" or (isinstance(data, list) and data and isinstance(data[0], dict)):
        return codec.check(codec.records(data))
    return codec.check(listed(data, given))


def write(part: Part) -> bytes:
    """`{"predictions": [{output: value}]}`, in the order of the rows."""
    columns = part.serving.columns
    if len(columns) == 1:
        (name,) = columns
        return orjson.dumps({"predictions": [{name: each[0]} for each in part.answers]})
    return orjson.dumps({"predictions": [dict(zip(columns, each, strict=True)) for each in part.answers]})
