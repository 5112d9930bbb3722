"""What every online store promises."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.online.conftest import SECRET, STORES

from headrace.core.errors import ConflictError, DataError
from headrace.features.online.base import OnlineRow, OnlineTable, PublishedRows
from headrace.features.online.opening import KINDS, open_store
from headrace.features.online.sqlite import SqliteStore

TABLE = OnlineTable(keys=(("k", "int64"),), columns=(("v", "int64"),), as_of=1, data_version=0, source="x")
LATER = replace(TABLE, as_of=2)


@pytest.fixture
def store(opened):
    return opened()


def test_nothing_is_known_of_what_was_never_published(store):
    assert store.table("t") is None
    with pytest.raises(DataError):
        store.read("t", [b"[1]"])
    store.drop("t")
    store.replace("other", TABLE, [], expected=None)
    assert store.table("t") is None
    with pytest.raises(DataError):
        store.read("t", [b"[1]"])


def test_rows_are_read_in_the_order_of_their_keys_and_a_missing_one_is_none(store):
    rows = [(b"[%d]" % number, number, b"\x00%d" % number) for number in range(2000)]
    assert store.replace("t", TABLE, rows, expected=None) == PublishedRows(rows=2000)
    keys = [b"[%d]" % number for number in (*range(1999, -1, -1), 5, 5, 2000)]
    found = store.read("t", keys)
    assert found[-1] is None
    assert found[:-1] == [OnlineRow(number, b"\x00%d" % number) for number in (int(each[1:-1]) for each in keys[:-1])]
    assert store.read("t", []) == []


def test_a_table_describes_itself_to_everybody_as_soon_as_it_was_published(opened):
    one, other = opened(), opened()
    assert other.table("t") is None
    one.replace("t", TABLE, [], expected=None)
    assert (one.table("t"), other.table("t")) == (TABLE, TABLE)
    other.update("t", LATER, [(b"[1]", 5, b"a")], expected=TABLE)
    assert (one.table("t"), other.table("t")) == (LATER, LATER)
    assert one.read("t", [b"[1]"]) == [OnlineRow(5, b"a")]


def test_an_update_is_kept_unless_it_is_older_and_again_changes_nothing(store):
    store.replace("t", TABLE, [(b"[1]", 20, b"new"), (b"[2]", 20, b"same")], expected=None)
    rows = [(b"[1]", 10, b"old"), (b"[2]", 20, b"corrected"), (b"[3]", 5, b"x")]
    assert store.update("t", LATER, rows, expected=TABLE) == PublishedRows(rows=2)
    assert store.update("t", LATER, rows, expected=LATER) == PublishedRows(rows=0)
    found = store.read("t", [b"[1]", b"[2]", b"[3]"])
    assert found == [OnlineRow(20, b"new"), OnlineRow(20, b"corrected"), OnlineRow(5, b"x")]


ROWS = st.lists(st.tuples(st.sampled_from([b"[1]", b"[2]", b"[3]"]), st.integers(-3, 3), st.binary(max_size=1)))


def latest(rows, known):
    """What a slow loop keeps."""
    kept = dict(known)
    for key, time, packed in rows:
        if key not in kept or time >= kept[key][0]:
            kept[key] = (time, packed)
    return kept


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), ROWS), max_size=4))
def test_any_row_of_writes_leaves_what_a_slow_loop_keeps(opened, writes):
    store = opened()
    store.drop("t")
    known = {}
    for whole, rows in writes:
        before = store.table("t")
        if whole or before is None:
            after = latest(rows, {})
            done = store.replace("t", TABLE, rows, expected=before)
            assert done.removed == len(known.keys() - after.keys())
        else:
            after = latest(rows, known)
            store.update("t", TABLE, rows, expected=before)
        known = after
        if store.table("t") is not None:
            found = store.read("t", [b"[1]", b"[2]", b"[3]"])
            assert [row and (row.time, row.packed) for row in found] == [
                known.get(key) for key in (b"[1]", b"[2]", b"[3]")
            ]
    store.close()


def test_replacing_removes_and_also_makes_older_but_writes_only_what_differs(store):
    store.replace("t", TABLE, [(b"[%d]" % number, 10, b"a") for number in range(5)], expected=None)
    rows = [(b"[0]", 10, b"a"), (b"[1]", 9, b"a"), (b"[2]", 10, b"b"), (b"[9]", 1, b"c")]
    assert store.replace("t", LATER, rows, expected=TABLE) == PublishedRows(rows=3, removed=2)
    assert store.read("t", [b"[%d]" % number for number in (0, 1, 2, 3, 4, 9)]) == [
        OnlineRow(10, b"a"),
        OnlineRow(9, b"a"),
        OnlineRow(10, b"b"),
        None,
        None,
        OnlineRow(1, b"c"),
    ]
    assert store.replace("t", LATER, rows, expected=LATER) == PublishedRows(rows=0, removed=0)


@pytest.mark.parametrize("expected", [None, LATER, replace(TABLE, source="y"), replace(TABLE, data_version=1)])
def test_who_computed_against_something_else_writes_nothing(store, expected):
    store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    with pytest.raises(ConflictError):
        store.replace("t", LATER, [], expected=expected)
    if expected is not None:
        with pytest.raises(ConflictError):
            store.update("t", LATER, [(b"[1]", 9, b"b")], expected=expected)
    assert store.table("t") == TABLE
    assert store.read("t", [b"[1]"]) == [OnlineRow(1, b"a")]


@pytest.mark.parametrize("published", [False, True])
def test_rows_that_fail_half_way_leave_nothing(store, published):
    if published:
        store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)

    def rows():
        yield b"[1]", 5, b"b"
        yield b"[2]", 5, b"b"
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            store.replace("t", LATER, rows(), expected=TABLE if published else None)
    assert store.table("t") == (TABLE if published else None)
    if published:
        with pytest.raises(ZeroDivisionError):
            store.update("t", LATER, rows(), expected=TABLE)
        assert store.read("t", [b"[1]", b"[2]"]) == [OnlineRow(1, b"a"), None]


def test_tables_are_apart_under_any_name_and_dropped_alone(store):
    names = ["a.t", "b.t", 'odd "name"; drop table', "online_rows"]
    for number, name in enumerate(names):
        store.replace(name, replace(TABLE, as_of=number), [(b"[1]", number, b"")], expected=None)
    store.drop(names[0])
    assert store.table(names[0]) is None
    for number, name in enumerate(names[1:], start=1):
        assert store.table(name).as_of == number
        assert store.read(name, [b"[1]"]) == [OnlineRow(number, b"")]
    store.replace(names[0], LATER, [], expected=None)
    assert store.read(names[0], [b"[1]"]) == [None]


def test_threads_have_it_at_the_same_time(store):
    store.replace("t", TABLE, [(b"[%d]" % number, 1, b"%d" % number) for number in range(100)], expected=None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: store.read("t", [b"[%d]" % number])[0].packed, range(100)))
    assert found == [b"%d" % number for number in range(100)]


def test_a_child_process_reads_and_writes_on_its_own(store):
    store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    child = os.fork()
    if child == 0:
        seen = store.read("t", [b"[1]"]) == [OnlineRow(1, b"a")]
        store.update("t", LATER, [(b"[2]", 2, b"b")], expected=store.table("t"))
        store.close()
        os._exit(0 if seen else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.table("t") == LATER
    assert store.read("t", [b"[1]", b"[2]"]) == [OnlineRow(1, b"a"), OnlineRow(2, b"b")]


# Each write says in the description, and in the row of each key, how many writes there were. Who did not see the last one
# may not write.
WRITERS = """
import os, sys
from dataclasses import replace
from pathlib import Path
from headrace.core.errors import ConflictError
from headrace.features.online.base import OnlineTable
from headrace.features.online.opening import open_store

