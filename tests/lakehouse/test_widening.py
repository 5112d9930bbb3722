"""A column takes a wider type where its values ask for it: the right values, in one version, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.core.failpoints import VARIABLE
from headrace.core.schema import Schema
from headrace.features.declarations import FeatureTable
from headrace.lakehouse import changes
from headrace.lakehouse.columns import cast, common, widens
from headrace.lakehouse.declarations import Source, Table, expect
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.source import load
from headrace.lakehouse.writes import Append, Overwrite, Upsert

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
WALL = pa.timestamp("us")
WIDENINGS = [
    (pa.int8(), pa.int16(), -128, 300),
    (pa.int16(), pa.int32(), 32767, 40_000),
    (pa.int32(), pa.int64(), -(2**31), 2**40),
    (pa.int8(), pa.float64(), 127, 0.5),
    (pa.int32(), pa.float64(), 2**31 - 1, 10.5),
    (pa.int64(), pa.float64(), 2**53, 10.5),
    (pa.int64(), pa.float64(), -(2**53), -0.25),
    (pa.float32(), pa.float64(), 0.5, 0.1),
    (pa.date32(), WALL, date(1969, 12, 31), datetime(2024, 1, 5, 23, 59, 59)),  # noqa: DTZ001
    (pa.decimal128(5, 2), pa.decimal128(9, 4), Decimal("999.99"), Decimal("12345.6789")),
    (pa.decimal128(5, 2), pa.decimal128(7, 2), Decimal("-999.99"), Decimal("12345.67")),
    (pa.int32(), pa.decimal128(12, 2), 2**31 - 1, Decimal("0.25")),
]
NARROW = [
    (pa.int64(), pa.int32()),
    (pa.float64(), pa.int64()),
    (pa.float64(), pa.float32()),
    (pa.int64(), pa.float32()),
    (WALL, pa.date32()),
    (WALL, pa.timestamp("us", "UTC")),
    (pa.timestamp("us", "UTC"), WALL),
    (pa.decimal128(9, 4), pa.decimal128(9, 2)),
    (pa.decimal128(9, 2), pa.decimal128(9, 4)),
    (pa.decimal128(9, 2), pa.float64()),
    (pa.int64(), pa.decimal128(18, 2)),
    (pa.string(), pa.int64()),
    (pa.int64(), pa.string()),
    (pa.bool_(), pa.int8()),
    (pa.struct([("a", pa.int64()), ("b", pa.int64())]), pa.struct([("a", pa.int64())])),
]


def as_written(kind, value):
    """A value of one type as another type holds it."""
    if kind == WALL and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001
    if pa.types.is_decimal(kind):
        return Decimal(value)
    return float(value) if pa.types.is_floating(kind) else value


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def table(kind, values, *, first=1):
    ids = pa.array(range(first, first + len(values)), pa.int64())
    return pa.table({"id": ids, "x": pa.array(values, kind)})


def values(lake, name):
    found = lake.snapshot(name).to_arrow().sort_by("id")
    return dict(zip(found["id"].to_pylist(), found["x"].to_pylist(), strict=True))


def chain(lake, folder, *, sql="select * from bronze.t", **options):
    """Bronze, a table of it, a feature table of that; gives what each step did."""
    loaded = load(lake, Source("bronze.t", files="data/*.parquet", **options), folder)
    silver = Table("silver.t", key="id", sql=sql)
    made = materialize(lake, silver, id="silver", versions={"bronze.t": None})
    return loaded, made, features(lake)


def features(lake, hour=0):
    gold = FeatureTable(
        "gold.t", key="id", time="at", sql="select id, timestamptz '2024-01-01 00:00:00Z' as at, x from silver.t"
    )
    return materialize(lake, gold, id="gold", versions={"silver.t": None}, stamp=NOON + timedelta(hours=hour))


# ---------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(("was", "now", "old", "new"), WIDENINGS)
def test_a_wider_type_holds_each_value(was, now, old, new):
    assert widens(was, now)
    assert not widens(now, was)
    assert cast(pa.array([old, None], was), now).to_pylist() == [as_written(now, old), None]


@pytest.mark.parametrize(("was", "now"), NARROW)
def test_a_type_that_would_lose_values_is_not_wider(was, now):
    assert not widens(was, now)


def test_a_struct_widens_by_its_fields():
    was = pa.struct([("a", pa.int64()), ("s", pa.struct([("d", pa.date32())]))])
    now = pa.struct([("a", pa.float64()), ("s", pa.struct([("d", WALL), ("e", pa.string())])), ("b", pa.bool_())])
    rows = [{"a": 1, "s": {"d": date(2024, 1, 5)}}, None, {"a": None, "s": None}]

    assert widens(was, now)
    assert cast(pa.array(rows, was), now).to_pylist() == [
        {"a": 1.0, "s": {"d": datetime(2024, 1, 5), "e": None}, "b": None},  # noqa: DTZ001
        None,
        {"a": None, "s": None, "b": None},
    ]


KINDS = st.recursive(
    st.sampled_from(sorted({each for row in WIDENINGS for each in row[:2]} | {pa.string(), pa.bool_()}, key=str)),
    lambda inner: (
        st.builds(lambda a, b: pa.struct([("a", a), ("b", b)]), inner, inner)
        | st.builds(lambda a: pa.struct([("a", a)]), inner)
        | st.builds(pa.list_, inner)
    ),
    max_leaves=4,
)


@given(KINDS, KINDS)
def test_the_common_type_of_two_is_the_one_type_or_wider_than_each(one, other):
    both = common(one, other)

    assert both == common(other, one) or pa.types.is_nested(both)  # fields stand in the order of the first
    if both is not None:
        assert all(each == both or widens(each, both) for each in (one, other))
        assert common(both, one) == both


# ---------------------------------------------------------------------------------------------- the chain


@pytest.mark.parametrize(("was", "now", "old", "new"), WIDENINGS)
def test_a_wider_file_widens_the_whole_chain(lake, tmp_path, was, now, old, new):
    (tmp_path / "data").mkdir()
    pq.write_table(table(was, [old, None]), tmp_path / "data" / "01.parquet")
    chain(lake, tmp_path)
    pq.write_table(table(now, [new], first=3), tmp_path / "data" / "02.parquet")
    loaded, made, gold = chain(lake, tmp_path)

    expected = {1: as_written(now, old), 2: None, 3: new}
    for each in (loaded, made, gold):
        assert len(each.widened) == 1
        assert each.widened[0].startswith("x: ")
    for name in ("bronze.t", "silver.t", "gold.t"):
        assert lake.snapshot(name).schema.field("x").type == now
        assert values(lake, name) == expected
    again = chain(lake, tmp_path)
    assert [each.version for each in again] == [loaded.version, made.version, gold.version]


@settings(max_examples=15)
@given(
    st.lists(
        st.lists(st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_files_of_whole_and_broken_numbers_in_any_order_give_what_they_say(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("files")
    (folder / "data").mkdir()
    lake, expected = Lakehouse("dev", str(folder / "dev")), {}
    for number, each in enumerate(files):
        kind = pa.int64() if all(isinstance(value, int) for value in each) else pa.float64()
        pq.write_table(table(kind, each, first=number * 10), folder / "data" / f"{number}.parquet")
        expected |= {number * 10 + place: value for place, value in enumerate(each)}
        load(lake, Source("bronze.t", files="data/*.parquet"), folder)

    assert values(lake, "bronze.t") == expected


def test_rows_whose_type_alone_changed_keep_when_they_were_written(lake):
    silver = Table("silver.t", key="id", sql="select * from bronze.t")
    for number, (kind, rows) in enumerate([(pa.int64(), [1, 2]), (pa.float64(), [1.0, 2.5, 3.0])]):
        lake.commit("bronze.t", str(number), lambda _, kind=kind, rows=rows: Overwrite(table(kind, rows)))
        materialize(lake, silver, id="silver", versions={"bronze.t": None})
        features(lake, hour=number)

    found = lake.snapshot("gold.t").to_arrow().sort_by("id").select(["id", "x", "_written_at"]).to_pylist()
    assert [(row["x"], row["_written_at"].hour) for row in found] == [(1.0, 12), (2.5, 13), (3.0, 13)]


@pytest.mark.parametrize("held", [2**53 + 1, 2**53 + 2, -(2**62)])
def test_a_value_that_the_wider_type_does_not_hold_is_replaced(lake, held):
    lake.commit("bronze.t", "1", lambda _: Overwrite(table(pa.int64(), [held, 2, None, held, 5])))
    sql = "select id, {} as x from bronze.t where id <> {}"
    on = {"key": "id", "change_feed": True}
    materialize(lake, Table("silver.t", sql=sql.format("x", 0), **on), id="a", versions={"bronze.t": None})
    features(lake)
    new = "if(id = 2, 2::double, x * 0.5e0)"
    made = materialize(lake, Table("silver.t", sql=sql.format(new, 4), **on), id="b", versions={"bronze.t": None})
    gold = features(lake, hour=1)

    expected = {1: held / 2, 2: 2.0, 3: None, 5: 2.5}
    assert values(lake, "silver.t") == values(lake, "gold.t") == expected
    for each in (made, gold):
        assert (each.widened, each.changed, each.deleted) == (("x: int64 → float64",), 2, 1)
    stamps = lake.snapshot("gold.t").to_arrow().sort_by("id")["_written_at"].to_pylist()
    assert [stamp.hour - 12 for stamp in stamps] == [1, 0, 0, 1]
    feed = changes.added(lake.snapshot("silver.t"), made.version).sort_by("id").to_pylist()
    assert feed == [{"id": 1, "x": held / 2}, {"id": 5, "x": 2.5}]


def test_the_same_number_that_a_wider_type_does_not_hold_is_replaced_by_the_one_that_it_holds(lake):
    lake.commit("bronze.t", "1", lambda _: Overwrite(table(pa.int64(), [2**53 + 1])))
    for number, sql in enumerate(("x", "x::double as x", "x::double as x, 'a' as new")):
        silver = FeatureTable(
            "silver.t",
            key="id",
            time="at",
            sql=f"select id, timestamptz '2024-01-01 00:00Z' as at, {sql} from bronze.t",
        )
        materialize(lake, silver, id=str(number), versions={"bronze.t": None}, stamp=NOON)
        assert values(lake, "silver.t") == {1: 2.0**53 if number else 2**53 + 1}


def test_columns_change_while_a_value_does_not_fit_the_wider_type(lake):
    lake.commit("bronze.t", "1", lambda _: Overwrite(table(pa.int64(), [2**53 + 1, 2])))
    for number, sql in enumerate(("x", "x * 1e0 as x, null::int as new")):
        gold = FeatureTable(
            "gold.t", key="id", time="at", sql=f"select id, timestamptz '2024-01-01 00:00Z' as at, {sql} from bronze.t"
        )
        materialize(lake, gold, id=str(number), versions={"bronze.t": None}, stamp=NOON + timedelta(hours=number))

    assert values(lake, "gold.t") == {1: 2.0**53, 2: 2.0}
    stamps = lake.snapshot("gold.t").to_arrow().sort_by("id")["_written_at"].to_pylist()
    assert [stamp.hour for stamp in stamps] == [13, 12]


def test_only_the_type_of_a_select_changes(lake):
    lake.commit("bronze.t", "1", lambda _: Overwrite(table(pa.int64(), [1, 2])))
    first = materialize(
        lake, Table("silver.t", key="id", sql="select * from bronze.t"), id="a", versions={"bronze.t": None}
    )
    wider = Table("silver.t", key="id", sql="select id, x::double as x from bronze.t")
    second = materialize(lake, wider, id="b", versions={"bronze.t": None})
    third = materialize(lake, wider, id="c", versions={"bronze.t": None})

    assert (second.widened, second.changed, second.version - first.version) == (("x: int64 → float64",), 0, 1)
    assert third.version == second.version
    back = materialize(
        lake, Table("silver.t", key="id", sql="select * from bronze.t"), id="d", versions={"bronze.t": None}
    )
    assert back.version == second.version  # narrower values fit the wider type


def test_a_declared_type_widens_without_a_new_file(lake, tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(table(pa.int64(), [1, 2]), tmp_path / "data" / "01.parquet")
    load(lake, Source("bronze.t", files="data/*.parquet"), tmp_path)
    declared = Source("bronze.t", files="data/*.parquet", schema=Schema(x="float64"))
    widened = load(lake, declared, tmp_path)
    again = load(lake, declared, tmp_path)

    assert widened.widened == ("x: int64 → float64",)
    assert (again.version, again.widened[1:]) == (widened.version, ())
    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.0}


def test_a_file_that_changed_and_widens_replaces_its_rows(lake, tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(table(pa.int64(), [1]), tmp_path / "data" / "01.parquet")
    pq.write_table(table(pa.int64(), [2], first=2), tmp_path / "data" / "02.parquet")
    source = Source("bronze.t", files="data/*.parquet")
    load(lake, source, tmp_path)
    pq.write_table(table(pa.float64(), [2.5], first=2), tmp_path / "data" / "02.parquet")

    assert load(lake, source, tmp_path).widened == ("x: int64 → float64",)
    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.5}


def test_what_a_function_yields_widens(lake, tmp_path):
    for rows, expected in ((table(pa.int32(), [1]), ()), (table(pa.int64(), [2**40]), ("x: int32 → int64",))):
        loaded = load(lake, Source("bronze.t", read=lambda rows=rows: rows), tmp_path)
        assert loaded.widened == expected
    assert values(lake, "bronze.t") == {1: 2**40}


def test_rows_set_apart_widen_too(lake):
    silver = Table("silver.t", key="id", sql="select * from bronze.t", expect=[expect("x > 0", otherwise="quarantine")])
    for kind, rows in ((pa.int64(), [-1, 2]), (pa.float64(), [-1.5, 2.5])):
        lake.commit("bronze.t", str(kind), lambda _, kind=kind, rows=rows: Overwrite(table(kind, rows)))
        materialize(lake, silver, id="silver", versions={"bronze.t": None})

    assert values(lake, "quarantine.silver_t") == {1: -1.5}
    assert values(lake, "silver.t") == {2: 2.5}


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("old", [2**53 + 1, -(2**53) - 1, 2**62])
def test_a_whole_number_that_a_decimal_does_not_hold_is_refused(lake, tmp_path, old):
    (tmp_path / "data").mkdir()
    pq.write_table(table(pa.int64(), [old]), tmp_path / "data" / "01.parquet")
    source = Source("bronze.t", files="data/*.parquet")
    version = load(lake, source, tmp_path).version
    pq.write_table(table(pa.float64(), [0.5], first=2), tmp_path / "data" / "02.parquet")
    with pytest.raises(DataError, match=r"2\^53"):
        load(lake, source, tmp_path)

    assert lake.snapshot("bronze.t").version == version
    assert values(lake, "bronze.t") == {1: old}


@pytest.mark.parametrize(
    ("was", "now", "refused"),
    [
        (pa.int32(), pa.int64(), False),
        (pa.int64(), pa.float64(), True),
        (pa.date32(), WALL, True),
        (pa.float32(), pa.float64(), True),
        (pa.decimal128(5, 2), pa.decimal128(7, 3), True),
    ],
)
def test_a_key_keeps_its_text(lake, was, now, refused):
    plain = {"date32[day]": date(2024, 1, 5), "timestamp[us]": datetime(2024, 1, 5)}  # noqa: DTZ001
    silver = Table("silver.t", key="x", sql="select * from bronze.t")
    for kind in (was, now):
        one = Decimal(1) if pa.types.is_decimal(kind) else plain.get(str(kind), 1)
        name = f"bronze.{'t' if kind == was else 'wider'}"
        lake.commit(name, "1", lambda _, kind=kind, one=one: Overwrite(table(kind, [one])))
    materialize(lake, silver, id="a", versions={"bronze.t": None})
    wider = Table("silver.t", key="x", sql="select * from bronze.wider")
    if refused:
        with pytest.raises(DataError, match="key 'x'") as error:
            materialize(lake, wider, id="b", versions={"bronze.wider": None})
        assert "headrace table drop silver.t" in str(error.value)
    else:
        assert materialize(lake, wider, id="b", versions={"bronze.wider": None}).widened


def test_text_in_the_place_of_numbers_names_what_to_do(lake):
    lake.commit("bronze.t", "1", lambda _: Overwrite(table(pa.int64(), [1])))
    materialize(lake, Table("silver.t", key="id", sql="select * from bronze.t"), id="a", versions={"bronze.t": None})
    text = Table("silver.t", key="id", sql="select id, x::varchar as x from bronze.t")
    with pytest.raises(DataError) as error:
        materialize(lake, text, id="b", versions={"bronze.t": None})

    assert "headrace table drop silver.t" in str(error.value)


# ---------------------------------------------------------------------------------------------- one version, once


@pytest.mark.parametrize("change", [Append, lambda rows: Upsert(rows, key=("id",))])
def test_the_rewrite_is_one_version_and_once(lake, change):
    lake.commit("bronze.t", "1", lambda _: Append(table(pa.int64(), [1, 2])))
    first, second = (lake.commit("bronze.t", "2", lambda _: change(table(pa.float64(), [3.5], first=3))) for _ in "ab")

    assert (first.version, first.already, second.already) == (second.version, False, True)
    assert first.widened == second.widened == ("x: int64 → float64",)
    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.0, 3: 3.5}


def test_an_upsert_that_widens_replaces_and_deletes_by_key(lake):
    rows = pa.table({"id": pa.array([1, 2, None, 4]), "x": pa.array([1, 2, 3, 4])})
    lake.commit("bronze.t", "1", lambda _: Append(rows))
    new = pa.table({"id": pa.array([2, None]), "x": pa.array([2.5, 3.5])})
    gone = pa.table({"id": pa.array([4])})
    lake.commit("bronze.t", "2", lambda _: Upsert(new, key=("id",), delete=gone))

    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.5, None: 3.5}


KILLED = """
import sys
import pyarrow as pa
from headrace.lakehouse.writes import Append
from headrace.lakehouse.lakehouse import Lakehouse
rows = pa.table({"id": pa.array([3]), "x": pa.array([3.5])})
Lakehouse("dev", sys.argv[1]).commit("bronze.t", "2", lambda _: Append(rows))
"""


@pytest.mark.parametrize("place", ["commit.computed:bronze.t", "commit.committed:bronze.t"])
def test_killed_within_the_rewrite_it_comes_to_the_same(lake, tmp_path, place):
    lake.commit("bronze.t", "1", lambda _: Append(table(pa.int64(), [1, 2])))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "dev")]
    killed = subprocess.run(command, env={**os.environ, VARIABLE: place}, check=False)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run(command, check=True)

    assert lake.snapshot("bronze.t").version == 2
    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.0, 3: 3.5}


def test_many_writers_of_many_types_at_once_lose_nothing(lake):
    lake.commit("bronze.t", "0", lambda _: Append(table(pa.int8(), [0], first=0)))
    kinds = [pa.int8(), pa.int32(), pa.int64(), pa.float64()] * 3

    def write(number, kind):
        lake.commit("bronze.t", f"w{number}", lambda _: Append(table(kind, [number], first=number)))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, number, kind) for number, kind in enumerate(kinds, 1)]:
            done.result()

    assert lake.snapshot("bronze.t").schema.field("x").type == pa.float64()
    assert values(lake, "bronze.t") == {number: float(number) for number in range(len(kinds) + 1)}


def test_two_loads_at_once_of_the_wider_file_load_it_once(lake, tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(table(pa.int64(), [1]), tmp_path / "data" / "01.parquet")
    source = Source("bronze.t", files="data/*.parquet")
    load(lake, source, tmp_path)
    pq.write_table(table(pa.float64(), [2.5], first=2), tmp_path / "data" / "02.parquet")
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(load, lake, source, tmp_path) for _ in range(2)]
        assert {each.result().version for each in done} == {lake.snapshot("bronze.t").version}

    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.5}


# ---------------------------------------------------------------------------------------------- who reads it


def test_a_change_feed_tells_the_rows_that_changed_and_not_the_rewrite(lake):
    on = {changes.FEED: "true"}
    lake.commit("silver.t", "1", lambda _: Append(table(pa.int64(), [1, 2, 2])), properties=on)
    wider = pa.table({"id": pa.array([2, 4]), "x": pa.array([2.5, 4.0]), "new": pa.array(["a", None])})
    made = lake.commit("silver.t", "2", lambda _: Upsert(wider, key=("id",)))
    lake.commit("silver.t", "3", lambda _: Upsert(table(pa.int64(), [5], first=5), key=("id",)))
    latest = lake.snapshot("silver.t")

    assert changes.added(latest, made.version).to_pylist() == [
        {"id": 2, "x": 2.5, "new": "a"},
        {"id": 4, "x": 4.0, "new": None},
    ]
    assert [row["id"] for row in changes.added(latest, made.version - 1).to_pylist()] == [1, 2, 3]
    assert [row["id"] for row in changes.added(latest, latest.version).to_pylist()] == [5]


def test_an_older_version_keeps_its_types(lake):
    lake.commit("bronze.t", "1", lambda _: Append(table(pa.int64(), [1])))
    before = lake.snapshot("bronze.t").version
    lake.commit("bronze.t", "2", lambda _: Append(table(pa.float64(), [2.5], first=2)))

    assert lake.snapshot("bronze.t", before).to_arrow().equals(table(pa.int64(), [1]))
    lake.restore("bronze.t", before)
    assert lake.snapshot("bronze.t").to_arrow().equals(table(pa.int64(), [1]))
    lake.commit("bronze.t", "2", lambda _: Append(table(pa.float64(), [2.5], first=2)))
    assert values(lake, "bronze.t") == {1: 1.0, 2: 2.5}
