"""Each change reaches a table exactly once, and rows arrive as they were."""

import datetime as dt
import os
import signal
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from headrace.core.errors import ConflictError, DataError, DeclarationError, NotFoundError, RefusedError
from headrace.lakehouse import retries
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.rows import BatchStream
from headrace.lakehouse.writes import Append, Overwrite, Upsert

T = "silver.t"
NEW_YEAR = dt.datetime.fromisoformat("2020-01-01")
EARLY = dt.datetime.fromisoformat("2020-03-29T02:30:00.000001")  # not on the clocks of Paris


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def rows(**values):
    return pa.table(values)


def content(lake, name=T):
    return sorted(lake.snapshot(name).to_arrow().to_pylist(), key=repr)


def never(_):
    raise AssertionError("computed again")


# ---------------------------------------------------------------------------------------------- exactly once


def test_the_same_id_writes_once(lake):
    first = lake.commit(T, "a", lambda _: Append(rows(k=[1, 2])))
    again = lake.commit(T, "a", never)
    assert (again.version, again.rows_written, again.already) == (first.version, 2, True)
    assert not first.already
    assert content(lake) == [{"k": 1}, {"k": 2}]


def test_an_old_id_tells_the_version_that_it_made(lake):
    first = lake.commit(T, "a", lambda _: Append(rows(k=[1])))
    lake.commit(T, "b", lambda _: Append(rows(k=[2])))
    again = lake.commit(T, "a", never)
    assert (again.version, again.data_version) == (first.version, first.data_version)


def test_a_later_number_of_an_id_is_another_change_and_an_earlier_one_is_done(lake):
    for n in (0, 1, 5):
        assert not lake.commit(T, "spool", lambda _, n=n: Append(rows(k=[n])), n=n).already
    for n in (0, 1, 3, 5):
        assert lake.commit(T, "spool", never, n=n).already
    assert content(lake) == [{"k": 0}, {"k": 1}, {"k": 5}]


def test_a_loser_computes_again_on_what_the_winner_wrote(lake, tmp_path):
    other = Lakehouse("dev", str(tmp_path / "dev"))
    lake.commit(T, "first", lambda _: Append(rows(k=[0])))
    seen = []

    def change(snapshot):
        seen.append(snapshot.rows())
        if len(seen) == 1:
            other.commit(T, "winner", lambda _: Append(rows(k=[1])))
        return Append(rows(k=[10 + snapshot.rows()]))

    lake.commit(T, "loser", change)
    assert seen == [1, 2]
    assert content(lake) == [{"k": 0}, {"k": 12}, {"k": 1}]


@pytest.mark.parametrize("begun", [True, False], ids=["table is there", "table is new"])
@pytest.mark.parametrize(
    "make",
    [Append, Overwrite, lambda t: Upsert(t, ["k"])],
    ids=["append", "overwrite", "upsert"],
)
def test_a_zombie_and_its_heir_write_one_id_once(lake, tmp_path, make, begun):
    heir = Lakehouse("dev", str(tmp_path / "dev"))
    if begun:
        lake.commit(T, "first", lambda _: Append(rows(k=[0])))

    def zombie(_):
        assert not heir.commit(T, "step", lambda _: make(rows(k=[1, 2]))).already
        return make(rows(k=[1, 2]))

    assert lake.commit(T, "step", zombie).already
    expected = [{"k": 1}, {"k": 2}]
    assert content(lake) == ([{"k": 0}, *expected] if begun and make is not Overwrite else expected)


def test_who_begins_a_table_and_is_overtaken_does_not_write_over_the_first_rows(lake, tmp_path, monkeypatch):
    other, create = Lakehouse("dev", str(tmp_path / "dev")), DeltaTable.create

    def create_and_dawdle(url, *args, **kwargs):
        create(url, *args, **kwargs)
        other.commit(T, "overtakes", lambda _: Append(rows(k=[1])))
        return DeltaTable(url)  # as delta-rs does: at what is by then the latest version

    monkeypatch.setattr(DeltaTable, "create", create_and_dawdle)
    lake.commit(T, "begins", lambda _: Append(rows(k=[2])))
    assert content(lake) == [{"k": 1}, {"k": 2}]


