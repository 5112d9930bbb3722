"""The law of the online store: asked at the moment as of which it was published, it says what the point-in-time join says."""

import random
import sqlite3
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import ConflictError, DataError
from headrace.features.matrix import read
from headrace.features.online.publish import publish
from headrace.features.online.rows import OnlineFeatures
from headrace.features.online.sqlite import SqliteStore
from headrace.features.plan import plan
from headrace.features.rows import full_rows
from headrace.lakehouse.declarations import key_text
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite

START = datetime(2024, 1, 1, tzinfo=UTC)
UTC_US = pa.timestamp("us", "UTC")
TABLE, ASKED = "f.pace", "s.asked"
KEY_TYPES = {
    "shop": pa.string(),
    "number": pa.int32(),
    "since": UTC_US,
    "open": pa.bool_(),
    "size": pa.float64(),
    "day": pa.date32(),
}
VALUE_TYPES = {
    "speed": pa.float64(),
    "small": pa.float32(),
    "count": pa.int64(),
    "price": pa.decimal128(30, 12),
    "label": pa.string(),
    "good": pa.bool_(),
    "seen": UTC_US,
    "local": pa.timestamp("us"),
    "on": pa.date32(),
    "parts": pa.list_(pa.int32()),  # no feature
}
SPINE = hr.Table(ASKED, key="id", sql="select 1")
FRESH = hr.FeatureTable(TABLE, key=list(KEY_TYPES), time="at", look_back="2h", online=True)
ANY_AGE = hr.FeatureTable(TABLE, key=list(KEY_TYPES), time="at", online=True)


@hr.on_demand(hr.Schema(a="int64", b="int64", c="int64", d="int64"))
def hours(seen: pd.Series, local: pd.Series, on: pd.Series, at: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"a": seen.dt.hour, "b": local.dt.hour, "c": on.dt.day, "d": at.dt.hour})


VALUES = [name for name in VALUE_TYPES if name != "parts"]
FEATURES = [FRESH.select(*VALUES), ANY_AGE.select(*VALUES[:6], prefix="any_"), hours]


def minutes(number):
    return START + timedelta(minutes=number)


class World:
    def __init__(self, folder, time=UTC_US):
        self.lakehouse = Lakehouse("dev", str(folder / "lakehouse"))
        self.store = SqliteStore(folder / "online.db")
        self.schema = pa.schema([*KEY_TYPES.items(), ("at", time), *VALUE_TYPES.items(), ("_written_at", UTC_US)])
        self.count = 0

    def write(self, name, rows, schema, **properties):
        self.count += 1
        made = pa.Table.from_pylist(rows, schema=schema)
        told = {f"headrace.{key}": value for key, value in properties.items()}
        return self.lakehouse.commit(name, f"{self.count}", lambda _: Overwrite(made), properties=told)

    def write_features(self, rows, schema=None):
        return self.write(TABLE, rows, schema or self.schema, kind="feature", key=key_text(list(KEY_TYPES)), time="at")

    def publish(self, at, **options):
        return publish(self.lakehouse, TABLE, self.store, as_of=at, **options)

    def asked(self, at, keys, time=UTC_US):
        """The plan, the requests as JSON would hold them, and what the join gives for the same decisions."""
        decided = at if time == UTC_US else at.replace(tzinfo=None)
        spine = [{"id": place, "at": decided, **each} for place, each in enumerate(keys)]
        types = [(name, pa.int64() if name == "number" else kind) for name, kind in KEY_TYPES.items()]
        self.write(ASKED, spine, pa.schema([("id", pa.int64()), ("at", time), *types]))
        names = (ASKED, TABLE)
        planned = plan(SPINE.at("at"), FEATURES, {name: self.lakehouse.snapshot(name).schema for name in names})
        rows = full_rows(self.lakehouse, planned, {name: self.lakehouse.snapshot(name).version for name in names})
        requests = [
            {name: value.isoformat() if isinstance(value, date) else value for name, value in each.items()}
            for each in spine
        ]
        return planned, requests, rows


def bits(frame):
    """Each value with its type, floats by their bits; of NaNs there is one."""
    return {
        name: [
            struct.pack("<d", value) if isinstance(value, float) and value == value else str(value)
            for value in frame[name]
        ]
        for name in frame.columns
    }


def assert_as_the_join(world, at, keys, time=UTC_US):
    planned, requests, rows = world.asked(at, keys, time)
    found = OnlineFeatures(world.store, planned).full_rows(requests)
    assert bits(read(planned, pd.DataFrame(found))) == bits(read(planned, rows.to_pandas()))


