"""Saved queries: their values are bound, of two who change one at once one is told, and whoever holds a role may."""

from datetime import date

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConfigError, ConflictError, LimitError, NotFoundError, RefusedError, SqlError
from headrace.operations import access
from headrace.operations import saved_queries as saved
from headrace.operations.saved_queries import Chart, Parameter
from headrace.operations.sql import list_columns, placeholders, query
from headrace.operations.tables import load_table

ODD = 'it\'s "the" <b>best</b>/of 50% & 🚀'
BY_DAY = "select n, t from bronze.orders where n >= :least and t <> :but order by n limit :most"
PARAMETERS = (
    Parameter(name="least", kind="number", default="2"),
    Parameter(name="but", default="b"),
    Parameter(name="most", kind="number", default="10"),
)


@pytest.fixture
def shop(tmp_path):
    project = BareProject(tmp_path / "shop")
    file = tmp_path / "orders.csv"
    file.write_text("n,t\n1,a\n2,b\n3,c\n4,o'd\n")
    load_table(project.at(), file)
    return project


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select :day::date, :n, :day", ("day", "n")),
        ("select :Day", ("day",)),
        ("select ':no', \":no\", 1 -- :no\n /* :no */ , $$:no$$, $x$ :no $x$, :yes", ("yes",)),
        ("select {'key':x}, list[1:n], a[b:c], x::int, :a", ("a",)),
        ("select 'it''s :no' || :a", ("a",)),
        ("select 1", ()),
    ],
)
def test_placeholders_stand_where_a_value_may(text, names):
    assert placeholders(text) == names


def test_a_query_is_kept_listed_and_answered_with_its_values(shop):
    chart = Chart(kind="bar", x="t", y=("n",))
    made = saved.save_query(shop.at(), ODD, BY_DAY, parameters=PARAMETERS, chart=chart)
    assert (made.name, made.version, made.chart, made.parameters) == (ODD, 1, chart, PARAMETERS)
    assert saved.list_queries(shop.at()) == [made] == [saved.show_query(shop.at(), ODD)]
    assert made.to_json()["chart"] == {"kind": "bar", "x": "t", "y": ["n"], "value": None}

    assert saved.run_query(shop.at(), ODD).rows() == [{"n": 3, "t": "c"}, {"n": 4, "t": "o'd"}]
    assert saved.run_query(shop.at(), ODD, {"most": "1", "least": "3"}).rows() == [{"n": 3, "t": "c"}]
    assert saved.list_queries(shop.at("prod")) == []


@pytest.mark.parametrize("hostile", ["x' or '1'='1", "'; drop table bronze.orders; --", "$n", ":least", '"', "o'd"])
def test_a_value_is_never_read_as_sql(shop, hostile):
    text = "select n, :v as v from bronze.orders where t = :v"
    saved.save_query(shop.at(), "one", text, parameters=[Parameter(name="v")])
    rows = saved.run_query(shop.at(), "one", {"v": hostile}).rows()
    assert rows == ([{"n": 4, "v": "o'd"}] if hostile == "o'd" else [])


def test_values_have_their_kinds(shop):
    text = "select typeof(:d) as d, typeof(:n) as n, typeof(:f) as f, typeof(:t) as t"
    kinds = {"d": "date", "n": "number", "f": "number", "t": "text"}
    values = saved.values_of(
        [Parameter(name=name, kind=kind) for name, kind in kinds.items()],
        {"d": "2026-01-31", "n": "12", "f": "-0.5e1", "t": "12"},
    )
    assert values == {"d": date(2026, 1, 31), "n": 12, "f": -5.0, "t": "12"}
    (row,) = query(shop.at(), text, values=values).rows()
    assert (row["d"], row["f"], row["t"]) == ("DATE", "DOUBLE", "VARCHAR")
    assert "INT" in row["n"]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"least": "two"}, ConfigError, "the value of :least is no number: 'two'"),
        ({"least": "1e999"}, ConfigError, "no number"),
        ({"least": "nan"}, ConfigError, "no number"),
        ({"least": "1_0"}, ConfigError, "no number"),
        ({"leest": "1"}, NotFoundError, "no parameter 'leest': did you mean 'least'?"),
        ({"least": ""}, ConfigError, "there is no value for :least"),
    ],
)
def test_a_value_that_is_none_is_told(shop, given, error, told):
    saved.save_query(shop.at(), "one", BY_DAY, parameters=PARAMETERS)
    with pytest.raises(error, match=told):
        saved.run_query(shop.at(), "one", given)


@pytest.mark.parametrize(
    ("text", "parameters", "told"),
    [
        ("select :a", (), "there is no value for :a"),
        ("select 1", (Parameter(name="a"),), "the SELECT has no placeholder :a; it has none"),
        ("select $a", (), "a parameter has no value here"),
        ("select ?", (), "a parameter has no value here"),
        ("select 1; select 2", (), "more than one statement"),
        ("attach 'x.db'", (), "ATTACH is not a SELECT"),
        ("copy (select 1) to '/tmp/x.csv'", (), "COPY is not a SELECT"),
        ("select * from read_csv('/etc/passwd')", (), "reads something that is not a declared table"),
        ("select * from '/etc/passwd'", (), "is not a declared table"),
        ("select * from bronze.order", (), "did you mean 'bronze.orders'"),
        ("select n from bronze.orders where n > :a and", (Parameter(name="a"),), "syntax error"),
        ("", (), "there is no statement"),
    ],
)
def test_what_cannot_be_asked_is_not_saved(shop, text, parameters, told):
    with pytest.raises(SqlError, match=told):
        saved.save_query(shop.at(), "one", text, parameters=parameters)
    assert saved.list_queries(shop.at()) == []


