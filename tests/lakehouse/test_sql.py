"""What passes the check, what is refused, and that the message shows the place."""

import random
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import SqlError
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.identifiers import quoted
from headrace.lakehouse.sql import check, explain, relation
from headrace.lakehouse.sql_expression import check_expression
from headrace.lakehouse.sql_functions import CHANCE, SESSION

KNOWN = {"bronze.trips", "bronze.zones", "silver.flights"}


def read(text, **options):
    return check(Sql(text, "trips.sql"), KNOWN, **options)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("select 1 as x", ()),
        ("select * from bronze.trips t join bronze.zones z using (zone)", ("bronze.trips", "bronze.zones")),
        ("from bronze.trips select x", ("bronze.trips",)),
        ('select * from "bronze"."trips"', ("bronze.trips",)),
        ("select * from Bronze.TRIPS", ("bronze.trips",)),
        ("with t as (select * from bronze.trips), u as (select * from t) select * from u", ("bronze.trips",)),
        ("with recursive n as (select 1 as i union all select i + 1 from n where i < 9) select * from n", ()),
        ("select * from bronze.trips union all by name select * from bronze.zones", ("bronze.trips", "bronze.zones")),
        ("select * from bronze.trips where zone in (select zone from bronze.zones)", ("bronze.trips", "bronze.zones")),
        ("select * from bronze.trips where exists (from bronze.zones)", ("bronze.trips", "bronze.zones")),
        ("select * from bronze.trips t asof join bronze.zones z on t.at >= z.at", ("bronze.trips", "bronze.zones")),
        ("select * from bronze.trips, unnest(stops) as u(stop)", ("bronze.trips",)),
        ("select * from range(3) r(i), generate_series(1, 2) g(j)", ()),
        ("select * from (values (1, 'a')) v(i, s)", ()),
        ("select * from bronze.trips, lateral (select 1)", ("bronze.trips",)),
        ("select * from bronze.trips pivot (sum(fare) for kind in ('a', 'b'))", ("bronze.trips",)),
        ("select sum(x) over w from bronze.trips window w as (partition by k order by t)", ("bronze.trips",)),
        ("select x -- of a trip\nfrom bronze.trips; -- the end\n;", ("bronze.trips",)),
    ],
)
def test_one_select_over_declared_tables_passes_and_names_its_inputs(text, inputs):
    assert read(text).inputs == inputs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("select * from 'trips.csv'", "files cannot be read"),
        ("select * from '/etc/passwd'", "files cannot be read"),
        ("select * from 's3://bucket/*.parquet'", "files cannot be read"),
        ('select * from "https://x/y.json"', "files cannot be read"),
        ("select * from read_csv('trips.csv')", "read_csv reads something"),
        ("select * from bronze.trips where x in (select x from read_parquet('a'))", "read_parquet reads something"),
        ("select * from read_text('a')", "read_text reads something"),
        ("select * from glob('*')", "glob reads something"),
        ("select * from sniff_csv('a')", "sniff_csv reads something"),
        ("select * from query_table('bronze.trips')", "query_table"),
        ("select * from query('select 1')", "query"),
        ("select * from duckdb_settings()", "duckdb_settings reads something"),
        ("select * from pragma_table_info('x')", "pragma_table_info reads something"),
        ("select * from repeat(1, 2)", "repeat reads something"),
        ("select * from other.bronze.trips", "names a database"),
        ("select * from trips", "did you mean 'bronze.trips'?"),
        ("select * from bronze.trip", "did you mean 'bronze.trips'?"),
        ("select * from information_schema.tables", "no table 'information_schema.tables'"),
        ("select * from bronze.trips t, (select * from t)", "is the alias of a table"),
        ("select * from (show tables)", "SHOW is not a SELECT"),
        ("select * from (summarize bronze.trips)", "SUMMARIZE is not a SELECT"),
        ("with p as (pivot bronze.trips on kind) select * from p", "PIVOT is not a SELECT"),
        ("pivot bronze.trips on kind using sum(x)", "PIVOT is not a SELECT"),
        ("copy bronze.trips to 'x'", "COPY is not a SELECT"),
        ("insert into bronze.trips select 1", "INSERT is not a SELECT"),
        ("create table x as select 1", "CREATE is not a SELECT"),
        ("attach 'x'", "ATTACH is not a SELECT"),
        ("set memory_limit = '1GB'", "SET is not a SELECT"),
        ("pragma version", "PRAGMA is not a SELECT"),
        ("explain select 1", "EXPLAIN is not a SELECT"),
        ("call pragma_version()", "CALL is not a SELECT"),
        ("drop table bronze.trips", "DROP is not a SELECT"),
        ("select 1; drop table bronze.trips", "more than one statement"),
        ("select getenv('HOME')", "getenv reads the session"),
        ("select current_setting('threads')", "current_setting reads the session"),
        ("select current_user", "current_user reads the session"),
        ("select $1", "a parameter has no value"),
        ("select * from bronze.trips at (version => 3)", "version of a table is chosen by the run"),
        ("select * from bronze.trips using sample 10%", "sample of rows"),
        ("", "no statement"),
        ("-- only this", "no statement"),
    ],
)
def test_all_else_is_refused_with_file_and_line(text, says):
    with pytest.raises(SqlError) as refused:
        read(text)
    assert str(refused.value).startswith("trips.sql:1: ")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "call", ["now()", "main.now()", '"random"()', "current_date", "uuid()", "today()", "localtime"]
)
def test_a_definition_must_give_the_same_rows_each_time_but_a_question_need_not(call):
    with pytest.raises(SqlError, match="another value each time"):
        read(f"select {call} as x")
    assert read(f"select {call} as x", deterministic=False).inputs == ()