KEYS = st.fixed_dictionaries(
    {
        "shop": st.sampled_from(["a", 'é"\\', ""]) | st.none(),
        "number": st.sampled_from([1, -7]),
        "since": st.sampled_from([START, START + timedelta(microseconds=1)]),
        "open": st.booleans(),
        "size": st.sampled_from([0.1, 0.0, -0.0]),
        "day": st.sampled_from([date(1999, 12, 31), date(2024, 2, 29)]),
    }
)
FEW_KEYS = st.lists(KEYS, min_size=1, max_size=4)
ROW = st.fixed_dictionaries(
    {
        "at": st.none() | st.integers(0, 300).map(minutes),
        "_written_at": st.none() | st.integers(0, 3).map(minutes),
        "speed": st.none() | st.floats(),
        "small": st.none() | st.floats(width=32),
        "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(-(10**17), 10**17, places=12),
        "label": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
        "good": st.none() | st.booleans(),
        "seen": st.none() | st.datetimes().map(lambda each: each.replace(tzinfo=UTC)),
        "local": st.none() | st.datetimes(),
        "on": st.none() | st.dates(),
        "parts": st.none() | st.just([1]),
    }
)


@st.composite
def stories(draw):
    """Some keys; and writes of the whole table and publications at moments in any order, a write first."""
    keys = draw(FEW_KEYS)
    rows = st.lists(st.builds(lambda key, row: {**key, **row}, st.sampled_from(keys), ROW), max_size=10).map(identified)
    action = st.one_of(rows, st.integers(0, 400).map(minutes))
    return keys, [draw(rows), *draw(st.lists(action, min_size=2, max_size=5))]


def identified(rows):
    """One key, time and moment of writing identify a row; rows of one key and time are corrections."""
    found = {}
    for row in rows:
        found[tuple(row[name] + 0.0 if name == "size" else row[name] for name in (*KEY_TYPES, "at", "_written_at"))] = (
            row
        )
    return list(found.values())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(stories(), st.sampled_from([UTC_US, pa.timestamp("us"), pa.date32()]))
def test_published_as_of_a_moment_it_is_what_the_join_finds_at_that_moment(tmp_path_factory, story, time):
    """Late rows, ties, corrections, deletions, nulls, every type; publications that step on, and that would step back."""
    keys, actions = story
    world = World(tmp_path_factory.mktemp("world"), time)
    stands = None
    for action in actions:
        if isinstance(action, list):
            rows = [
                row if row["at"] is None or time == UTC_US else {**row, "at": plain(row["at"], time)} for row in action
            ]
            world.write_features(identified(rows))  # days are coarser: what was apart may be a tie now
        else:
            done = world.publish(action)
            assert done.as_of == max(action, stands or action)
            stands = done.as_of
            assert_as_the_join(world, stands, [*keys, {**keys[0], "shop": "never"}, {**keys[0], "number": None}])
            again = world.publish(action)
            assert (again.mode, again.rows, again.removed) == ("nothing", 0, 0)


def plain(at, time):
    return at.date() if time == pa.date32() else at.replace(tzinfo=None)


# ---------------------------------------------------------------------------------------------- one thing at a time

KEY = {"shop": "a", "number": 1, "since": START, "open": True, "size": 0.5, "day": date(2024, 1, 1)}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def rows_at(*times, **values):
    return [{**KEY, "at": at, "speed": float(place), "_written_at": START, **values} for place, at in enumerate(times)]


def found(world, at, *keys):
    planned, requests, _ = world.asked(at, keys or [KEY])
    return OnlineFeatures(world.store, planned).full_rows(requests)


@pytest.mark.parametrize(
    ("age", "fresh", "at_all"),
    [
        (timedelta(0), True, True),
        (timedelta(microseconds=-1), False, False),
        (timedelta(hours=2), True, True),
        (timedelta(hours=2, microseconds=1), False, True),
        (timedelta(days=9000), False, True),
    ],
)
def test_both_ends_of_the_look_back_count_and_the_future_never(world, age, fresh, at_all):
    world.write_features(rows_at(START - age))
    world.publish(START + timedelta(days=1))
    (row,) = found(world, START)
    assert (row["speed"], row["any_speed"]) == (0.0 if fresh else None, 0.0 if at_all else None)


def test_a_row_that_is_gone_from_the_table_goes_and_an_older_one_comes_back(world):
    other = {**KEY, "shop": "b"}
    world.write_features([*rows_at(minutes(0), minutes(10)), {**rows_at(minutes(5))[0], **other}])
    assert world.publish(minutes(20)).rows == 2
    world.write_features(rows_at(minutes(0)))
    done = world.publish(minutes(20))
    assert (done.mode, done.rows, done.removed) == ("all", 1, 1)
    assert [row["any_speed"] for row in found(world, minutes(20), KEY, other)] == [0.0, None]


