"""Prepared statements do on both databases what SQLAlchemy's do."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from headrace.core.errors import ConflictError
from headrace.core.prepared import Prepared
from headrace.core.state import Instant, State

TABLE = sa.Table(
    "prepared_rows",
    sa.MetaData(),
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.Column("number", sa.BigInteger),
)
ROW = {
    "name": "100 % 'ü'",
    "day": date(2026, 3, 1),
    "at": datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=1))),
    "parts": [["user", "ü"]],
    "number": None,
}


@pytest.fixture
def state(state_url):
    opened = State(state_url)
    opened.create(TABLE)
    yield opened
    opened.close()


@pytest.fixture
def insert(state):
    return Prepared(state.engine, sa.insert(TABLE), list(ROW))


def test_values_come_back_as_they_went_in(state, insert):
    one = Prepared(state.engine, sa.select(TABLE).where(TABLE.c.name == sa.bindparam("mine")))
    with state.begin() as connection:
        insert.run(connection, [ROW, {**ROW, "name": "other", "number": 2**53}])
        insert.run(connection, [])

    with state.read() as connection:
        row = one.first(connection, {"mine": ROW["name"]})
        assert row._asdict() == {**ROW, "at": ROW["at"].astimezone(UTC)}
        assert one.first(connection, {"mine": "nobody"}) is None
        assert connection.execute(sa.select(TABLE).where(TABLE.c.name == ROW["name"])).one()._mapping == row._asdict()
        assert [each.number for each in Prepared(state.engine, sa.select(TABLE)).all(connection, {})] == [None, 2**53]


def test_constants_of_the_statement_are_kept_and_what_changed_is_returned(state, insert):
    change = sa.update(TABLE).where(TABLE.c.number.is_(None)).values(number=7).returning(TABLE.c.name, TABLE.c.number)
    with state.begin() as connection:
        insert.run(connection, [ROW])
        assert Prepared(state.engine, change).all(connection, {}) == [(ROW["name"], 7)]
        assert Prepared(state.engine, change).first(connection, {}) is None


def test_errors_are_those_of_any_other_statement(state, insert):
    with pytest.raises(sa.exc.IntegrityError), state.begin() as connection:
        insert.run(connection, [ROW, ROW])
    with pytest.raises(sa.exc.IntegrityError), state.begin() as connection:
        insert.run(connection, [{**ROW, "day": None}])
    with state.read() as connection:
        assert Prepared(state.engine, sa.select(TABLE)).all(connection, {}) == []
    with state.begin() as connection:
        TABLE.drop(connection)
    with pytest.raises(sa.exc.DBAPIError), state.begin() as connection:
        insert.run(connection, [ROW])


def test_a_connection_that_is_lost_is_said_in_words_and_the_next_one_works(state, insert):
    if state.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no connection to lose")

    def write_while_it_is_lost():
        with state.begin() as connection:
            mine = connection.exec_driver_sql("select pg_backend_pid()").scalar()
            with state.read() as other:
                other.exec_driver_sql(f"select pg_terminate_backend({mine})")
            insert.run(connection, [ROW])

    with pytest.raises(ConflictError, match="was lost"):
        write_while_it_is_lost()
    with state.begin() as connection:
        insert.run(connection, [ROW])