# Functions of DuckDB without an argument whose value is written in the statement, or is a constant.
CONSTANT = frozenset(
    [
        "+",
        "add",
        "array_cat",
        "array_concat",
        "array_to_json",
        "array_value",
        "array_zip",
        "json_array",
        "json_object",
        "json_quote",
        "list_cat",
        "list_concat",
        "list_pack",
        "list_value",
        "list_zip",
        "map",
        "map_concat",
        "pi",
        "row",
        "row_to_json",
        "struct_concat",
        "struct_pack",
        "to_json",
        "union_value",
        "unpivot_list",
    ]
)


def test_every_function_that_takes_its_value_from_elsewhere_than_the_row_is_refused():
    """Where there is no argument, the value comes from the moment, from chance, or from the session.

    How the engine labels a function does not count: its labels change between releases, and "not consistent" includes
    functions that depend on the session's time zone, which Headrace sets.
    """
    functions = duckdb.execute(
        "select distinct function_name from duckdb_functions()"
        " where function_type in ('scalar', 'macro') and len(parameters) = 0"
    ).fetchall()
    assert {name for (name,) in functions} - CONSTANT <= CHANCE | SESSION


@pytest.mark.parametrize(
    "call",
    [
        "random()",
        "uuid()",
        "uuidv4()",
        "uuidv7()",
        "gen_random_uuid()",
        "setseed(0.5)",
        "now()",
        "today()",
        "current_date",
        "current_timestamp",
        "get_current_timestamp()",
        "transaction_timestamp()",
        "localtime",
        "localtimestamp",
        "ago('1d')",
        "age(seen)",
        "seen.age()",
        "stats(seen)",
        "currval('s')",
        "nextval('s')",
        "setval('s',1)",
        "getvariable('v')",
        "current_setting('TimeZone')",
        "getenv('HOME')",
        "current_user",
        "current_schema()",
        "current_schemas(true)",
        "current_database()",
        "current_query()",
        "current_connection_id()",
        "txid_current()",
        "in_search_path('a','b')",
        "sleep_ms(1)",
        "pg_sleep(1)",
        "write_log('x')",
        "version()",
    ],
)
def test_functions_of_chance_of_the_moment_and_of_the_session_are_refused(call):
    with pytest.raises(SqlError, match=r"another value each time|reads the session"):
        read(f"select {call} as x from bronze.trips")
    with pytest.raises(SqlError, match="is not a function of the row"):
        check_expression(f"{call} is not null", ["seen"], where="trips.py:1", role="expectation")