def test_who_always_loses_gives_up_and_has_written_nothing(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "PATIENCE", 0.2)
    other = Lakehouse("dev", str(tmp_path / "dev"))
    lake.commit(T, "first", lambda _: Append(rows(k=[0])))

    def change(snapshot):
        other.commit(T, f"winner of {snapshot.version}", lambda _: Append(rows(k=[1])))
        return Append(rows(k=[2]))

    with pytest.raises(ConflictError, match="other writers"):
        lake.commit(T, "loser", change)
    assert {"k": 2} not in content(lake)


def test_the_snapshot_that_a_change_was_given_stays_where_it_was(lake):
    lake.commit(T, "first", lambda _: Append(rows(k=[1])))
    kept = []
    lake.commit(T, "a", lambda snapshot: kept.append(snapshot) or Upsert(rows(k=[2], v=[2]), ["k"]))
    assert (kept[0].version, kept[0].rows(), kept[0].to_arrow().to_pylist()) == (1, 1, [{"k": 1}])


def test_no_change_makes_no_version_and_leaves_the_id_unused(lake):
    lake.commit(T, "first", lambda _: Append(rows(k=[0])))
    nothing = lake.commit(T, "x", lambda _: None)
    assert (nothing.version, nothing.rows_written, nothing.already) == (lake.snapshot(T).version, 0, False)
    assert not lake.commit(T, "x", lambda _: Append(rows(k=[1]))).already


def test_no_change_to_no_table_makes_no_table(lake):
    lake.commit(T, "x", lambda snapshot: snapshot and never(snapshot))
    assert not lake.exists(T)
    assert lake.names() == []


@pytest.mark.parametrize(
    "change",
    [
        Append(pa.table({"k": pa.array([], pa.int64())})),
        Upsert(pa.table({"k": pa.array([], pa.int64())}), ["k"], rows(k=[9])),
    ],
    ids=["append of no row", "deletion of what is not there"],
)
def test_an_empty_change_counts_as_made_and_not_as_data(lake, change):
    first = lake.commit(T, "first", lambda _: Append(rows(k=[0])))
    empty = lake.commit(T, "empty", lambda _: change)
    assert (empty.rows_written, empty.already, empty.data_version) == (0, False, first.data_version)
    assert lake.commit(T, "empty", never).version == empty.version == lake.snapshot(T).version


KILLED = """
import sys, pyarrow as pa
from headrace.lakehouse.writes import Append, Upsert
from headrace.lakehouse.lakehouse import Lakehouse
lake = Lakehouse("dev", sys.argv[1])
made = pa.table({"k": [1, 2]})
lake.commit("silver.t", "step", lambda _: Append(made) if sys.argv[2] == "append" else Upsert(made, ["k"]))
"""


@pytest.mark.parametrize("begun", [True, False], ids=["table is there", "table is new"])
@pytest.mark.parametrize(("place", "done"), [("commit.computed", False), ("commit.committed", True)])
def test_kill_9_around_the_commit_loses_and_doubles_nothing(lake, tmp_path, place, done, begun):
    if begun:
        lake.commit(T, "first", lambda _: Append(rows(k=[0])))
    environ = {**os.environ, "HEADRACE_FAILPOINT": f"{place}:{T}"}
    how = "append" if begun else "upsert"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "dev"), how], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert lake.commit(T, "step", lambda _: Append(rows(k=[1, 2]))).already is done
    assert content(lake) == ([{"k": 0}] if begun else []) + [{"k": 1}, {"k": 2}]