def test_an_error_shows_the_placeholder_as_it_was_written(shop):
    with pytest.raises(SqlError) as raised:
        query(shop.at(), "select nn, :least\nfrom bronze.orders", values={"least": 1})
    assert "did you mean 'n'" in raised.value.what
    assert raised.value.findings[0] == "1 | select nn, :least"


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\x1b[31m", "x" * 101, "a\u202eb"])
def test_a_name_can_be_seen(shop, name):
    with pytest.raises(ConfigError, match="cannot be the name of a query"):
        saved.save_query(shop.at(), name, "select 1 as n")


def test_of_two_who_save_at_once_one_is_told(shop):
    first = saved.save_query(shop.at(), "one", "select 1 as n")
    with pytest.raises(ConflictError, match="there is a saved query 'one' already"):
        saved.save_query(shop.at(), "one", "select 2 as n")
    second = saved.save_query(shop.at(), "one", "select 2 as n", replaces=first.version)
    assert second.version == 2
    with pytest.raises(ConflictError, match="it is version 2 now, not 1"):
        saved.save_query(shop.at(), "one", "select 3 as n", replaces=first.version)
    with pytest.raises(ConflictError, match="it is version 2 now, not 1"):
        saved.delete_query(shop.at(), "one", version=1)
    assert saved.run_query(shop.at(), "one").rows() == [{"n": 2}]
    saved.delete_query(shop.at(), "one", version=2)
    with pytest.raises(ConflictError, match="somebody has deleted it"):
        saved.save_query(shop.at(), "one", "select 3 as n", replaces=2)
    with pytest.raises(NotFoundError, match="no saved query 'one'"):
        saved.show_query(shop.at(), "one")
    assert [(action, name, details["version"]) for action, name, details in shop.audit() if "query" in action] == [
        ("query.saved", "one", 1),
        ("query.saved", "one", 2),
        ("query.deleted", "one", 2),
    ]


def test_whoever_holds_a_role_saves_and_everybody_else_reads(shop):
    tokens = shop.enrol(sue="data_scientist", gov="governance", eve="admin")
    for who in ("sue", "gov"):
        with vault.bearing(tokens[who]):
            assert saved.save_query(shop.at(), who, "select 1 as n").saved_by == who
    with vault.bearing(tokens["bootstrap"]), pytest.raises(RefusedError, match="holds no role"):
        saved.save_query(shop.at(), "no", "select 1 as n")
    with vault.bearing(tokens["eve"]):
        access.revoke_access(shop.at(), "sue", "data_scientist")
    with vault.bearing(tokens["sue"]):
        with pytest.raises(RefusedError, match="sue may not `headrace query delete`"):
            saved.delete_query(shop.at(), "sue")
        assert saved.run_query(shop.at(), "gov").rows() == [{"n": 1}]
    assert [each.name for each in saved.list_queries(shop.at())] == ["gov", "sue"]
    with vault.bearing(tokens["eve"]):
        saved.delete_query(shop.at(), "gov")
        assert [each.name for each in saved.list_queries(shop.at())] == ["sue"]


def test_a_query_is_cancelled_while_it_runs(shop):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 2

    text = "select count(*) as n from range(1000000) a, range(1000000) b where a.range <> b.range"
    with pytest.raises(LimitError, match="the question was cancelled"):
        query(shop.at(), text, cancelled=cancelled)
    with pytest.raises(LimitError, match="was cancelled"):
        query(shop.at(), f"{text} and :n = 1", values={"n": 1}, cancelled=cancelled)
    with pytest.raises(LimitError, match="took longer than"):
        query(shop.at(), text, timeout=0.5, cancelled=lambda: False)
    assert query(shop.at(), "select 1 as n", cancelled=lambda: False).rows() == [{"n": 1}]


def test_limits_hold_for_values_too(shop):
    with pytest.raises(LimitError, match="more than 5 rows"):
        query(shop.at(), "select range as n from range(:n)", values={"n": 10}, max_rows=5)


def test_columns_are_listed_for_whoever_writes(shop):
    (found,) = list_columns(shop.at())
    assert (found.table, found.columns[:2]) == ("bronze.orders", ("n", "t"))


def test_what_is_run_above_the_lowest_environment_is_recorded(shop):
    saved.save_query(shop.at("prod"), "one", "select :v as v", parameters=[Parameter(name="v")])
    saved.run_query(shop.at("prod"), "one", {"v": "x"})
    (entry,) = [each for each in shop.audit("prod") if each[0] == "sql.queried"]
    assert (entry[1], "x" in str(entry[2]["values"])) == ("one", True)
