"""Micro-batches by column give what each message gives by itself: records to the last bit, dead letters with their reasons."""

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import lightgbm
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest

from headrace.core.errors import DataError, HeadraceError
from headrace.features.keys import moment, typed_all
from headrace.features.matrix import encode, fit_categories, read
from headrace.features.online.rows import OnlineFeatures
from headrace.features.online.sqlite import SqliteStore
from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.inference.records import record, with_in_sample, with_versions
from headrace.inference.streaming.full_columns import full_columns
from headrace.inference.streaming.requests import AtWork, score
from headrace.inference.streaming.sources.base import Message
from headrace.lakehouse.columns import type_name
from headrace.scoring.predictor import PackagePredictor
from headrace.scoring.version import LoadedVersion
from headrace.serving.codec import BadRequestError, Codec
from headrace.serving.predictors import Native
from headrace.training import package
from headrace.training.estimator import adopt

INSTANT, LOCAL = pa.timestamp("us", "UTC"), pa.timestamp("us")
FITTED = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
COLOURS = ["blue", "green", "red"]
KINDS = {"a": "number", "colour": "string", "b": "number"}
PLANS = {  # inputs beside those, and the types of the keys and of the moment
    "whole": ({}, {"id": pa.int64(), "at": INSTANT}),
    "text and a small number that is a feature": (
        {"id": "number", "at": "timestamp"},
        {"city": pa.string(), "id": pa.int8(), "at": LOCAL},
    ),
    "decimal and date": (
        {"at": "timestamp_utc"},
        {"id": pa.decimal128(9, 2), "day": pa.date32(), "at": INSTANT},
    ),
    "float": ({}, {"id": pa.float32(), "at": pa.date32()}),
}


@pytest.fixture(scope="module", params=PLANS)
def at_work(request, tmp_path_factory):
    """A version with texts and missing values; its way by column has to give the bits of its way by DataFrame."""
    more, types = PLANS[request.param]
    kinds = {**KINDS, **more}
    features = {name: kind for name, kind in kinds.items() if name != "at"}
    plan = FeaturePlan(
        spine="s.t",
        at="at",
        keys=tuple(name for name in types if name != "at"),
        key_types=tuple(type_name(kind) for name, kind in types.items() if name != "at"),
        inputs=tuple(Input(name=name, kind=kind, origin="spine") for name, kind in kinds.items()),
        features=tuple(Feature(name=n, kind=kind, origin="spine", optional=False) for n, kind in features.items()),
        lookups=(),
        calls=(),
    )
    folder = tmp_path_factory.mktemp("package")
    version = LoadedVersion("m", 3, PackagePredictor(_packaged(folder / "data", plan)))
    codec = Codec(plan.inputs)

    def check(rows):
        try:
            codec.check(rows)
        except BadRequestError as error:
            raise DataError(str(error)) from None

    online = OnlineFeatures(SqliteStore(folder / "online.db"), plan)
    native = Native(folder)
    return AtWork(version=version, features=online, check=check, types=types, fitted=FITTED, by_column=native.by_column)


def _packaged(folder, plan):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({each.name: draw.normal(size=500) for each in plan.inputs})
    frame["colour"] = draw.choice(COLOURS, 500)
    if "at" in frame:
        frame["at"] = datetime(2024, 1, 1)  # noqa: DTZ001
    y = pd.Series((frame["a"] + (frame["colour"] == "red") > 0).astype(int))
    inputs = read(plan, frame)[list(plan.names)]
    categories = fit_categories(plan, inputs)
    X = encode(plan, categories, inputs)
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "seed": 0, "num_threads": 1}, lightgbm.Dataset(X, y), 15
    )
    written = package.write(
        folder,
        model="m",
        task="Binary",
        classes=(0, 1),
        plan=plan,
        categories=categories,
        estimator=adopt(booster, task="Binary", classes=(0, 1), X=X, y=y),
        calibration=None,
        params={},
        origin=None,
    )
    return written.folder


# ---------------------------------------------------------------------------------------------- message by message