def test_a_table_that_was_only_begun_does_not_exist_and_takes_any_columns(lake, tmp_path):
    DeltaTable.create(str(tmp_path / "dev/silver/t"), pa.schema([("k", pa.string()), ("gone", pa.int64())]))
    assert not lake.exists(T)
    assert lake.names() == []
    seen = []
    lake.commit(T, "a", lambda snapshot: seen.append(snapshot) or Append(rows(k=[1])), properties={"headrace.key": "k"})
    assert seen == [None]
    assert lake.snapshot(T).schema == pa.schema([("k", pa.int64())])
    assert lake.snapshot(T).properties == {"headrace.key": "k"}
    with pytest.raises(NotFoundError, match="version"):
        lake.snapshot(T, 0)


# ---------------------------------------------------------------------------------------------- upsert


def test_upsert_replaces_adds_and_deletes_in_one_version(lake):
    before = lake.commit(T, "a", lambda _: Append(rows(k=["a", "b", "c"], v=[1, 2, 3])))
    after = lake.commit(T, "b", lambda _: Upsert(rows(k=["b", "d"], v=[20, 40]), ["k"], delete=rows(k=["c", "zz"])))
    assert (after.version, after.rows_written) == (before.version + 1, 2)
    assert content(lake) == [{"k": "a", "v": 1}, {"k": "b", "v": 20}, {"k": "d", "v": 40}]


def test_upsert_by_several_columns_with_nulls_and_odd_names(lake):
    odd = 'the "key", it\'s'
    first = pa.table({odd: ["a", None, None], "B": [1, 2, None], "a.b": [1, 2, 3]})
    lake.commit(T, "a", lambda _: Upsert(first, [odd, "B"]))
    second = pa.table({odd: [None, None], "B": [2, None], "a.b": [20, 30]})
    lake.commit(T, "b", lambda _: Upsert(second, [odd, "B"], delete=pa.table({odd: ["a"], "B": [1], "more": [0]})))
    assert content(lake) == [{odd: None, "B": 2, "a.b": 20}, {odd: None, "B": None, "a.b": 30}]


def test_upsert_of_a_whole_row_empties_the_columns_that_it_lacks(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1, 2], v=[1, 2])))
    lake.commit(T, "b", lambda _: Upsert(rows(k=[1], w=["x"]), ["k"]))
    assert content(lake) == [{"k": 1, "v": None, "w": "x"}, {"k": 2, "v": 2, "w": None}]


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(
    "change",
    [Upsert(rows(k=[1, 1]), ["k"]), Upsert(rows(k=[None, 1, None]), ["k"]), Upsert(rows(k=[1]), ["k"], rows(k=[1]))],
    ids=["twice", "null twice", "written and deleted"],
)
def test_one_key_twice_is_refused(lake, change, begun):
    if begun:
        lake.commit(T, "a", lambda _: Append(rows(k=[1])))
    with pytest.raises(DataError, match="more than once"):
        lake.commit(T, "b", lambda _: change)
    assert content(lake) == [{"k": 1}] if begun else not lake.exists(T)


def test_a_key_column_that_is_not_there_is_named(lake):
    with pytest.raises(NotFoundError, match="did you mean 'order_id'"):
        lake.commit(T, "a", lambda _: Upsert(rows(order_id=[1]), ["order_ids"]))


# ---------------------------------------------------------------------------------------------- columns and types

EVERY = pa.table(
    {
        "i8": pa.array([-128, None], pa.int8()),
        "i16": pa.array([-32768, None], pa.int16()),
        "i32": pa.array([2**31 - 1, None], pa.int32()),
        "i64": pa.array([2**63 - 1, None], pa.int64()),
        "f32": pa.array([0.1, None], pa.float32()),
        "f64": pa.array([0.1, None], pa.float64()),
        "bool": pa.array([True, None], pa.bool_()),
        "string": pa.array(["ä😀", None], pa.string()),
        "date": pa.array([dt.date(1600, 2, 29), None], pa.date32()),
        "wall": pa.array([EARLY, None], pa.timestamp("us")),
        "utc": pa.array([EARLY, None], pa.timestamp("us", "UTC")),
        "binary": pa.array([b"\x00\xff", None], pa.binary()),
        "money": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
        "list": pa.array([[1, None], None], pa.list_(pa.int32())),
        "struct": pa.array([{"x": 1, "y": "a"}, None], pa.struct([("x", pa.int16()), ("y", pa.string())])),
    }
)


