"""What the check lets pass is, for DuckDB, one SELECT over the tables that it may read; and running it changes no file.

Texts are drawn from pieces at which parsers differ. That a text is harmless is told by an oracle of its own: DuckDB's plan
of it, and the files. By hand, with more: HEADRACE_FUZZ=20000 pytest tests/lakehouse/test_sql_fuzz.py
"""

import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from headrace.core.errors import LimitError, SqlError
from headrace.lakehouse.adhoc import QueryLimits, ask
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.sql import check
from headrace.lakehouse.sql_expression import check_expression
from headrace.lakehouse.writes import Append

EXAMPLES = int(os.environ.get("HEADRACE_FUZZ", "300"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TABLES = ("silver.a", "silver.b")

NASTY = st.sampled_from(
    ["//*", "/*", "*/", "/* */", "/*/* */ */", "--", "-- x\n", "--\r", "#", "{#", "#}", "$$", "$a$", "$a-b$", "$1", "?", "'", '"',
     "''", '""', "E'\\''", "U&'\\0027'", "x'27'", "1_000", "1e1", "0x1", "::", "->", "->>", "=>", ":=", "|>", ";", ";;",
     "\u00a0", "\u2028", "\ufeff", "\u200b", "\n", "\r", "\0", "`", "\\", "@", "<>", "!=", "~", "//", "**", ":", "..", "(", ")",
     "[", "]", "{", "}", ",", ".", "* replace (", "* exclude ("]
)  # fmt: skip
GOOD = st.sampled_from(["silver.a", "silver.b", "silver.a as a", "range(3) t(k)", "(values (1)) v(k)"])
NAMES = GOOD | GOOD | st.sampled_from(
    ["silver.a", "silver.b", '"silver"."a"', "SILVER.B", "secret.hidden", "a", "b", "k", '"silver.a"', "'{file}'", '"{file}"',
     "a.parquet", "__snapshot_0", "information_schema.tables", "s", "main.s", "silver.s"]
)  # fmt: skip
SAFE = st.sampled_from(
    ["abs(k)", "main.abs(k)", "k", "(k + 1)", "k::varchar", "coalesce(k, 1)", "$$a$$", "E'\\''", "1_000", "k // 2"]
)
CALLS = SAFE | SAFE | st.sampled_from(
    ["range(3)", "unnest([1])", "read_text('{file}')", "read_parquet('{file}')", "query('select 1')", "query_table('silver.a')",
     "glob('*')", "duckdb_settings()", "getenv('HOME')", "current_setting('threads')", "now()", "random()", "max(k)", "abs(k)",
     "main.abs(k)", '"getenv"(\'HOME\')', "enable_logging()", "pg_get_viewdef(1)", "columns(*)", "columns('k')", "checkpoint()"]
)  # fmt: skip
WORDS = st.sampled_from(
    """select from where with recursive as materialized union all by name intersect except values table pivot unpivot on using
    in not exists case when then else end cast null true distinct group order limit offset qualify window over partition
    join left asof positional natural cross lateral describe summarize show explain analyze call execute prepare pragma attach
    copy export import install load set reset insert into update delete returning create drop temp macro checkpoint vacuum
    sample tablesample at version fetch first only rows for to begin commit use comment any some between is of""".split()  # noqa: SIM905
)
WRITES = st.sampled_from(
    ["copy (select 1 as k) to '{file}' (format parquet, use_tmp_file false)", "copy silver.a to $${file}$$", "delete from silver.a",
     "insert into silver.a values (1)", "export database '{new}'", "attach '{new}'", "create table x as select 1",
     "update silver.a set k = 1", "copy (select 1) to '{new}'"]
)  # fmt: skip
SOUP = st.lists(st.one_of(NASTY, NAMES, CALLS, WORDS, WRITES), min_size=1, max_size=9).map(" ".join)
ITEM = st.one_of(
    st.sampled_from(["k", "1", "*", "'a'", "k + 1", "a.k", "(select 1)", "case when true then k end"]), CALLS
)


def _queries(inner):
    steps = st.sampled_from(["s", "a", "hidden", '"silver.a"', "silver"])
    return st.one_of(
        st.builds("with {} as ({}) {}".format, steps, st.one_of(inner, inner, WRITES), inner),
        st.builds("with recursive {} as ({}) {}".format, steps, inner, inner),
        st.builds("select {} from ({}) t".format, ITEM, inner),
        st.builds("select ({}) as x from {}".format, inner, NAMES),
        st.builds("select {} from {} where k in ({})".format, ITEM, NAMES, inner),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["union all", "except", "union by name"]), inner),
        st.builds("from {} select {}".format, NAMES, ITEM),
        st.builds("{}; {}".format, inner, st.one_of(inner, WRITES)),
        st.builds("{} {} {}".format, inner, NASTY, st.one_of(inner, WRITES, SOUP)),
        st.builds("select 8 //* replace ('\n*/ 2 from silver.a; {} --' as x) from silver.a".format, WRITES),
        st.builds(
            "select * from {} {} {}".format, NAMES, st.sampled_from([",", "cross join", "positional join"]), CALLS
        ),
        st.builds("select {} from {} qualify {} = 1".format, ITEM, NAMES, CALLS),
    )