def rowwise(at_work, messages):
    """The reference: each message by itself, from its bytes to its full row; gives the records, and offsets with reasons."""
    plan, letters = at_work.version.plan, []

    def each(pairs, do):
        found = []
        for message, given in pairs:
            try:
                found.append((message, do(given)))
            except Exception as error:  # noqa: BLE001
                said = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
                letters.append((message.offset, said.removeprefix("row 0: ")[:500]))
        return found

    def checked(row):
        at_work.check([[row[column.name] for column in plan.inputs]])
        return {**row, **typed_all([(name, type_name(at_work.types[name])) for name in plan.keys], row)}

    asked = each([(message, message) for message in messages], lambda message: _request(at_work, message))
    full = each(asked, lambda row: at_work.features.full_rows([row])[0])
    tables = each(each(full, checked), lambda row: _table(at_work, row))
    rows = pa.concat_tables(table for _, table in tables).combine_chunks()
    inputs = rows.select([column.name for column in plan.inputs]).to_pandas()
    made = record(at_work.version, rows, *at_work.version.predict_with_features(inputs))
    return with_in_sample(with_versions(made, {}), at_work.fitted), [message for message, _ in tables], letters


def _request(at_work, message):
    read = _read(message.value)
    plan = at_work.version.plan
    for name in at_work.features.needed:
        if name not in read:
            raise DataError(f"{name!r} is missing.")
    for name in plan.keys:
        if read[name] is None:
            raise DataError(f"{name!r} is null: a decision is known by its key.")
    at = message.at if read.get("at") is None else moment(read["at"], "at")
    if at is None:
        raise DataError("'at' is missing, and nobody says when the message was sent.")
    alone = {*plan.keys} - {column.name for column in plan.inputs}
    return {**{n: read[n] if n in alone else _plain(read[n]) for n in at_work.features.needed}, "at": at}


def _read(value):
    if value is None:
        raise DataError("the message has no value.")
    if not isinstance(value, bytes):
        return value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise DataError(f"the value is no JSON: {error.msg} at position {error.pos}.") from None
    if type(read) is not dict:
        raise DataError("the value is no JSON object.")
    return read


def _plain(value):
    if isinstance(value, Decimal):
        return float(value)
    return datetime.combine(value, time()) if isinstance(value, date) and not isinstance(value, datetime) else value


def _table(at_work, row):
    kinds = {"number": pa.float64(), "string": pa.string(), "timestamp": LOCAL, "timestamp_utc": INSTANT}
    types = {**{column.name: kinds[column.kind] for column in at_work.version.plan.inputs}, **at_work.types}
    return pa.table({name: pa.array([_typed(row[name], to)], to) for name, to in types.items()})


def _typed(value, to):
    if value is None:
        return None
    if pa.types.is_floating(to):
        return float(value)
    if pa.types.is_integer(to):
        return int(value)
    return value.date() if pa.types.is_date(to) and isinstance(value, datetime) else value


# ---------------------------------------------------------------------------------------------- what is sent

NUMBERS = [0.5, -0.0, 3, 1e300, 2**53 + 1, 2**63, 2**64, -(2**70), True, False, None, None, 1e-320]
WRONG = ["text", "", "NaN", "1", [1], {"x": {"y": 1}}, [], "\u00e9\u4e2d"]
TEXTS = [*COLOURS, "mauve", "", "\u00e9\u4e2d\U0001f600", 'quo"te', None]
MOMENTS = ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00.123456+02:00", "2024-01-05", "2024-03-01 09:00", None]
WRONG_MOMENTS = ["yesterday", 5, True, [], "0001-01-01T00:00:00+23:00", ""]
BROKEN = [b"", b"{", b"[]", b"null", b"5", b'{"id": NaN}', b'{"id": 1e999}', b"\xff\xfe", b'{"id":1},{"id":2}', None]
FROM_A_TABLE = {  # values that JSON does not have
    "a": [Decimal("1.25"), float("nan"), 2.5, np.float64(1.5), date(2024, 1, 1), b"x", 10**400, 2**1023],
    "colour": ["red", b"red", datetime(2024, 1, 1, tzinfo=UTC), "\ud800", 7],
    "b": [0.5, None, float("inf")],
    "at": [datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 3), date(2024, 1, 3), None],  # noqa: DTZ001
}


def one(draw, number, *, odd):
    """An object, with something odd in it so often."""
    row = {
        "id": draw.choice([number % 100, float(number % 100)]),
        "city": draw.choice(["x", "y"]),
        "day": "2024-01-02",
        "at": draw.choice(MOMENTS),
        "a": draw.choice(NUMBERS if odd else [draw.random(), None]),
        "colour": draw.choice(TEXTS),
        "b": draw.choice([draw.random(), None]),
        "more": [1, {"deep": None}],
    }
    if draw.random() < odd:
        name = draw.choice(["id", "city", "day", "at", "a", "colour", "b"])
        change = draw.choice(["wrong", "missing", "null", "huge"])
        if change == "missing":
            del row[name]
        elif change == "wrong":
            row[name] = draw.choice(WRONG_MOMENTS if name == "at" else [*WRONG, 1.5, 300, "2024-01-02T10:00"])
        else:
            row[name] = None if change == "null" else draw.choice([2**53, 2**63, 2**64 - 1])
    return row