@pytest.mark.parametrize("how", ["append", "upsert", "overwrite", "merged"])
def test_every_type_comes_back_with_the_same_bytes(lake, how):
    change = {"append": Append(EVERY), "overwrite": Overwrite(EVERY)}.get(how, Upsert(EVERY, ["string"]))
    if how == "merged":
        lake.commit(T, "a", lambda _: Append(EVERY.slice(1)))
    lake.commit(T, "b", lambda _: change)
    back = lake.snapshot(T).to_arrow().sort_by("i8")
    assert back.schema.equals(pa.schema(DeltaTable(lake.snapshot(T).path).schema().to_arrow()))
    assert back.cast(EVERY.schema).equals(EVERY)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pa.array([Decimal(7)], pa.decimal128(38, 0)), pa.int64()),
        (pa.array([7], pa.uint8()), pa.int16()),
        (pa.array([7], pa.uint64()), pa.int64()),
        (pa.array([7], pa.float32()).cast(pa.float16()), pa.float32()),
        (pa.array([NEW_YEAR], pa.timestamp("ns")), pa.timestamp("us")),
        (pa.array([NEW_YEAR], pa.timestamp("s")), pa.timestamp("us")),
        (pa.array([NEW_YEAR], pa.timestamp("ms", "Europe/Paris")), pa.timestamp("us", "UTC")),
        (pa.array(["a"]).dictionary_encode(), pa.string()),
        (pa.array(["a"], pa.large_string()), pa.string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array([dt.date(2020, 1, 1)], pa.date64()), pa.date32()),
    ],
)
def test_types_that_delta_cannot_hold_become_the_next_that_it_can(lake, given, kept):
    for each in "ab":
        lake.commit(T, each, lambda _: Append(pa.table({"x": given})))
    back = lake.snapshot(T).to_arrow()
    assert back.schema.field("x").type == kept
    assert back["x"].to_pylist() == given.to_pylist() * 2


@pytest.mark.parametrize(
    "given",
    [
        pa.array([{"a": None}]),
        pa.array([[None]]),
        pa.array([dt.timedelta(1)]),
        pa.array([dt.time(1)]),
        pa.nulls(1),
        pa.array([Decimal(2**70)], pa.decimal128(38, 0)),
    ],
)
def test_what_cannot_be_kept_is_refused_by_column(lake, given):
    with pytest.raises(DataError, match="'x'"):
        lake.commit(T, "a", lambda _: Append(pa.table({"k": [1], "x": given})))
    assert not lake.exists(T)


def test_a_column_of_nothing_but_nulls_takes_the_type_that_the_table_has(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1], v=["a"])))
    lake.commit(T, "b", lambda _: Append(rows(k=[2], v=[None])))
    assert content(lake) == [{"k": 1, "v": "a"}, {"k": 2, "v": None}]


@pytest.mark.parametrize("make", [Append, Overwrite, lambda t: Upsert(t, ["k"])])
def test_a_new_column_is_added_and_old_rows_have_null_in_it(lake, make):
    lake.commit(T, "a", lambda _: Append(rows(k=[1], v=[1.5])))
    wall = pa.array([NEW_YEAR], pa.timestamp("us"))
    lake.commit(T, "b", lambda _: make(rows(k=[2], v=[2.5], new=pa.array([7], pa.int8()), wall=wall)))
    old = [] if make is Overwrite else [{"k": 1, "v": 1.5, "new": None, "wall": None}]
    assert content(lake) == [*old, {"k": 2, "v": 2.5, "new": 7, "wall": NEW_YEAR}]
    assert lake.snapshot(T).schema.names == ["k", "v", "new", "wall"]