address, processes, rounds, keys = sys.argv[1], *map(int, sys.argv[2:])
store = open_store(address, Path())

def write(number):
    while True:
        before = store.table("t")
        count = before.as_of + 1 if before else 1
        described = OnlineTable(keys=(("k", "int64"),), columns=(), as_of=count, data_version=number % 2)
        rows = [(b"[%d]" % key, count, b"%d" % count) for key in range(keys)]
        try:
            if number % 3 and before:
                store.update("t", described, rows, expected=before)
            else:
                store.replace("t", described, rows, expected=before)
            return
        except ConflictError:
            pass

for _ in range(processes):
    if os.fork() == 0:
        for number in range(rounds):
            write(number)
            os.write(1, b".")
        os._exit(0)
for _ in range(processes):
    os.wait()
"""


def whole(store, keys):
    """How many writes there were, after seeing that the description and all rows are of the same one."""
    while True:
        table = store.table("t")
        if table is None:
            return 0
        rows = store.read_of("t", table, [b"[%d]" % key for key in range(keys)])
        if rows is not None:
            assert rows == [OnlineRow(table.as_of, b"%d" % table.as_of)] * keys
            return table.as_of


def test_several_publishers_lose_no_write_and_readers_see_whole_ones(address, store):
    command = [sys.executable, "-c", WRITERS, address, "4", "15", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writers:
        seen = [0]
        while writers.poll() is None:
            seen.append(whole(store, 20))
        assert len(writers.stdout.read()) == 60
    assert seen == sorted(seen)
    assert whole(store, 20) == 60


def test_killed_at_any_moment_a_write_is_there_whole_or_not_at_all(address, store):
    chance = random.Random(11)
    done = 0
    for _ in range(6):
        command = [sys.executable, "-c", WRITERS, address, "1", "1000000", "500"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as writer:
            told = len(writer.stdout.read(chance.randrange(1, 12)))
            os.killpg(writer.pid, signal.SIGKILL)
            told += len(writer.stdout.read())
        now = whole(store, 500)
        assert done + told <= now <= done + told + 1
        done = now


# ------------------------------------------------------------------------------- one publication, and no other


def test_read_of_gives_the_rows_of_the_publication_that_is_there_and_of_no_other(store):
    assert store.read_of("t", TABLE, [b"[1]"]) is None
    store.replace("t", TABLE, [(b"[1]", 1, b"a"), (b"[2]", 2, b"b")], expected=None)
    rows = [OnlineRow(2, b"b"), None, OnlineRow(1, b"a"), OnlineRow(2, b"b")]
    assert store.read_of("t", TABLE, [b"[2]", b"[3]", b"[1]", b"[2]"]) == rows
    assert store.read_of("t", TABLE, []) == []
    for other in (LATER, replace(TABLE, source="y"), replace(TABLE, data_version=1)):
        assert store.read_of("t", other, [b"[1]"]) is None
    store.update("t", LATER, [(b"[1]", 3, b"c")], expected=TABLE)
    assert store.read_of("t", TABLE, [b"[1]"]) is None
    assert store.read_of("t", LATER, [b"[1]"]) == [OnlineRow(3, b"c")]
    store.drop("t")
    assert store.read_of("t", LATER, [b"[1]"]) is None


def test_read_of_notices_what_another_process_has_published(opened):
    one, other = opened(), opened()
    one.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    assert other.read_of("t", TABLE, [b"[1]"]) == [OnlineRow(1, b"a")]
    one.replace("t", LATER, [(b"[1]", 2, b"b")], expected=TABLE)
    assert other.read_of("t", TABLE, [b"[1]"]) is None
    assert other.read_of("t", LATER, [b"[1]"]) == [OnlineRow(2, b"b")]


# ---------------------------------------------------------------------------------------------- whose it is


def test_it_is_of_whoever_claims_it_first_until_it_is_disclaimed(opened):
    one, other = opened(), opened()
    assert (one.owner(), other.owner()) == (None, None)
    assert one.claim('{"store": "ä 1"}') == '{"store": "ä 1"}'
    assert other.claim("two") == one.claim("two") == '{"store": "ä 1"}'
    assert (one.owner(), other.owner()) == ('{"store": "ä 1"}', '{"store": "ä 1"}')
    other.disclaim()
    other.disclaim()
    assert (one.owner(), other.owner()) == (None, None)
    assert one.claim("two") == "two"
    assert other.owner() == "two"


def test_whose_it_is_and_what_is_published_do_not_touch_each_other(store):
    store.claim("one")
    assert store.table("t") is None
    store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    assert store.owner() == "one"
    store.drop("t")
    assert store.owner() == "one"
    store.replace("t", LATER, [(b"[1]", 2, b"b")], expected=None)
    store.disclaim()
    assert store.read("t", [b"[1]"]) == [OnlineRow(2, b"b")]


def test_looking_whose_it_is_makes_nothing(store, traces):
    before = traces()
    assert store.owner() is None
    store.disclaim()
    assert traces() == before


def test_of_many_who_claim_it_at_once_one_has_it_and_all_hear_whose_it_is(opened):
    shared = opened()
    stores = [shared, shared, shared, *(opened() for _ in range(3))]
    for _ in range(25):
        together = Barrier(len(stores))

        def claim(number, together=together):
            together.wait()
            return stores[number].claim(f"mark {number}")

        with ThreadPoolExecutor(len(stores)) as pool:
            marks = set(pool.map(claim, range(len(stores))))
        assert marks == {shared.owner()}
        shared.disclaim()


# ---------------------------------------------------------------------------------------------- where it is


def test_its_place_is_the_same_each_time_and_another_one_for_another_store(opened, out_of_reach, tmp_path):
    assert opened().place == opened().place
    other = open_store(out_of_reach, tmp_path).place
    assert other
    assert other != opened().place
    assert SECRET not in other


def test_its_place_is_known_before_there_is_anything(store, traces):
    before = traces()
    assert store.place
    assert traces() == before


CALLS = {
    "table": lambda store: store.table("t"),
    "read": lambda store: store.read("t", [b"[1]"]),
    "read_of": lambda store: store.read_of("t", TABLE, [b"[1]"]),
    "replace": lambda store: store.replace("t", TABLE, [], expected=None),
    "update": lambda store: store.update("t", LATER, [], expected=TABLE),
    "owner": lambda store: store.owner(),
    "claim": lambda store: store.claim("one"),
    "disclaim": lambda store: store.disclaim(),
    "drop": lambda store: store.drop("t"),
}


@pytest.mark.parametrize("call", CALLS)
def test_out_of_reach_is_an_error_that_says_where_and_shows_no_secret(call, out_of_reach, tmp_path):
    store = open_store(out_of_reach, tmp_path)
    with pytest.raises(DataError) as error:
        CALLS[call](store)
    shown = f"{error.value} {error.value!r} {store!r}"
    assert SECRET not in shown
    assert store.place.partition(" ")[0] in shown
    store.close()


def test_every_kind_of_store_is_in_this_suite():
    assert {KINDS[scheme] for scheme in STORES.values()} == set(KINDS.values())


# ---------------------------------------------------------------------------------------------- several threads


def test_threads_write_and_read_whole_publications_through_one_store(store):
    keys, each, writers = 20, 12, 4

    def write(_):
        for _ in range(each):
            while True:
                before = store.table("t")
                count = before.as_of + 1 if before else 1
                rows = [(b"[%d]" % key, count, b"%d" % count) for key in range(keys)]
                described = replace(TABLE, as_of=count)
                try:
                    if before is None or count % 3 == 0:
                        store.replace("t", described, rows, expected=before)
                    else:
                        store.update("t", described, rows, expected=before)
                    break
                except ConflictError:
                    pass
        store.close()

    def read(_):
        seen = [0]
        while seen[-1] < each * writers:
            seen.append(whole(store, keys))
        store.close()
        return seen

    with ThreadPoolExecutor(writers + 2) as pool:
        readers = pool.map(read, range(2))
        list(pool.map(write, range(writers)))
        for seen in readers:
            assert seen == sorted(seen)
    assert store.table("t").as_of == each * writers


def test_a_thread_sees_what_another_one_has_written_through_the_same_store(store):
    with ThreadPoolExecutor(1) as other:
        assert other.submit(store.table, "t").result() is None
        store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
        assert other.submit(store.table, "t").result() == TABLE
        assert other.submit(store.read_of, "t", TABLE, [b"[1]"]).result() == [OnlineRow(1, b"a")]
        other.submit(store.update, "t", LATER, [(b"[1]", 2, b"b")], expected=TABLE).result()
        assert store.table("t") == LATER
        assert store.read_of("t", LATER, [b"[1]"]) == [OnlineRow(2, b"b")]
        other.submit(store.close).result()


def test_a_thread_that_closes_lets_go_of_its_own_alone_and_may_go_on(store):
    store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    going, closed = Event(), Event()

    def rows():
        yield b"[1]", 2, b"b"
        going.set()
        assert closed.wait(30)
        yield b"[2]", 2, b"c"

    with ThreadPoolExecutor(1) as other:
        written = other.submit(store.update, "t", LATER, rows(), expected=TABLE)
        assert going.wait(30)
        store.close()
        closed.set()
        assert written.result() == PublishedRows(rows=2)
        other.submit(store.close).result()
    assert store.read("t", [b"[1]", b"[2]"]) == [OnlineRow(2, b"b"), OnlineRow(2, b"c")]
    store.close()
    store.close()
    assert store.table("t") == LATER


# ---------------------------------------------------------------------------------------------- one file


def test_a_file_that_was_removed_and_made_again_is_noticed(tmp_path):
    store = SqliteStore(tmp_path / "online.db")
    store.replace("t", TABLE, [(b"[1]", 1, b"a")], expected=None)
    store.file.unlink()
    assert store.table("t") is None
    SqliteStore(store.file).replace("t", LATER, [(b"[1]", 2, b"b")], expected=None)
    assert store.table("t") == LATER
    assert store.read("t", [b"[1]"]) == [OnlineRow(2, b"b")]


def test_a_file_that_is_no_store_is_told(tmp_path):
    file = tmp_path / "online.db"
    file.write_text("something else that is long enough to be looked at")
    with pytest.raises(DataError, match="not a database"):
        SqliteStore(file).table("t")
    with pytest.raises(DataError, match="not a database"):
        SqliteStore(file).replace("t", TABLE, [], expected=None)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        SqliteStore(tmp_path / "file" / "online.db").replace("t", TABLE, [], expected=None)


def test_a_writer_that_does_not_come_to_an_end_is_a_conflict(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.features.online.sqlite.PATIENCE", 0.01)
    store = SqliteStore(tmp_path / "online.db")
    store.replace("t", TABLE, [], expected=None)
    other = sqlite3.connect(store.file, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(ConflictError, match="by somebody else"):
        store.update("t", LATER, [], expected=TABLE)
    assert store.table("t") == TABLE
    other.close()
    store.update("t", LATER, [], expected=TABLE)
