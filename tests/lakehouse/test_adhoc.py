"""A question at the terminal has limits of time, of rows and of memory, and says which one it met."""

import time

import pyarrow as pa
import pytest

from headrace.core.errors import LimitError, SqlError
from headrace.lakehouse import adhoc, confinement
from headrace.lakehouse.adhoc import QueryLimits, ask
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append

ENDLESS = "select sum(a.i * b.i) as s from range(1_000_000_000) a(i), range(1_000_000_000) b(i)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lakehouse("dev", str(tmp_path_factory.mktemp("root")))
    lake.commit("silver.t", "a", lambda _: Append(pa.table({"k": [1, 2], "x": [0.5, None]})))
    return lake


@pytest.mark.parametrize("confined", [True, False])
def test_a_question_is_answered(lake, monkeypatch, confined):
    if not confined:
        monkeypatch.setattr(confinement, "possible", lambda: False)  # a kernel without Landlock
    assert ask(lake, "select k, x from silver.t order by k").to_pydict() == {"k": [1, 2], "x": [0.5, None]}
    assert ask(lake, "select k from silver.t where k > 5").num_rows == 0
    assert ask(lake, "select k from silver.t where k > 5").schema.names == ["k"]
    assert ask(lake, "select 1 as one").to_pydict() == {"one": [1]}


def test_a_question_without_end_is_stopped(lake):
    begun = time.monotonic()
    with pytest.raises(LimitError, match=r"longer than 0.3 seconds.\n.*--timeout") as stopped:
        ask(lake, ENDLESS, QueryLimits(seconds=0.3))
    assert time.monotonic() - begun < 5
    assert stopped.value.exit_code == 1


def test_an_answer_without_end_is_stopped(lake):
    with pytest.raises(LimitError, match=r"more than 1,000 rows.\n.*--max-rows"):
        ask(lake, "select i from range(1_000_000_000_000) r(i)", QueryLimits(rows=1000))
    assert ask(lake, "select i from range(1000) r(i)", QueryLimits(rows=1000)).num_rows == 1000
    with pytest.raises(LimitError, match=r"larger than 1 MiB, after [\d,]+ rows"):
        ask(lake, "select repeat('x', 1000) as x from range(1_000_000) r(i)", QueryLimits(bytes=2**20))


def test_a_question_that_needs_too_much_memory_is_stopped(lake, monkeypatch):
    monkeypatch.setattr(adhoc, "MEMORY", "32MiB")
    with pytest.raises(LimitError, match="needs more than 32MiB of the memory"):
        ask(lake, "select len(list(i)) as n from range(100_000_000) r(i)")


def test_two_columns_of_one_name_are_refused(lake):
    with pytest.raises(SqlError, match="more than one column 'k'"):
        ask(lake, "select a.k, b.k from silver.t a, silver.t b")


def test_the_error_has_its_place(lake):
    with pytest.raises(SqlError) as refused:
        ask(lake, "select k,\n  kk\nfrom silver.t")
    assert str(refused.value).startswith("<query>:2: there is no column 'kk' here")


def test_a_question_that_ends_just_when_it_is_told_to_is_late(lake):
    def closes(connection):
        connection.close()
        time.sleep(1)

    with pytest.raises(TimeoutError):
        lake.ask({"silver.t": None}, closes, seconds=0.2)


def test_what_a_question_spills_is_limited(lake):
    def limit(connection):
        return connection.execute("SELECT current_setting('max_temp_directory_size')").fetchone()

    assert lake.ask({"silver.t": None}, limit, memory="64MB") == ("64.0 GiB",)


def test_a_question_that_does_not_end_is_given_up_and_that_is_known(lake, monkeypatch):
    monkeypatch.setattr(confinement, "GRACE", 0.2)
    monkeypatch.setattr(confinement, "ABANDONED", abandoned := [])

    with pytest.raises(TimeoutError):
        lake.ask({"silver.t": None}, lambda _: time.sleep(1), seconds=0.1)

    assert [thread.is_alive() for thread in abandoned] == [True]
    abandoned[0].join()