LEAF = st.builds("select {} as k from {}".format, SAFE, GOOD)  # passes
QUERY = st.recursive(LEAF | LEAF | LEAF | st.builds("select {} from {}".format, ITEM, NAMES), _queries, max_leaves=3)


@st.composite
def texts(draw):
    """A statement, with nasty pieces put between its characters."""
    text = draw(st.one_of(QUERY, QUERY, QUERY, SOUP))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(NASTY) + text[at:]
    return text


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def lake(root):
    lake = Lakehouse("dev", str(root / "lake"))
    for name in (*TABLES, "secret.hidden"):
        lake.commit(name, "a", lambda _: Append(pa.table({"k": [1, 2]})))
    return lake


@pytest.fixture(scope="module")
def file(lake):
    return next(iter(lake.snapshot("silver.a").table.file_uris())).removeprefix("file://")


@pytest.fixture(scope="module")
def oracle():
    """The tables as DuckDB's own, with nothing else there: what is asked of it tells what a text reads."""
    with duckdb.connect(
        config={"enable_external_access": "false", "python_enable_replacements": "false"}
    ) as connection:
        connection.execute("create schema silver; create schema secret")
        for name in (*TABLES, "secret.hidden"):
            connection.execute(f"create table {name} as select unnest([1, 2]) as k")
        yield connection


def _files(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(each): (each.stat().st_mtime_ns, each.stat().st_ino, each.read_bytes())
        for each in root.rglob("*")
        if each.is_file()
    }


def _scanned(plan) -> set[str]:
    """The tables that a plan reads, from DuckDB's EXPLAIN."""
    if isinstance(plan, list):
        return set().union(*map(_scanned, plan))
    found = _scanned(plan.get("children", []))
    if "SCAN" in plan.get("name", "") and (name := plan.get("extra_info", {}).get("Table")):
        found.add(".".join(name.split(".")[-2:]).lower())
    return found


@fuzz
@given(texts())
def test_what_passes_is_one_select_over_tables_that_may_be_read_and_changes_no_file(lake, root, file, oracle, text):
    text = text.replace("{file}", file).replace("{new}", str(root / "new"))
    try:
        query = check(Sql(text, "t.sql"), TABLES, deterministic=False)
    except SqlError:
        event("refused")
        return
    event("passed; sqlglot " + ("reads it, too" if _sqlglot_reads(text) else "does not"))
    assert set(query.inputs) <= set(TABLES)
    (statement,) = duckdb.extract_statements(text)
    assert statement.type == duckdb.StatementType.SELECT
    try:
        plan = oracle.execute("explain (format json) " + text).fetchall()
    except duckdb.Error:
        event("does not bind")
    else:
        assert _scanned(json.loads(plan[0][1])) <= set(query.inputs)
    before = _files(root)
    try:
        ask(lake, text, QueryLimits(seconds=2, rows=1000))
    except (SqlError, LimitError):
        event("does not run")
    assert _files(root) == before


@fuzz
@given(st.one_of(ITEM, SOUP, QUERY, st.builds("{} > 0 {} {}".format, ITEM, NASTY, st.one_of(WRITES, SOUP))))
def test_an_expression_that_passes_is_one_wherever_it_is_put(text):
    try:
        check_expression(text, ["k"], where="p.py:1", role="expectation")
    except SqlError:
        return
    for outer in (f"select (\n{text}\n)", f"select not coalesce(({text}\n), false) from silver.a"):
        (statement,) = duckdb.extract_statements(outer)
        assert statement.type == duckdb.StatementType.SELECT
    with duckdb.connect() as connection:
        said = json.loads(
            connection.execute("select json_serialize_sql(?)", [f"select (\n{text}\n), 7"]).fetchall()[0][0]
        )
    (last,) = said["statements"]
    assert len(last["node"]["select_list"]) == 2
    assert last["node"]["from_table"]["type"] == "EMPTY"


def _sqlglot_reads(text: str) -> bool:
    try:
        return len(sqlglot.parse(text, read="duckdb")) == 1
    except sqlglot.errors.SqlglotError:
        return False