@pytest.mark.parametrize("make", [Append, Overwrite, lambda t: Upsert(t, ["k"])])
def test_a_changed_type_is_refused_with_what_it_was_and_is(lake, make):
    lake.commit(T, "a", lambda _: Append(rows(k=[1], v=[1])))
    with pytest.raises(DataError, match="v: was int64, now string"):
        lake.commit(T, "b", lambda _: make(rows(k=[2], v=["x"])))
    assert lake.snapshot(T).version == 1


def test_overwrite_drops_the_columns_that_it_lacks(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1], v=[1])))
    lake.commit(T, "b", lambda _: Overwrite(rows(w=["x"], k=[2])))
    assert lake.snapshot(T).schema.names == ["w", "k"]
    assert content(lake) == [{"w": "x", "k": 2}]
    assert lake.snapshot(T, 1).to_arrow().to_pylist() == [{"k": 1, "v": 1}]


@pytest.mark.parametrize("names", [["k", "K"], ["k", "k"]])
def test_two_columns_of_one_name_are_refused(lake, names):
    with pytest.raises(DataError, match=r"differ only in case|two columns"):
        lake.commit(T, "a", lambda _: Append(pa.table([[1], [2]], names=names)))


def test_rows_may_stream(lake):
    def reader(bad=False):
        schema = pa.schema([("k", pa.decimal128(38, 0))])
        values = [[1, 2], [3], [2**70 if bad else 4]]
        batches = (pa.record_batch([pa.array(map(Decimal, each), schema.types[0])], schema=schema) for each in values)
        return pa.RecordBatchReader.from_batches(schema, batches)

    assert lake.commit(T, "a", lambda _: Append(reader())).rows_written == 4
    assert lake.commit(T, "b", lambda _: Upsert(reader(), ["k"])).rows_written == 4
    with pytest.raises(DataError, match="'k' does not fit int64"):
        lake.commit(T, "c", lambda _: Append(reader(bad=True)))
    assert content(lake) == [{"k": each} for each in (1, 2, 3, 4)]


def test_what_makes_the_rows_may_read_tables(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1])))

    def batches():
        for each in range(20):
            yield pa.record_batch({"k": [lake.snapshot(T).to_arrow().num_rows + each]})

    schema = pa.schema([("k", pa.int64())])
    lake.commit(T, "b", lambda _: Append(pa.RecordBatchReader.from_batches(schema, batches())))
    assert sorted(row["k"] for row in content(lake)) == [1, *range(1, 21)]


def test_rows_that_nobody_takes_are_no_longer_made():
    made = []

    def batches():
        for each in range(1000):
            made.append(each)
            yield pa.record_batch({"k": [each]})

    stream = BatchStream(batches(), pa.schema([("k", pa.int64())]))
    assert stream.reader.read_next_batch().to_pydict() == {"k": [0]}
    stream.close()
    assert len(made) < 10


def test_the_callers_own_exception_in_a_stream_is_what_the_caller_sees(lake):
    def batches():
        yield pa.record_batch({"k": [1]})
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        lake.commit(
            T, "a", lambda _: Append(pa.RecordBatchReader.from_batches(pa.schema([("k", pa.int64())]), batches()))
        )
    assert not lake.exists(T)


# ---------------------------------------------------------------------------------------------- properties, names, log


def test_what_a_change_that_came_too_late_would_have_noted_is_not_kept(lake):
    def change(snapshot):
        if snapshot is None:  # somebody else is faster, so this is computed again
            lake.commit(T, "faster", lambda _: Append(rows(k=[2])))
            return Append(rows(k=[1]), properties={"headrace.first": "yes"})
        return Append(rows(k=[1]), properties={"headrace.second": "yes"})

    lake.commit(T, "a", change, properties={"headrace.kind": "source"})
    assert lake.snapshot(T).properties == {"headrace.kind": "source", "headrace.second": "yes"}
    assert content(lake) == [{"k": 1}, {"k": 2}]