def test_changed_data_is_taken_over_as_of_where_the_store_stands(world):
    world.write_features(rows_at(minutes(0), minutes(10)))
    world.publish(minutes(20))
    world.write_features(rows_at(minutes(0), minutes(10), minutes(15)))
    done = world.publish(minutes(5))
    assert (done.mode, done.as_of, done.rows) == ("all", minutes(20), 1)
    assert_as_the_join(world, minutes(20), [KEY])


def test_a_change_that_is_none_of_rows_looks_at_nothing_again(world):
    for _ in range(2):
        world.write_features(rows_at(minutes(0)))
    world.publish(minutes(20))
    world.lakehouse.optimize(TABLE)
    assert world.publish(minutes(20)).mode == "nothing"
    assert world.publish(minutes(21)).mode == "since"


def test_a_pinned_version_is_published_and_the_latest_afterwards(world):
    first = world.write_features(rows_at(minutes(0))).version
    world.write_features(rows_at(minutes(0), minutes(10)))
    for version, speed in ((first, 0.0), (None, 1.0), (first, 0.0)):
        assert world.publish(minutes(20), version=version).mode == "all"
        assert found(world, minutes(20))[0]["any_speed"] == speed


def test_a_table_that_was_made_anew_is_looked_at_whole_although_its_versions_count_anew(tmp_path):
    worlds = [World(tmp_path / name) for name in ("old", "new")]
    worlds[1].store = worlds[0].store
    worlds[0].write_features(rows_at(minutes(0), minutes(1)))
    worlds[1].write_features(rows_at(minutes(0)))
    worlds[0].publish(minutes(5))
    assert worlds[1].publish(minutes(5)).mode == "all"
    assert_as_the_join(worlds[1], minutes(5), [KEY])


def test_the_moment_of_a_request_is_now_unless_it_says(world):
    world.write_features(rows_at(datetime.now(UTC) - timedelta(minutes=1)))
    world.publish(datetime.now(UTC))
    planned, (request,), _ = world.asked(minutes(0), [KEY])
    features = OnlineFeatures(world.store, planned)
    said = request.pop("at")
    before = datetime.now(UTC)
    (row,) = features.full_rows([request])
    assert before <= row["at"] <= datetime.now(UTC)
    assert row["speed"] == 0.0
    for at in (said, minutes(0), said.replace("+00:00", ""), "2024-01-01T01:00+01:00"):
        assert features.full_rows([{**request, "at": at}])[0]["at"] == minutes(0)
    assert features.full_rows([]) == []


def test_decisions_whose_time_has_no_zone_are_those_of_utc(world):
    world.write_features(rows_at(minutes(0), minutes(60), local=minutes(0).replace(tzinfo=None)))
    world.publish(minutes(30))
    assert_as_the_join(world, minutes(30), [KEY], pa.timestamp("us"))
    planned, (request,), _ = world.asked(minutes(30), [KEY], pa.timestamp("us"))
    (row,) = OnlineFeatures(world.store, planned).full_rows([request])
    assert (row["at"], row["any_speed"]) == (minutes(30).replace(tzinfo=None), 0.0)


def test_a_column_that_the_table_no_longer_has_is_told(world):
    world.write_features(rows_at(minutes(0)))
    planned, requests, _ = world.asked(minutes(0), [KEY])
    world.write_features([], pa.schema([field for field in world.schema if field.name != "speed"]))
    world.publish(minutes(0))
    with pytest.raises(DataError, match=r"'f.pace': there is no column 'speed' online"):
        OnlineFeatures(world.store, planned).full_rows(requests)


def test_a_table_whose_key_changed_is_told(world):
    world.write_features(rows_at(minutes(0)))
    planned, requests, _ = world.asked(minutes(0), [KEY])
    world.write(TABLE, [], world.schema, kind="feature", key=key_text(["shop"]), time="at")
    world.publish(minutes(0))
    with pytest.raises(DataError, match="was published by shop"):
        OnlineFeatures(world.store, planned).full_rows(requests)


def test_a_key_by_which_nothing_can_be_looked_up_is_refused(world):
    world.write(
        TABLE,
        [],
        pa.schema([("k", pa.decimal128(5, 2)), ("at", UTC_US)]),
        kind="feature",
        key=key_text(["k"]),
        time="at",
    )
    with pytest.raises(DataError, match="key 'k' is decimal"):
        world.publish(minutes(0))
    assert world.store.table(TABLE) is None
    with pytest.raises(ValueError, match="no time zone"):
        world.publish(minutes(0).replace(tzinfo=None))


