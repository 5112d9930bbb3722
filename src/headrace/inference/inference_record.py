"""A record of the inference log: the inputs and answers of one request, as rows of the inference table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.features.keys import instant_of, typed_all
from headrace.lakehouse.columns import arrow_type, type_name
from headrace.scoring.columns import log_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from headrace.core.ids import Json
    from headrace.features.keys import KeyValue

INSTANT = pa.timestamp("us", "UTC")
COLUMNS = {
    "request_id": pa.string(),
    "row": pa.int64(),
    "prediction_id": pa.string(),
    "requested_at": INSTANT,
    "decision_time": INSTANT,
    "model": pa.string(),
    "model_version": pa.int64(),
    "path": pa.string(),
    "client_request_id": pa.string(),
    "traceparent": pa.string(),
    "api_key": pa.string(),
    "role": pa.string(),
    "split": pa.string(),
    "split_by": pa.string(),
    "entity": pa.string(),
    "latency_us": pa.int64(),
    "feature_versions": pa.string(),
    "features_as_of": pa.string(),
    "keys": pa.string(),
    "lookup_keys": pa.string(),
    "inputs": pa.string(),
    "outputs": pa.string(),
}
PLAIN = re.compile(r"\w+")  # an output whose name any engine takes as a column


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table, its key and its outputs apart.

    Attributes:
        keys: key → its declared type, and its value; empty where nobody says the types.
    """

    values: dict[str, object]
    outputs: dict[str, float]
    keys: dict[str, tuple[str, KeyValue | None]]


def loads(text: bytes | str) -> object:
    """The record of a text.

    Raises:
        ValueError: it is no JSON, or holds NaN or Infinity.
    """
    return json.loads(text, parse_constant=_no_number)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def rows(record: object) -> list[Row]:
    """The rows of one request. One that gives full rows, and no keys, decides at the moment when it asks.

    Raises:
        ValueError: something is missing or cannot be kept.
        TypeError: something is not of its type.
    """
    given = unfolded(_mapping(record, "a record"))
    inputs, predictions = _list(given, "rows"), _list(given, "predictions")
    keys = [None] * len(inputs) if given.get("keys") is None else _list(given, "keys")
    if not len(inputs) == len(predictions) == len(keys):
        raise ValueError(f"{len(inputs)} rows, {len(keys)} keys and {len(predictions)} predictions")
    version = given.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or abs(version) >= 2**63:
        raise TypeError(f"version {version!r} is no number of a version")
    types = cast("Mapping[str, str]", _mapping(given.get("key_types") or {}, "'key_types'"))
    shared = {
        "request_id": _text(given, "id"),
        "requested_at": _instant(given, "at"),
        "model": _text(given, "model"),
        "model_version": version,
        "path": _text(given, "path"),
        "role": _text(given, "role") if "role" in given else "primary",
        "split": _text(given, "split") if "split" in given else None,
        **_caller(given.get("caller")),
        "latency_us": _whole(given, "us") if "us" in given else None,
        **_tables(given.get("tables")),
    }
    places = _list(given, "places") if "places" in given else range(len(inputs))
    divided = _divided(given, len(inputs))
    return [
        _row({**shared, **by, "row": int(cast("int", place))}, types, *each)
        for place, by, *each in zip(places, divided, inputs, keys, predictions, strict=True)
    ]


def _caller(given: object) -> dict[str, object]:
    """What the caller said of the request, and the name of the token that it showed."""
    found = _mapping(given or {}, "'caller'")
    names = {"client_request_id": "request", "traceparent": "trace", "api_key": "api_key"}
    return {column: _text(found, name) if name in found else None for column, name in names.items()}


def _divided(given: Mapping[str, Any], count: int) -> list[dict[str, object]]:
    """What each row was divided by; one entry is for all of them."""
    kept = _list(given, "divided") if given.get("divided") is not None else [(None, None)]
    pairs = cast("list[tuple[object, object]]", kept * count if len(kept) == 1 else kept)
    for by, digest in pairs:
        if not isinstance(by, str | None) or not isinstance(digest, str | None):
            raise TypeError("'divided' is no list of texts")
    return [{"split_by": by, "entity": digest} for by, digest in pairs]


def _tables(given: object) -> dict[str, object]:
    """Which publication of each table the features are from: its version, and as of which moment."""
    if given is None:
        return {"feature_versions": None, "features_as_of": None}
    found = {
        name: (int(cast("int", version)), instant_of(int(cast("int", at))))
        for name, (version, at) in sorted(
            cast("Mapping[str, tuple[object, object]]", _mapping(given, "'tables'")).items()
        )
    }
    return {
        "feature_versions": json.dumps({name: version for name, (version, _) in found.items()}),
        "features_as_of": json.dumps({name: at.isoformat() for name, (_, at) in found.items()}),
    }