@pytest.mark.parametrize(
    "call",
    [
        "age(seen,since)",
        "main.age(seen,since)",
        "date_part('hour',seen)",
        "date_trunc('day',seen)",
        "date_diff('day',since,seen)",
        "datesub('day',since,seen)",
        "extract(year_from_seen)",
        "year(seen)",
        "quarter(seen)",
        "month(seen)",
        "week(seen)",
        "yearweek(seen)",
        "day(seen)",
        "dayofyear(seen)",
        "dayname(seen)",
        "isodow(seen)",
        "hour(seen)",
        "minute(seen)",
        "second(seen)",
        "last_day(seen)",
        "epoch(seen)",
        "julian(seen)",
        "monthname(seen)",
        "strftime(seen,'%Y-%m-%d')",
        "time_bucket(interval_'1h',seen)",
        "seen+interval_'1h'",
        "seen-since",
        "timezone('Europe/Berlin',seen)",
        "make_timestamptz(2024,1,2,3,4,5.0)",
    ],
)
def test_functions_of_a_moment_of_the_row_are_allowed(call):
    text = call.replace("_'", " '").replace("_from_", " from ")
    columns = "timestamptz '2024-05-06 07:08:09+00' as seen, timestamptz '2023-01-02 00:00:00+00' as since"

    assert read(f"select {text} as x from bronze.trips").inputs == ("bronze.trips",)
    assert check_expression(f"{text} is not null", ["seen", "since"], where="trips.py:1", role="expectation")
    assert duckdb.execute(f"select {text} is not null from (select {columns})").fetchall() == [(True,)]


def test_the_message_shows_the_line_marks_the_place_and_suggests():
    with pytest.raises(SqlError) as refused:
        read("select x,\n\ty\nfrom silver.flihgts f\nwhere x > 0")
    assert str(refused.value).splitlines() == [
        "trips.sql:3: there is no table 'silver.flihgts': did you mean 'silver.flights'?",
        "  3 | from silver.flihgts f",
        "    |      ^^^^^^^^^^^^^^",
    ]


def test_what_does_not_parse_is_marked_where_the_parser_stopped():
    with pytest.raises(SqlError) as refused:
        read("select x\nfrm bronze.trips")
    assert str(refused.value).splitlines() == [
        'trips.sql:2: syntax error at or near "bronze"',
        "  2 | frm bronze.trips",
        "    |     ^^^^^^",
    ]


def test_an_sql_string_inside_a_python_file_is_placed_in_that_file(tmp_path: Path):
    text = "select x\nfrom nowhere.atall"
    module = tmp_path / "project.py"
    module.write_text(f'import headrace as hr\n\norders = hr.Table("silver.orders", key="x", sql="""{text}""")\n')
    with pytest.raises(SqlError, match=r"project\.py:4: there is no table 'nowhere.atall'"):
        check(Sql(text, str(module)), KNOWN)
    with pytest.raises(SqlError, match=r"project\.py: line 1 of the SQL: there is no table 'nowhere.atall'"):
        check(Sql("select * from nowhere.atall", str(module)), KNOWN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "select x,\n  far\nfrom bronze.trips",
            "trips.sql:2: there is no column 'far' here: did you mean 'fare'?\n  2 |   far",
        ),
        ("select\n  q.x from bronze.trips", "trips.sql:2: there is no table 'q' here"),
        ("select nofunction(x)\nfrom bronze.trips", "trips.sql:1: Scalar Function with name nofunction does not exist"),
        ("select x,\n  'abc'::int\nfrom bronze.trips", "trips.sql:2: Could not convert string 'abc' to INT32"),
    ],
)
def test_what_duckdb_says_at_run_time_is_placed_in_the_file(text, says):
    query = read(text)
    with duckdb.connect() as connection:
        connection.execute("create schema bronze; create table bronze.trips as select 1 as x, 2.5 as fare")
        try:
            raised = relation(connection, query).to_arrow_table()
        except SqlError as error:  # it does not bind
            raised = error
        except duckdb.Error as error:
            raised = explain(error, query)
    assert isinstance(raised, SqlError)
    assert str(raised).startswith(says)


WORDS = ["select", "Count", "(", "*", ")", "as", "Trips", ",", "kind", "from", "bronze", ".", "trips", "where", "kind",
         "<>", "'Not a Keyword'", "group by", "all"]  # fmt: skip


