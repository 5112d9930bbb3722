"""A table becomes what its SELECT says, by what differs, and nothing is written where something is refused."""

import math
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError, DeclarationError, SqlError
from headrace.core.failpoints import VARIABLE
from headrace.core.schema import Schema
from headrace.lakehouse.declarations import Table, expect, repair
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.writes import Append, Overwrite

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def put(lake, rows, name="bronze.orders", schema=None):
    """Makes a table exactly these rows; gives the version."""
    table = pa.Table.from_pylist(rows, schema=schema)
    return lake.commit(name, os.urandom(8).hex(), lambda _: Overwrite(table)).version


def rows(lake, name, *, by="id", drop=()):
    table = lake.snapshot(name).to_arrow()
    return sorted(table.drop_columns(list(drop)).to_pylist(), key=lambda row: str(row[by]))


def make(lake, table, step="step", **options):
    return materialize(lake, table, id=step, versions={"bronze.orders": None}, **options)


def orders(sql="select * from bronze.orders", **options):
    return Table("silver.orders", sql=sql, **{"key": "id", **options})


def test_the_first_time_all_rows_are_written_with_the_declaration_as_properties(lake):
    put(lake, [{"id": 1, "x": 1.5}, {"id": 2, "x": None}])
    made = make(lake, orders(description="What was ordered.", owner="sales"))
    assert (made.rows, made.changed, made.deleted) == (2, 2, 0)
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.5}, {"id": 2, "x": None}]
    properties = lake.snapshot("silver.orders").properties
    assert properties["headrace.key"] == '["id"]'
    assert properties["headrace.kind"] == "table"
    assert properties["headrace.description"] == "What was ordered."


def test_later_only_what_differs_is_written(lake):
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}])
    first = make(lake, orders())
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": 2.5}, {"id": 4, "x": 4.0}])
    made = make(lake, orders(), step="next")
    assert (made.changed, made.deleted, made.rows) == (2, 1, 3)
    assert made.version > first.version
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.0}, {"id": 2, "x": 2.5}, {"id": 4, "x": 4.0}]


def test_nothing_new_makes_no_version(lake):
    put(
        lake,
        [
            {"id": 1, "x": math.nan, "tags": ["a", None], "s": {"a": None}},
            {"id": 2, "x": None, "tags": None, "s": {"a": 1}},
        ],
    )
    table = orders(expect=[expect("x > 0 or id = 2", otherwise="quarantine")])
    first = make(lake, table)
    for step in ("step", "another"):
        again = make(lake, table, step=step)
        assert (again.version, again.changed, again.deleted) == (first.version, 0, 0)


def test_sums_of_fractions_are_the_same_to_the_last_bit_each_time(lake):
    chance = random.Random(7)
    for _ in range(8):  # so that there are several files, which DuckDB would read at once
        part = pa.table({"id": list(range(20_000)), "x": [chance.gauss(0, 1e6) for _ in range(20_000)]})
        lake.commit("bronze.orders", os.urandom(8).hex(), lambda _, part=part: Append(part))
    table = orders("select id % 50 as id, sum(x) as x, avg(x) as y, first(x) as z from bronze.orders group by all")
    made = [make(lake, table, step=str(number)) for number in range(5)]
    assert [(each.version, each.changed) for each in made[1:]] == [(made[0].version, 0)] * 4


def test_the_pinned_version_of_an_input_is_read(lake):
    early = put(lake, [{"id": 1, "x": 1.0}])
    put(lake, [{"id": 2, "x": 2.0}])
    materialize(lake, orders(), id="step", versions={"bronze.orders": early})
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.0}]


def test_a_definition_that_goes_and_comes_back_is_made_again(lake):
    put(lake, [{"id": 1, "x": 1.0}])
    one, other = orders(), orders("select id, x + 1 as x from bronze.orders")
    for table, step in ((one, "one"), (other, "other"), (one, "one")):
        make(lake, table, step=step)
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.0}]