def messages(seed, count, *, odd=0.0, broken=0.0, mapped=0.0):
    draw = random.Random(seed)
    sent = datetime(2024, 1, 20, tzinfo=UTC)
    found = [Message(0, 0, json.dumps(one(draw, 1, odd=0)).encode(), None, sent)]  # some message is always good
    for offset in range(1, count):
        row = one(draw, offset, odd=odd)
        value = json.dumps(row).encode()
        if draw.random() < mapped:
            value = {**row, **{name: draw.choice(values) for name, values in FROM_A_TABLE.items()}}
        elif draw.random() < broken:
            value = draw.choice([*BROKEN, value[:-1] + b', "a": 1.5}', value[: len(value) // 2]])
        at = None if draw.random() < odd / 4 else sent + timedelta(milliseconds=offset)
        found.append(Message(offset % 3, offset, value, None, at))
        if draw.random() < 0.05:  # the same decision again
            found.append(found[-1]._replace(offset=offset + count))
    return found


MIXES = {
    "plain": {},
    "odd values": {"odd": 0.3},
    "broken messages": {"broken": 0.1},
    "rows of a table": {"mapped": 0.3},
    "all of it": {"odd": 0.1, "broken": 0.05, "mapped": 0.05},
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(4))
def test_a_batch_gives_what_its_messages_give_by_themselves(at_work, mix, seed):
    sent = messages(seed, 300 if seed else 700, **MIXES[mix])
    records, predicted, letters = rowwise(at_work, sent)

    for by_column in (at_work.by_column, None):
        found = score(_with(at_work, by_column), sent)

        assert found.predictions is not None
        assert found.predictions.schema == records.schema
        assert found.predictions.drop_columns("scored_at").equals(records.drop_columns("scored_at"))
        assert found.predicted == predicted
        assert [(each.message.offset, each.reason) for each in found.letters] == letters


def _with(at_work, by_column):
    return AtWork(
        version=at_work.version,
        features=at_work.features,
        check=at_work.check,
        types=at_work.types,
        fitted=at_work.fitted,
        by_column=by_column,
    )


def test_plain_messages_go_by_column_and_one_that_is_not_leaves_the_others_there(at_work):
    plan, needed = at_work.version.plan, at_work.features.needed
    sent = messages(1, 600)
    found = full_columns(plan, needed, at_work.types, sent)
    assert found is not None
    assert (len(found.messages), found.others) == (len(sent), ())

    bad = [*sent[:400], Message(0, 9_999, b"{", None, None), *sent[400:]]
    found = full_columns(plan, needed, at_work.types, bad)
    assert found is not None
    assert ([each.offset for each in found.others], found.messages) == ([9_999], sent)


HUGE = [2**53 - 1, 2**53, 2**63, 2**64, -(2**70), 300, 1.5, -0.0, 7.0, True, None]


@pytest.mark.parametrize("name", ["id", "city", "day", "at", "a", "colour", "b"])
def test_one_odd_value_among_plain_messages(at_work, name):
    """Each alone: among several, one that has to go by itself would take the others along."""
    sent = datetime(2024, 1, 20, tzinfo=UTC)
    draw = random.Random(5)
    plain = [Message(0, each, json.dumps(one(draw, each, odd=0)).encode(), None, sent) for each in range(3)]
    sent_as_json = [*WRONG, *HUGE, *TEXTS, *MOMENTS, *WRONG_MOMENTS]
    of_a_table = FROM_A_TABLE.get(name, [])
    for place, value in enumerate([*sent_as_json, *of_a_table]):
        row = {**one(draw, 4, odd=0), name: value}
        given = json.dumps(row).encode() if place < len(sent_as_json) else row
        batch = [*plain[:2], Message(0, 4, given, None, sent), plain[2]]
        records, predicted, letters = rowwise(at_work, batch)
        found = score(at_work, batch)
        assert found.predictions is not None
        assert found.predictions.drop_columns("scored_at").equals(records.drop_columns("scored_at")), value
        assert found.predicted == predicted
        assert [(each.message.offset, each.reason) for each in found.letters] == letters