@given(st.randoms(use_true_random=False))
def test_layout_comments_and_the_case_of_keywords_do_not_count(chance: random.Random):
    gaps = [" ", "\n", "\t ", " -- why\n", " /* so */ "]
    keywords = {"select", "as", "from", "where", "group by", "all", "Count"}
    text = "".join(
        (chance.choice([word.upper(), word.lower()]) if word in keywords else word) + chance.choice(gaps)
        for word in WORDS
    )
    assert read(text).normalized == read(" ".join(WORDS)).normalized


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select x as a from bronze.trips", "select x as A from bronze.trips"),
        ("select 'a' as x", "select 'A' as x"),
        ("select x ~ 'b' from bronze.trips", "select regexp_full_match(x, 'b') from bronze.trips"),
        ("select 7 // 2 as x", "select 7 / 2 as x"),
        ("select x -- + y\nfrom bronze.trips", "select x + y\nfrom bronze.trips"),
        ("select 1 as x", "select 1.0 as x"),
        ('select "a b" from bronze.trips', 'select "a  b" from bronze.trips'),
    ],
)
def test_what_means_something_else_is_told_apart(one, other):
    assert read(one).normalized != read(other).normalized


@pytest.mark.parametrize(
    "text", ["fare > 0", "fare is not null and kind in ('a', 'b')", "pickup.zone = 'x'", "Fare < 3", "not (fare > 0)",
             "least(fare, 3)", "len(list_filter(stops, s -> s > 1)) = 0", "fare", "true", "kind like 'a%' -- good"]
)  # fmt: skip
def test_an_expression_over_the_row_passes(text):
    check_expression(text, ["fare", "kind", "pickup", "stops"], where="project.py:7", role="expectation")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fair > 0", "there is no column 'fair': did you mean 'fare'?"),
        ("fare >", "does not parse"),
        ("fare > 0)", "does not parse"),
        ("fare > 0, kind = 'a'", "parse"),
        ("", "does not parse"),
        ("select 1", "does not parse"),
        ("1 from bronze.trips", "does not parse"),
        ("1 limit 1", "does not parse"),
        ("fare > 0 as x", "does not parse"),
        ("fare > 0 more", "does not parse"),
        ("columns(*) > 0", "does not name its columns"),
        ("#1 > 0", "does not name its columns"),
        ("fare > $1", "parameter is not of the row"),
        ("\0", "zero byte"),
        ("fare > 0 \ud800", "not Unicode"),
        ("fare > 0; drop table x", "parse"),
        ("fare in (select fare from bronze.trips)", "reads a table"),
        ("fare > avg(fare)", "looks at several rows"),
        ("row_number() over () = 1", "looks at several rows"),
        ("fare > random()", "random() is not a function of the row"),
        ("fare < getenv('X')", "getenv() is not a function of the row"),
    ],
)
def test_an_expression_that_is_more_than_the_row_is_refused(text, says):
    with pytest.raises(SqlError) as refused:
        check_expression(text, ["fare", "kind"], where="project.py:7", role="expectation")
    assert str(refused.value).startswith("project.py:7: expectation ")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("with trips as (select * from bronze.trips) select * from trips", ("bronze.trips",)),
        ("with bronze as (select 1 as x) select * from bronze.trips", ("bronze.trips",)),
        ("with a as (select 1 as x), b as (select * from a) select * from B", ()),
        ("with a as (select 1 as x) select (select max(x) from a)", ()),
        ("select * from (with a as (select 1 as x) select * from a)", ()),
    ],
)
def test_a_step_holds_where_duckdb_finds_it(text, inputs):
    assert read(text).inputs == inputs


@pytest.mark.parametrize(
    "text",
    [
        "select * from (with secret as (select 1) select * from secret), secret",
        "with a as (with secret as (select 1) select * from secret) select * from secret",
        "with secret as (select * from secret) select * from secret",
        "with a as (select * from secret), secret as (select 1) select * from a",
        'with "bronze.trips" as (select 1) select * from bronze.hidden',
        'select * from "bronze.trips"',
        "with hidden as (select 1) select * from bronze.hidden",
    ],
)
def test_a_step_does_not_hold_elsewhere(text):
    with pytest.raises(SqlError, match=r"there is no table|is not a declared table"):
        read(text)


def test_names_are_quoted_part_by_part():
    assert quoted('silver.od"d') == '"silver"."od""d"'


def test_the_shipped_example_passes():
    folder = Path(__file__).parents[2] / "src/headrace/examples/flights/flights"
    known = {
        "bronze.flights",
        "bronze.weather",
        "bronze.airports",
        "bronze.airlines",
        "silver.flights",
        "silver.planes",
        "gold.arrivals",
        "gold.arrival_delay_predictions",
    }
    files = list(folder.glob("*.sql"))
    assert files
    for file in files:
        assert check(Sql(file.read_text(), str(file)), known).inputs