def test_with_a_time_a_key_has_many_rows(lake):
    put(lake, [{"id": 1, "x": 1.0, "at": NOON}, {"id": 1, "x": 2.0, "at": NOON + timedelta(hours=1)}])
    table = orders(time="at")
    assert make(lake, table).rows == 2
    put(lake, [{"id": 1, "x": 1.0, "at": NOON}, {"id": 1, "x": 9.0, "at": NOON + timedelta(hours=1)}])
    assert make(lake, table, step="next").changed == 1
    assert [row["x"] for row in rows(lake, "silver.orders", by="at")] == [1.0, 9.0]


def test_a_feature_row_keeps_the_moment_when_it_was_written(lake):
    put(lake, [{"id": 1, "x": 1.0, "at": NOON}, {"id": 2, "x": 2.0, "at": NOON}])
    make(lake, orders(time="at"), stamp=NOON)
    put(lake, [{"id": 1, "x": 1.0, "at": NOON}, {"id": 2, "x": 3.0, "at": NOON}])
    later = NOON + timedelta(days=1)
    assert make(lake, orders(time="at"), step="next", stamp=later).changed == 1
    assert [row["_written_at"] for row in rows(lake, "silver.orders")] == [NOON, later]
    assert lake.snapshot("silver.orders").properties["headrace.kind"] == "feature"
    more = orders("select *, case when id = 1 then 7 end as y from bronze.orders", time="at")
    much_later = NOON + timedelta(days=2)
    make(lake, more, step="more", stamp=much_later)
    assert [(row["y"], row["_written_at"]) for row in rows(lake, "silver.orders")] == [(7, much_later), (None, later)]


def test_a_column_that_the_select_no_longer_gives_is_gone_and_a_new_one_there(lake):
    put(lake, [{"id": 1, "x": 1.0}])
    make(lake, orders())
    make(lake, orders("select id, 'a' as name from bronze.orders"), step="next")
    assert rows(lake, "silver.orders") == [{"id": 1, "name": "a"}]


def test_quarantined_rows_move_and_come_back_when_they_are_mended(lake):
    table = orders(expect=[expect("x > 0", otherwise="quarantine"), expect("x < 100", otherwise=repair(x="100 - 1"))])
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": -1.0}, {"id": 3, "x": 500.0}])
    made = make(lake, table)
    assert made.quarantined == {"x > 0": 1}
    assert made.repaired == {"x < 100": 1}
    assert rows(lake, "quarantine.silver_orders") == [{"id": 2, "x": -1.0, "_reason": "x > 0"}]
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.0}, {"id": 3, "x": 99.0}]
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 5.0}])
    assert make(lake, table, step="next").quarantined == {}
    assert rows(lake, "quarantine.silver_orders") == []
    assert [row["id"] for row in rows(lake, "silver.orders")] == [1, 2, 3]


def test_a_row_without_a_key_can_be_set_apart(lake):
    put(lake, [{"id": 1, "x": 1.0}, {"id": None, "x": 2.0}, {"id": None, "x": 2.0}])
    table = orders(expect=[expect("id is not null", otherwise="quarantine")])
    assert make(lake, table).quarantined == {"id is not null": 2}
    assert lake.snapshot("quarantine.silver_orders").rows() == 2


def test_every_judgement_is_counted_once_a_step(lake):
    table = orders(expect=[expect("x > 0", otherwise="warn"), expect("id > 0")])
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": -1.0}])
    assert make(lake, table).warned == {"x > 0": 1}
    version = make(lake, table).version
    noted = rows(lake, "metrics.expectations", by="expectation", drop=["at"])
    assert noted == [
        {"table": "silver.orders", "version": version, "expectation": "id > 0", "action": "fail", "rows": 2, "broken": 0, "step": "step"},
        {"table": "silver.orders", "version": version, "expectation": "x > 0", "action": "warn", "rows": 2, "broken": 1, "step": "step"},
    ]  # fmt: skip