@pytest.mark.parametrize("before", ["select key", "pragma data_version"], ids=["read", "looked"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_a_reader_never_mixes_two_publications(world, monkeypatch, before, known):
    """While it reads, the same table is published with its columns in another order, and back."""
    layouts = [world.schema, pa.schema([*reversed(world.schema)])]
    values = {"count": 7, "small": 2.5, "label": "x", "price": 3.0, "good": True, "speed": 0.0}
    made = rows_at(minutes(0), **{**values, "price": Decimal(3)})
    versions = [world.write_features(made, schema).version for schema in layouts]
    world.publish(minutes(1), version=versions[0])
    published = []

    class Busy(sqlite3.Connection):
        """Somebody publishes between what a reader learns of the table, its reading of rows, and its look at whether that was in vain."""

        def execute(self, statement, *given):
            if statement.startswith(before) and armed and len(published) < 3:
                armed.clear()
                published.append(statement)
                world.publish(minutes(1), version=versions[len(published) % 2])
                armed.append(True)
            return super().execute(statement, *given)

    armed = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: connect(*given, **more, factory=Busy))
    planned, requests, _ = world.asked(minutes(1), [KEY])
    features = OnlineFeatures(SqliteStore(world.store.file), planned)
    if known:
        features.full_rows(requests)
    armed.append(True)
    for _ in range(4):
        (row,) = features.full_rows(requests)
        assert {name: row[name] for name in values} == values
    assert len(published) == 3


# Each publisher publishes as of moments of its own, in an order of its own, while the table changes once.
PUBLISHERS = """
import os, random, sys
from datetime import datetime, timedelta
from pathlib import Path
import pandas
from headrace.features.online.publish import publish
from headrace.features.online.sqlite import SqliteStore
from headrace.lakehouse.lakehouse import Lakehouse

root, start = sys.argv[1], datetime.fromisoformat(sys.argv[2])
for me in range(3):
    if os.fork() == 0:
        try:
            lakehouse, store = Lakehouse("dev", root + "/lakehouse"), SqliteStore(Path(root) / "online.db")
            for moment in random.Random(me).sample(range(0, 40), 6):
                publish(lakehouse, "f.pace", store, as_of=start + timedelta(minutes=moment))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
assert [os.wait()[1] for _ in range(3)] == [0, 0, 0]
"""


def test_several_publishers_at_once_leave_what_one_would_have(world, tmp_path):
    chance = random.Random(5)
    keys = [{**KEY, "number": number} for number in range(20)]
    rows = [{**rows_at(minutes(chance.randrange(40)))[0], **key, "count": place} for place, key in enumerate(keys * 5)]
    world.write_features(identified(rows))
    with subprocess.Popen([sys.executable, "-c", PUBLISHERS, str(tmp_path), START.isoformat()]) as publishers:
        pass
    assert publishers.returncode == 0
    moments = [moment for me in range(3) for moment in random.Random(me).sample(range(40), 6)]
    stands = world.publish(START)
    assert (stands.mode, stands.as_of) == ("nothing", minutes(max(moments)))
    assert_as_the_join(world, stands.as_of, keys)


def test_who_never_gets_through_is_told_and_writes_nothing(world, monkeypatch):
    monkeypatch.setattr("headrace.features.online.publish.ATTEMPTS", 3)
    world.write_features(rows_at(minutes(0)))
    rival = World.__new__(World)
    rival.__dict__.update(world.__dict__)
    rival.store = SqliteStore(world.store.file)

    class Overtaken(SqliteStore):
        """Somebody else publishes whenever this one is about to."""

        turn = 0

        def replace(self, *given, **options):
            self.turn += 1
            rival.write_features(rows_at(minutes(0), minutes(self.turn)))
            rival.publish(minutes(self.turn))
            return super().replace(*given, **options)

        update = replace

    world.store = Overtaken(world.store.file)
    with pytest.raises(ConflictError, match="other publishers came first"):
        world.publish(minutes(1000))
    assert rival.publish(START).as_of == minutes(3)
    assert_as_the_join(rival, minutes(3), [KEY])


def test_what_reads_a_store_imports_nothing_heavy():
    heavy = {"numpy", "pandas", "pyarrow", "duckdb", "deltalake", "sqlglot", "sqlalchemy"}
    script = "import headrace.features.online.rows, headrace.features.online.sqlite, headrace.scoring.spool, sys"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; print(sorted(set(sys.modules) & {heavy!r}))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