def test_properties_hold_from_the_change_on_and_are_not_data(lake):
    first = lake.commit(
        T, "a", lambda _: Append(rows(k=[1])), properties={"headrace.kind": "table", "headrace.key": '["k"]'}
    )
    assert lake.snapshot(T).properties == {"headrace.kind": "table", "headrace.key": '["k"]'}
    assert first.version == 1
    second = lake.commit(T, "b", lambda _: Upsert(rows(k=[2]), ["k"]), properties={"headrace.kind": "feature"})
    assert lake.snapshot(T, second.version).properties["headrace.kind"] == "feature"
    assert lake.snapshot(T, second.version - 1).data_version == first.version
    lake.commit(T, "a", never, properties={"headrace.kind": "old"})
    assert lake.snapshot(T).properties["headrace.kind"] == "feature"


def test_the_log_tells_what_each_version_did(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1, 2])))
    lake.commit(T, "b", lambda _: Upsert(rows(k=[2, 3]), ["k"], delete=rows(k=[1])))
    told = [(each.version, each.id, each.rows_written, each.changes_data) for each in lake.history(T)]
    assert told == [(2, "b", 2, True), (1, "a", 2, True), (0, "a", 0, True)]
    assert all(each.user for each in lake.history(T))


def test_old_versions_are_kept_forever(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1])))
    configuration = DeltaTable(lake.snapshot(T).path).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"


def test_ids_outlive_a_checkpoint(lake):
    lake.commit(T, "a", lambda _: Append(rows(k=[1])))
    DeltaTable(lake.snapshot(T).path).create_checkpoint()
    assert lake.commit(T, "a", never).already


def test_rows_of_another_writer_are_kept_and_a_change_sees_them(lake, tmp_path):
    write_deltalake(str(tmp_path / "dev/silver/t"), rows(k=[1]))
    lake.commit(T, "a", lambda snapshot: Append(rows(k=[snapshot.rows() + 1])))
    assert content(lake) == [{"k": 1}, {"k": 2}]


@pytest.mark.parametrize("name", ["t", "a.b.c", "../x.t", "a/b.t", "A.t", "a.t\n", ""])
def test_only_names_of_tables_are_written(lake, name):
    with pytest.raises(DeclarationError):
        lake.commit(name, "a", lambda _: Append(rows(k=[1])))


def test_a_link_to_another_environments_table_is_not_written(lake, tmp_path):
    prod = Lakehouse("prod", str(tmp_path / "prod"))
    prod.commit(T, "a", lambda _: Append(rows(k=[1])))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/silver").symlink_to(tmp_path / "prod/silver")
    with pytest.raises(RefusedError, match="link"):
        lake.commit(T, "b", lambda _: Append(rows(k=[2])))
    assert content(prod) == [{"k": 1}]


def test_a_table_of_another_environment_is_read_until_there_is_an_own_one(tmp_path):
    prod = Lakehouse("prod", str(tmp_path / "prod"))
    prod.commit(T, "a", lambda _: Append(rows(k=[1])))
    prod.commit("silver.u", "a", lambda _: Append(rows(k=[1])))
    dev = Lakehouse("dev", str(tmp_path / "dev"), reads={"prod": str(tmp_path / "prod")})
    assert [(each.name, each.env) for each in dev.names()] == [("silver.t", "prod"), ("silver.u", "prod")]
    assert dev.exists(T)
    assert not dev.exists(T, own=True)
    dev.commit(T, "b", lambda snapshot: Append(rows(k=[2])) if snapshot is None else never(snapshot))
    assert [(each.name, each.env) for each in dev.names()] == [("silver.t", "dev"), ("silver.u", "prod")]
    assert (content(dev), content(prod)) == ([{"k": 2}], [{"k": 1}])
    with pytest.raises(NotFoundError, match=r"silver\.u"):
        dev.optimize("silver.u")
    with pytest.raises(NotFoundError, match=r"did you mean 'silver\.u'"):
        dev.snapshot("silver.uu")