def test_types_are_cast_once_to_what_is_declared(lake):
    put(lake, [{"id": 1, "n": 3.0, "s": "2024-01-01 12:00:00", "z": 1.1}])
    table = orders(schema=Schema(n="int32", s="timestamp_utc", z="float32"))
    make(lake, table)
    schema = lake.snapshot("silver.orders").schema
    assert [schema.field(name).type for name in ("n", "s", "z")] == [
        pa.int32(),
        pa.timestamp("us", "UTC"),
        pa.float32(),
    ]
    assert rows(lake, "silver.orders")[0]["s"] == NOON


def test_what_duckdb_computes_wider_is_kept_as_delta_can(lake):
    put(lake, [{"id": 1, "x": 2}, {"id": 2, "x": 3}])
    make(lake, orders("select kind, sum(x) as x, uuid_(1) as u from (select 'a'::enum('a') as kind, * from bronze.orders) group by 1"
                      .replace("uuid_(1)", "'00000000-0000-0000-0000-000000000001'::uuid"), key="kind"))  # fmt: skip
    assert rows(lake, "silver.orders", by="kind") == [
        {"kind": "a", "x": 5, "u": "00000000-0000-0000-0000-000000000001"}
    ]
    assert lake.snapshot("silver.orders").schema.field("x").type == pa.int64()


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        (orders("select id, x\nfrom bronze.ordres"), SqlError, "no table 'bronze.ordres': did you mean 'bronze.orders'?"),
        (orders("select id, y from bronze.orders"), SqlError, "no column 'y' here"),
        (orders("select id, from where"), SqlError, "syntax error"),
        (orders("select id, x, x from bronze.orders"), DeclarationError, "gives the column 'x' twice"),
        (orders("select id, 1 as _written_at from bronze.orders"), DeclarationError, "writes the column '_written_at' itself"),
        (orders("select id, null as y from bronze.orders"), DeclarationError, "column 'y' of 'silver.orders' is null in every row"),
        (orders("select id, interval 1 day as y from bronze.orders"), DeclarationError, "is INTERVAL"),
        (orders(key="ids"), DeclarationError, "the key of 'silver.orders' names the column 'ids'"),
        (orders(time="known_at"), DeclarationError, "the time of 'silver.orders' names the column 'known_at'"),
        (orders(time="x"), DeclarationError, "time 'x' of 'silver.orders' is DOUBLE, not a moment"),
        (orders(schema=Schema(z="int32")), DeclarationError, "names the column 'z'"),
        (orders(schema=Schema(x="int32")), DataError, "1 values of column 'x' of 'silver.orders' are not INTEGER"),
        (orders(schema=Schema(name="int32")), DataError, "2 values of column 'name' of 'silver.orders' are not INTEGER"),
        (orders("select null::int as id from bronze.orders"), DataError, "key 'id' of 'silver.orders' is null in 2 rows"),
        (orders("select *, null::timestamp as at from bronze.orders", time="at"), DataError, "time 'at' of 'silver.orders' is null"),
        (orders("select 7 as id from bronze.orders"), DataError, "1 times, rows of 'silver.orders' agree in (id)"),
        (orders(expect=[expect("x > 1")]), DataError, "1 of 2 rows of 'silver.orders' break 'x > 1'"),
        (Table("silver.orders", key="id"), DeclarationError, "has no sql="),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_place_and_nothing_is_written(lake, table, error, says):
    put(lake, [{"id": 1, "x": 0.5, "name": "a"}, {"id": 2, "x": 2.0, "name": "b"}])
    with pytest.raises(error) as refused:
        make(lake, table)
    assert says in str(refused.value)
    assert "test_materialize.py:" in str(refused.value)
    assert not any(lake.exists(name) for name in ("silver.orders", "quarantine.silver_orders", "metrics.expectations"))


