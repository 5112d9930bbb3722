"""What another session holds is waited for as long as is promised, wherever a transaction meets it, and nothing is written."""

import time

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from tests.support.states import new_state

from headrace.access.audit import Audit, record
from headrace.core import state as module
from headrace.core.errors import ConflictError
from headrace.core.state import State

COUNTERS = Table("counters", MetaData(), Column("name", String, primary_key=True), Column("value", Integer))
VALUES = select(COUNTERS.c.value)


@pytest.fixture
def state(state_url):
    opened = State(state_url)
    opened.create(COUNTERS)
    yield opened
    opened.close()


@pytest.fixture
def server(postgres_server, tmp_path):
    opened = State(new_state(postgres_server, tmp_path))
    opened.create(COUNTERS)
    yield opened
    opened.close()


@pytest.fixture
def impatient(monkeypatch):
    """Opens another `State` on the same database, which waits for 50 ms."""
    opened = []

    def open_(state):
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        opened.append(State(state.engine.url.render_as_string(hide_password=False)))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def test_a_lock_that_is_met_inside_a_transaction_is_a_conflict_too(state, impatient):
    with state.begin() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        with pytest.raises(ConflictError, match="Nothing was written"), impatient(state).read() as other:
            other.execute(insert(COUNTERS).values(name="a", value=2))
    with state.read() as connection:
        assert connection.execute(VALUES).scalars().all() == [1]


@pytest.mark.parametrize("way", ["begin", "read"])
def test_so_is_a_table_that_a_foreign_session_has_locked(server, impatient, way):
    with server.engine.begin() as foreign:
        foreign.execute(text("lock table counters in access exclusive mode"))
        opened = getattr(impatient(server), way)
        with pytest.raises(ConflictError, match="another session"), opened() as connection:
            connection.execute(VALUES)


def test_an_entry_that_waits_for_too_long_is_a_conflict_and_not_a_fault_of_the_entry(server, impatient):
    audit = Audit(server)
    with server.engine.begin() as foreign:
        foreign.execute(text("lock table audit in exclusive mode"))
        with pytest.raises(ConflictError), impatient(server).begin() as connection:
            record(connection, "olga", "tried", "a", {})
    with server.begin() as connection:
        record(connection, "olga", "tried", "b", {})
    assert [each.object for each in audit.entries()] == ["b"]
    assert audit.verify() is None


def test_a_writer_that_is_silent_for_too_long_gives_way_and_has_written_nothing(server, impatient):
    silent = impatient(server)
    with pytest.raises(ConflictError, match="Nothing was written"), silent.begin() as connection:  # noqa: PT012
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        mine = text("select count(*) from pg_stat_activity where pid = :pid")
        pid = connection.execute(text("select pg_backend_pid()")).scalar_one()
        until = time.monotonic() + 20
        with server.read() as looking:
            while looking.execute(mine, {"pid": pid}).scalar_one():
                assert time.monotonic() < until
                looking.execute(text("select pg_stat_clear_snapshot()"))
        connection.execute(insert(COUNTERS).values(name="b", value=1))
    with server.read() as connection:
        assert connection.execute(VALUES).all() == []


def test_connections_that_are_all_in_use_are_a_conflict(server, monkeypatch):
    monkeypatch.setattr(server.engine.pool, "_timeout", 0.05)
    held = [server.engine.connect() for _ in range(15)]
    with pytest.raises(ConflictError, match="are in use"), server.begin():
        pass
    for each in held:
        each.close()
