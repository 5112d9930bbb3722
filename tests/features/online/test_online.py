"""Publishing and asking: what is looked at, what is told, and death in between."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

import headrace as hr
from headrace.core.errors import DataError, DeclarationError
from headrace.features.online.base import OnlineTable
from headrace.features.online.packing import key
from headrace.features.online.publish import publish
from headrace.features.online.rows import OnlineFeatures
from headrace.features.online.sqlite import SqliteStore
from headrace.features.plan import plan
from headrace.features.rows import full_rows
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite

START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = hr.FeatureTable("f.pace", key=["shop", "number"], time="at", look_back="2h", online=True)
SPINE = hr.Table("s.asked", key="id", sql="select 1 as id, 'a' as shop, 1 as number, now() as at")


@hr.on_demand(hr.Schema(hour="int32"))
def hour(seen: pd.Series) -> pd.Series:
    return seen.dt.hour


PLAN_FEATURES = [SPINE.select("shop"), FEATURES.select("speed", "count", "name", "seen", "open"), hour]
SCHEMA = pa.schema(
    [
        ("shop", pa.string()),
        ("number", pa.int32()),
        ("at", pa.timestamp("us", "UTC")),
        ("speed", pa.float64()),
        ("count", pa.int64()),
        ("name", pa.string()),
        ("seen", pa.timestamp("us", "UTC")),
        ("open", pa.bool_()),
        ("_written_at", pa.timestamp("us", "UTC")),
    ]
)
SPINE_SCHEMA = pa.schema(
    [("id", pa.int64()), ("shop", pa.string()), ("number", pa.int32()), ("at", pa.timestamp("us", "UTC"))]
)
PROPERTIES = {"headrace.kind": "feature", "headrace.key": '["shop", "number"]', "headrace.time": "at"}


def minutes(number):
    return START + timedelta(minutes=number)


class World:
    def __init__(self, folder):
        self.lakehouse = Lakehouse("dev", str(folder / "lakehouse"))
        self.store = SqliteStore(folder / "online.db")
        self.count = 0

    def write(self, name, rows, schema, properties=None):
        self.count += 1
        made = pa.Table.from_pylist(rows, schema=schema)
        self.lakehouse.commit(name, f"write {self.count}", lambda _: Overwrite(made), properties=properties)

    def offline(self, at, keys):
        spine = [{"id": place, "shop": shop, "number": number, "at": at} for place, (shop, number) in enumerate(keys)]
        self.write("s.asked", spine, SPINE_SCHEMA)
        planned = self.plan()
        versions = {name: self.lakehouse.snapshot(name).version for name in planned.tables}
        return planned, full_rows(self.lakehouse, planned, versions)

    def plan(self):
        schemas = {name: self.lakehouse.snapshot(name).schema for name in ("s.asked", "f.pace")}
        return plan(SPINE.at("at"), PLAN_FEATURES, schemas)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


KEYS = [(shop, number) for shop in ("a", "b", 'quo"te', None, "never") for number in (0, 1)]


def test_only_what_came_since_is_looked_at_until_the_data_changes(world):
    rows = [{"shop": "a", "number": 0, "at": minutes(n), "speed": float(n), "_written_at": START} for n in (0, 10, 20)]
    world.write("f.pace", rows, SCHEMA, PROPERTIES)
    modes = [publish(world.lakehouse, "f.pace", world.store, as_of=minutes(n)).mode for n in (5, 15, 10)]
    assert modes == ["all", "since", "nothing"]
    world.write("f.pace", rows[:1], SCHEMA, PROPERTIES)
    assert publish(world.lakehouse, "f.pace", world.store, as_of=minutes(30)).mode == "all"
    table = world.store.table("f.pace")
    assert world.store.read("f.pace", [key(table.keys, ["a", 0])])[0].time == pytest.approx(
        minutes(0).timestamp() * 1e6
    )


def test_an_older_row_never_takes_the_place_of_a_newer_one(tmp_path):
    store = SqliteStore(tmp_path / "online.db")
    table = OnlineTable(keys=(("k", "int64"),), columns=(("v", "int64"),), as_of=1, data_version=0)
    store.replace("t", table, [(b"[1]", 20, b"new")], expected=None)
    store.update("t", table, [(b"[1]", 10, b"old"), (b"[2]", 5, b"x")], expected=table)
    assert [row.packed for row in store.read("t", [b"[1]", b"[2]"])] == [b"new", b"x"]
    assert store.read("t", [b"[3]", b"[1]", b"[3]"])[0] is None


def test_what_was_never_published_is_told(tmp_path, world):
    store = SqliteStore(tmp_path / "none.db")
    assert store.table("t") is None
    world.write("f.pace", [], SCHEMA, PROPERTIES)
    planned, _ = world.offline(START, KEYS)
    with pytest.raises(DataError, match="never published"):
        OnlineFeatures(store, planned).full_rows([{"id": 1, "shop": "a", "number": 1}])
    world.write("s.plain", [], SPINE_SCHEMA)
    with pytest.raises(DeclarationError, match="no feature table"):
        publish(world.lakehouse, "s.plain", store, as_of=START)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"id": 1, "number": 1}, "'shop' is missing"),
        ({"id": 1, "shop": 7, "number": 1}, "'shop' is string; int was given"),
        ({"id": 1, "shop": "a", "number": 1.5}, "'number' is int32"),
        ({"id": 1, "shop": "a", "number": True}, "'number' is int32"),
        ({"id": 1, "shop": "a", "number": 1, "at": "yesterday"}, "'at' is no time"),
        ({"id": 1, "shop": "a", "number": 1, "at": 5}, "'at' is no time"),
    ],
)
def test_a_wrong_request_is_told_by_row_and_name(world, request_, said):
    world.write("f.pace", [], SCHEMA, PROPERTIES)
    publish(world.lakehouse, "f.pace", world.store, as_of=START)
    planned, _ = world.offline(START, KEYS)
    good = {"id": 0, "shop": "a", "number": 1}
    with pytest.raises(DataError, match=said):
        OnlineFeatures(world.store, planned).full_rows([good, request_])


PUBLISH = """
import sys
from pathlib import Path
from datetime import datetime
from headrace.features.online.publish import publish
from tests.features.online.test_online import World
world = World(Path(sys.argv[1]))
publish(world.lakehouse, "f.pace", world.store, as_of=datetime.fromisoformat(sys.argv[2]))
"""


def test_killed_while_it_publishes_nothing_of_it_is_seen_and_the_next_one_is_whole(tmp_path, monkeypatch):
    world = World(tmp_path)
    rows = [{"shop": "a", "number": 0, "at": minutes(n), "_written_at": START} for n in (0, 10)]
    world.write("f.pace", rows, SCHEMA, PROPERTIES)
    publish(world.lakehouse, "f.pace", world.store, as_of=minutes(5))
    command = [sys.executable, "-c", PUBLISH, str(tmp_path), minutes(20).isoformat()]
    monkeypatch.setenv("HEADRACE_FAILPOINT", "online.written:f.pace")
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    known = key(world.store.table("f.pace").keys, ["a", 0])
    assert world.store.read("f.pace", [known])[0].time == minutes(0).timestamp() * 1e6
    monkeypatch.delenv("HEADRACE_FAILPOINT")
    subprocess.run(command, check=True)
    assert world.store.read("f.pace", [known])[0].time == minutes(10).timestamp() * 1e6