def unfolded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A server names its inputs and outputs once in a record, in `by`; here each row and each prediction names them."""
    if "by" not in record:
        return record
    by = _mapping(record["by"], "'by'")
    inputs, outputs = _names(by, "inputs"), _names(by, "outputs")
    answers = zip(_list(record, "ids"), _list(record, "answers"), strict=True)
    return {
        **record,
        "model": by.get("model"),
        "version": by.get("version"),
        "role": by.get("role", "primary"),
        "key_types": by.get("key_types"),
        "rows": [dict(zip(inputs, cast("list[object]", row), strict=True)) for row in _list(record, "rows")],
        "predictions": [
            {"prediction_id": number, **dict(zip(outputs, cast("list[object]", answer), strict=True))}
            for number, answer in answers
        ],
    }


def _row(shared: dict[str, object], types: Mapping[str, str], inputs: object, known: object, prediction: object) -> Row:
    outputs = dict(_mapping(prediction, "a prediction"))
    decision = None if known is None else _mapping(known, "a key")
    keys: Mapping[str, Any] = {} if decision is None else _mapping(decision.get("keys"), "a key")
    known_types = [(name, kind) for name, kind in types.items() if name in keys]
    values = _in_their_types(known_types, keys)
    identity = _text(outputs, "prediction_id")
    del outputs["prediction_id"]
    return Row(
        values={
            **shared,
            "prediction_id": identity,
            "decision_time": shared["requested_at"] if decision is None else _instant(decision, "at"),
            "keys": None if decision is None else _json({**keys, **{k: _said(v) for k, v in values.items()}}),
            "lookup_keys": _json(_mapping(decision["by"], "'by'")) if decision and "by" in decision else None,
            "inputs": _json(_mapping(inputs, "a row")),
            "outputs": _json(outputs),
        },
        outputs={name: float(value) for name, value in outputs.items() if _is_column(name, value)},
        keys={name: (kind, values[name]) for name, kind in known_types if name in values},
    )


def _in_their_types(kinds: Sequence[tuple[str, str]], keys: Mapping[str, Any]) -> dict[str, KeyValue | None]:
    """Those that are of their type; what a log holds otherwise stays in its JSON."""
    found: dict[str, KeyValue | None] = {}
    for name, kind in kinds:
        with suppress(DataError):
            found |= typed_all([(name, kind)], keys)
    return found


def _said(value: KeyValue | None) -> Json:
    """A key's value in JSON, always in the same spelling."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _is_column(name: str, value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e308 and PLAIN.fullmatch(name) is not None


def table(rows: Sequence[Row], there: pa.Schema) -> pa.Table:
    """The rows; and each output that is a number also as a column, where that column is free or holds such numbers.

    Tables tell columns apart without regard to case, so an output takes the name of the column that is there.
    """
    known = {field.name.lower(): field.name for field in there}
    taken = {field.name.lower() for field in there if field.type != pa.float64()} | set(COLUMNS)
    outputs: dict[str, list[float | None]] = {}
    for place, row in enumerate(rows):
        for name, value in row.outputs.items():
            if name.lower() not in taken:
                column = known.setdefault(name.lower(), name)
                outputs.setdefault(column, [None] * len(rows))[place] = value
    arrays = {name: pa.array([row.values[name] for row in rows], kind) for name, kind in COLUMNS.items()}
    made = {name: pa.array(values, pa.float64()) for name, values in outputs.items()}
    return pa.table({**arrays, **made, **_key_columns(rows, there, {*known, *(name.lower() for name in made)})})


def _key_columns(rows: Sequence[Row], there: pa.Schema, taken: Collection[str]) -> dict[str, pa.Array]:
    """The keys in columns of their types, where those are free or of that type already."""
    types: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, (kind, _) in row.keys.items():
            types.setdefault(name, {})[kind] = None
    found: dict[str, pa.Array] = {}
    for name, kinds in types.items():
        column = log_key(name)
        fitting = there.field(column).type if column in there.names else None
        if fitting is None and (column.lower() in {*taken, *map(str.lower, found)} or len(kinds) > 1):
            continue
        kind = fitting or arrow_type(next(iter(kinds)))
        values = [
            row.keys[name][1] if name in row.keys and type_name(kind) == row.keys[name][0] else None for row in rows
        ]
        found[column] = pa.array(values, kind)
    return found


# ---------------------------------------------------------------------------------------------- what a record holds


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is no JSON object but {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _list(record: Mapping[str, Any], name: str) -> list[object]:
    if not isinstance(record.get(name), list):
        raise TypeError(f"{name!r} is no list")
    return record[name]


def _names(record: Mapping[str, Any], name: str) -> list[str]:
    found = _list(record, name)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"{name!r} is no list of names")
    return cast("list[str]", found)


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise TypeError(f"{name!r} is no text")
    value.encode()  # half of a surrogate pair is JSON, and no text
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = record[name]
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise TypeError(f"{name!r} is no whole number")
    return value


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text.encode()
    return text


def _instant(record: Mapping[str, Any], name: str) -> datetime:
    read = datetime.fromisoformat(_text(record, name))
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