def test_a_column_does_not_change_its_type(lake):
    put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": -1.0}])
    version = make(lake, orders()).version
    table = orders("select id, x::varchar as x from bronze.orders", expect=[expect("id = 1", otherwise="quarantine")])
    with pytest.raises(
        DataError, match=r"column 'x' of 'silver\.orders' was float64 and would now be string"
    ) as refused:
        make(lake, table, step="next")
    assert 'schema=hr.Schema(x="float64")' in str(refused.value).replace("'", '"')
    assert lake.snapshot("silver.orders").version == version
    assert not lake.exists("quarantine.silver_orders")


def test_another_environments_table_is_read_and_stays_as_it_is(lake, tmp_path):
    put(lake, [{"id": 1, "x": 1.0}])
    make(lake, orders())
    mine = Lakehouse("me", str(tmp_path / "me"), reads={"dev": str(tmp_path / "dev")})
    made = materialize(
        mine, orders("select id, x + 1 as x from bronze.orders"), id="s", versions={"bronze.orders": None}
    )
    assert made.changed == 1
    assert rows(mine, "silver.orders") == [{"id": 1, "x": 2.0}]
    assert rows(lake, "silver.orders") == [{"id": 1, "x": 1.0}]


VALUES = st.fixed_dictionaries(
    {
        "x": st.none() | st.floats(width=32),
        "s": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=3),
        "t": st.none()
        | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
    }
)
TABLES = st.dictionaries(st.integers(0, 6), VALUES, max_size=6)
SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("t", pa.timestamp("us", "UTC"))])


@settings(max_examples=12, deadline=None)
@given(st.lists(TABLES, min_size=2, max_size=3))
def test_step_by_step_gives_what_a_full_rebuild_gives(tmp_path_factory, states):
    folder = tmp_path_factory.mktemp("lake")
    lake = Lakehouse("dev", str(folder))
    for number, state in enumerate(states):
        put(lake, [{"id": key, **values} for key, values in state.items()], schema=SCHEMA)
        make(lake, orders(), step=str(number))
        assert same(rows(lake, "silver.orders"), rows(lake, "bronze.orders"))
        assert make(lake, orders(), step="again").changed == 0


def same(one, other):
    return repr(one) == repr(other)  # NaN beside NaN


KILLED = """
import sys
from headrace.lakehouse.declarations import Table, expect
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
table = Table("silver.orders", key="id", sql="select * from bronze.orders", expect=[expect("x > 0", otherwise="quarantine")])
materialize(Lakehouse("dev", sys.argv[1]), table, id="next", versions={"bronze.orders": None})
"""


@pytest.mark.parametrize(
    "place",
    [
        "commit.computed:quarantine.silver_orders",
        "commit.committed:quarantine.silver_orders",
        "commit.committed:silver.orders",
        "commit.committed:metrics.expectations",
    ],
)
def test_killed_between_its_tables_and_run_again_it_leaves_what_an_undisturbed_run_leaves(tmp_path, place):
    table = orders(expect=[expect("x > 0", otherwise="quarantine")])
    left = []
    for name, killed in (("calm", None), ("killed", place)):
        folder = str(tmp_path / name)
        lake = Lakehouse("dev", folder)
        put(lake, [{"id": 1, "x": 1.0}, {"id": 2, "x": -1.0}])
        make(lake, table, step="first")
        put(lake, [{"id": 1, "x": -2.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}])
        if killed:
            done = subprocess.run(
                [sys.executable, "-c", KILLED, folder], env={**os.environ, VARIABLE: killed}, check=False
            )
            assert done.returncode == -signal.SIGKILL
        make(lake, table, step="next")
        tables = ("silver.orders", "quarantine.silver_orders", "metrics.expectations")
        left.append(
            [
                [lake.snapshot(each).version for each in tables],
                rows(lake, "silver.orders"),
                rows(lake, "quarantine.silver_orders"),
                rows(lake, "metrics.expectations", by="step", drop=["at"]),
            ]
        )
    assert left[0] == left[1]
