"""SQL in a lakehouse connection reads the tables that it was given, and reaches nothing else."""

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headrace.lakehouse import scan, spill
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append

variable_of_the_caller = pa.table({"secret": [1]})


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lakehouse("dev", str(tmp_path_factory.mktemp("root")))
    for name in ("silver.mine", "silver.other"):
        lake.commit(name, "a", lambda _: Append(pa.table({"k": [1]})))
    return lake


@pytest.fixture
def connection(lake):
    with lake.connect({"silver.mine": None}, arrow={"made": pa.table({"k": [2]})}) as connection:
        yield connection


OUTSIDE = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM glob('{mine}/*')",
    "SELECT * FROM read_parquet('{other}/*.parquet')",
    "SELECT * FROM read_parquet('{other_file}')",
    "SELECT * FROM '{other_file}'",
    "SELECT * FROM parquet_metadata('{other_file}')",
    "SELECT * FROM read_parquet('{mine}/../other/*.parquet')",
    "SELECT * FROM read_text('{mine}/_delta_log/00000000000000000001.json')",
    "SELECT * FROM read_text('https://example.com')",
    "SELECT * FROM variable_of_the_caller",
    "SELECT * FROM local_variable",
    "SELECT * FROM silver.other",
    "SELECT getenv('HOME')",
    "ATTACH '/tmp/stolen.db'",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "COPY (SELECT 1) TO '{mine}/new.parquet'",
    "EXPORT DATABASE '/tmp/stolen'",
    "CREATE SECRET (TYPE s3)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "INSTALL h3 FROM community",
]
SETTINGS = [
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET allowed_paths = ['/etc/passwd']",
    "SET allowed_directories = ['/']",
    "SET python_enable_replacements = true",
    "SET temp_directory = '/tmp'",
    "SET threads = 1",
    "SET TimeZone = 'Europe/Paris'",
    "PRAGMA threads = 1",
]


@pytest.mark.parametrize("statement", [*OUTSIDE, *SETTINGS])
def test_nothing_outside_is_reached_and_no_setting_changed(lake, connection, statement):
    local_variable = variable_of_the_caller  # noqa: F841 - DuckDB would find it
    other = lake.snapshot("silver.other")
    places = {
        "mine": lake.snapshot("silver.mine").path,
        "other": other.path,
        "other_file": next(iter(other.table.file_uris())),
    }
    with pytest.raises((duckdb.PermissionException, duckdb.CatalogException, duckdb.InvalidInputException)):
        connection.execute(statement.format(**places)).fetchall()


def test_what_was_given_is_read(connection):
    assert connection.sql("SELECT k FROM silver.mine UNION ALL SELECT k FROM made ORDER BY k").fetchall() == [
        (1,),
        (2,),
    ]


def test_through_a_dataset_nothing_else_is_reached_either(lake, tmp_path):
    root = tmp_path / "dev"
    write_deltalake(str(root / "silver/t"), pa.table({"part": ["a"], "k": [1]}), partition_by="part")
    with Lakehouse("dev", str(root)).connect({"silver.t": None}) as connection:
        assert connection.sql("SELECT k FROM silver.t").fetchall() == [(1,)]
        with pytest.raises(duckdb.PermissionException):
            connection.sql("SELECT * FROM read_text('/etc/passwd')")


def test_two_connections_do_not_see_each_other(lake, connection):
    connection.execute("CREATE TEMP TABLE noted AS SELECT 1 AS x")
    with lake.connect({"silver.mine": None}) as other, pytest.raises(duckdb.CatalogException):
        other.sql("FROM noted")


def test_a_query_larger_than_memory_may_spill_and_leaves_nothing(lake, monkeypatch):
    settings = scan._settings(2)
    monkeypatch.setattr(scan, "_settings", lambda threads: {**settings, "memory_limit": "64MB"})
    with lake.connect({"silver.mine": None}) as connection:
        connection.execute("CREATE TEMP TABLE big AS SELECT hash(i) AS h, i FROM range(6_000_000) t(i)")
        assert connection.execute("SELECT count(*) FROM big").fetchone() == (6_000_000,)
    assert [each.name for each in spill.folder().iterdir()] == [spill.LOCK]


def test_what_a_user_asks_may_spill_too(lake):
    def spill_and_count(connection):
        connection.execute("CREATE TABLE big AS SELECT hash(i) AS h, i FROM range(6_000_000) t(i)")
        assert [each.name for each in spill.folder().iterdir()] != [spill.LOCK]
        return connection.execute("SELECT count(*) FROM big").fetchone()

    assert lake.ask({"silver.mine": None}, spill_and_count, memory="64MB", threads=2) == (6_000_000,)
    assert [each.name for each in spill.folder().iterdir()] == [spill.LOCK]


def test_a_question_that_fails_says_why(lake):
    with pytest.raises(duckdb.CatalogException, match="no_such"):
        lake.ask({"silver.mine": None}, lambda connection: connection.execute("FROM silver.no_such"))
