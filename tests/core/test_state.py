"""The state database on real files: one writer at a time, nothing lost, nothing half-written."""

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import StatementError
from tests.support.states import new_state

from headrace.core import state as module
from headrace.core.errors import ConfigError, ConflictError
from headrace.core.state import Instant, State

METADATA = MetaData()
COUNTERS = Table("counters", METADATA, Column("name", String, primary_key=True), Column("value", Integer))
MOMENTS = Table("moments", METADATA, Column("number", Integer, primary_key=True), Column("at", Instant))

COUNTING = """
import sys
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update
from headrace.core.failpoints import reach
from headrace.core.state import State

COUNTERS = Table("counters", MetaData(), Column("name", String, primary_key=True), Column("value", Integer))
print("ready", flush=True)
sys.stdin.readline()
state = State(sys.argv[1])
state.create(COUNTERS)
for _ in range(int(sys.argv[2])):
    with state.begin() as connection:
        value = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == "a")).scalar()
        if value is None:
            connection.execute(insert(COUNTERS).values(name="a", value=1))
        else:
            connection.execute(update(COUNTERS).values(value=value + 1))
        reach("counted:a")
state.close()
"""


@pytest.fixture
def url(state_server, tmp_path):
    return new_state(state_server, tmp_path / "new" / "folder")


@pytest.fixture
def state(url):
    opened = State(url)
    opened.create(COUNTERS, MOMENTS)
    yield opened
    opened.close()


def start(url, times, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", COUNTING, url, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def go(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    codes = []
    for process in processes:
        process.communicate()
        codes.append(process.returncode)
    return codes


def value(state):
    with state.read() as connection:
        return connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == "a")).scalar()


def test_processes_that_open_a_new_database_at_once_all_find_it_made_and_lose_no_update(url):
    assert go([start(url, 25) for _ in range(4)]) == [0, 0, 0, 0]
    state = State(url)
    assert value(state) == 100
    state.close()


def test_a_transaction_of_a_process_killed_inside_it_never_was(url, state):
    assert go([start(url, 1, HEADRACE_FAILPOINT="counted:a")]) == [-9]
    assert value(state) is None
    assert go([start(url, 1)]) == [0]
    assert value(state) == 1


def test_an_error_rolls_the_transaction_back_and_the_next_one_begins(state):
    with pytest.raises(ZeroDivisionError), state.begin() as connection:  # noqa: PT012
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        raise ZeroDivisionError
    assert value(state) is None
    with state.begin() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=2))
    assert value(state) == 2


def test_a_reader_sees_one_moment_and_waits_for_no_writer(state):
    with state.begin() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=1))
    with state.read() as reader:
        wanted = select(COUNTERS.c.value)
        assert reader.execute(wanted).scalar() == 1
        with state.begin() as writer:
            writer.execute(update(COUNTERS).values(value=2))
            assert reader.execute(wanted).scalar() == 1
        assert reader.execute(wanted).scalar() == 1
    assert value(state) == 2


def test_what_is_written_through_a_reader_is_not_kept(state):
    with state.read() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=1))
    assert value(state) is None


def test_begin_inside_begin_is_refused_at_once_but_not_in_another_thread(state):
    with pytest.raises(RuntimeError, match="inside begin"), state.begin(), state.begin():
        pass

    def add():
        with state.begin() as connection:
            connection.execute(insert(COUNTERS).values(name="a", value=3))

    with state.begin():
        thread = Thread(target=add)
        thread.start()
    thread.join()
    assert value(state) == 3


def test_a_writer_that_waits_too_long_is_told_that_nothing_was_written(url, state, monkeypatch):
    with state.begin():
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        other = State(url)
        with pytest.raises(ConflictError, match=r"written by somebody else|another session"), other.begin():
            pass
    other.close()


def test_the_first_opener_waits_for_another_first_opener_as_sqlite_itself_does_not(tmp_path, monkeypatch):
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("create table other (a)")
    other.execute("begin immediate")
    monkeypatch.setattr(module.time, "sleep", lambda _: other.execute("rollback") if other.in_transaction else None)
    state = State(f"sqlite:///{tmp_path}/state.db")
    state.create(COUNTERS)
    assert not other.in_transaction
    with state.read() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
    state.close()
    other.close()


def test_create_leaves_existing_tables_and_their_rows(state):
    with state.begin() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=1))
    state.create(COUNTERS, MOMENTS)
    assert value(state) == 1


def test_a_closed_state_opens_again(state):
    state.close()
    assert value(state) is None


INSTANTS = st.datetimes(
    min_value=datetime(1700, 1, 1),  # noqa: DTZ001
    max_value=datetime(2300, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@pytest.fixture(scope="module")
def moments(state_server, tmp_path_factory):
    opened = State(new_state(state_server, tmp_path_factory.mktemp("moments")))
    opened.create(MOMENTS)
    yield opened
    opened.close()


@given(st.lists(INSTANTS, min_size=2, max_size=4))
def test_instants_come_back_exactly_as_utc_and_sort_as_they_are(moments, instants):
    with moments.begin() as connection:
        connection.execute(MOMENTS.delete())
        connection.execute(insert(MOMENTS), [{"at": at} for at in instants])
    with moments.read() as connection:
        back = connection.execute(select(MOMENTS.c.at).order_by(MOMENTS.c.at)).scalars().all()
        first = connection.execute(select(MOMENTS.c.at).where(MOMENTS.c.at <= min(instants))).scalars().all()
    assert back == sorted(instants)
    assert all(at.tzinfo is UTC for at in back)
    assert set(first) == {min(instants)}


def test_an_instant_without_a_zone_is_refused_and_none_stays_none(state):
    with pytest.raises(StatementError, match="no time zone"), state.begin() as connection:
        connection.execute(insert(MOMENTS).values(at=datetime(2013, 1, 1)))  # noqa: DTZ001
    with state.begin() as connection:
        connection.execute(insert(MOMENTS).values(at=None))
        assert connection.execute(select(MOMENTS.c.at)).scalar_one() is None


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://host/name", ""])
def test_a_url_that_is_no_database_says_what_to_write(url):
    with pytest.raises(ConfigError, match=r"sqlite:///path|postgresql"):
        State(url)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "state.db").write_text("a letter to my aunt, which is longer than a header of one hundred bytes" * 9)
    state = State(f"sqlite:///{tmp_path}/state.db")
    with pytest.raises(ConfigError, match=r"state\.db is not a state database"):
        state.create(COUNTERS)
    state.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/state\.db cannot be made"):
        State(f"sqlite:///{tmp_path}/file/state.db")


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "state.db").mkdir()
    state = State(f"sqlite:///{tmp_path}/state.db")
    with pytest.raises(ConfigError, match="cannot be opened"), state.read():
        pass
    state.close()
