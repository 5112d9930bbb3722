"""SQL that a user writes reads the tables that it names, and nothing else; the engine cannot write any file of a table."""

import hashlib
import os
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import headrace as hr
from headrace.core.errors import SqlError
from headrace.lakehouse import confinement
from headrace.lakehouse.adhoc import ask
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.sql import check
from headrace.lakehouse.writes import Append

from .sql_texts import COMMENTS, COPY, EXPRESSIONS, READING, WRITING

TABLE = "silver.t"


def held(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a digest of what it holds."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def parquet(lake: Lakehouse, name: str = TABLE) -> str:
    return next(iter(lake.snapshot(name).table.file_uris())).removeprefix("file://")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tables of prod, and a dev that reads them."""
    root = tmp_path_factory.mktemp("lakes")
    prod = Lakehouse("prod", str(root / "prod"))
    for name in (TABLE, "silver.other"):
        prod.commit(name, "a", lambda _: Append(pa.table({"k": [1, 2]})))
    write_deltalake(str(root / "prod/silver/parts"), pa.table({"part": ["a"], "k": [1]}), partition_by="part")
    return root


@pytest.fixture(scope="module")
def dev(root):
    return Lakehouse("dev", str(root / "dev"), reads={"prod": str(root / "prod")})


@pytest.fixture
def untouched(root, tmp_path, monkeypatch):
    """Where nothing may be written: what the tables hold, and the working directory, are afterwards as they were."""
    monkeypatch.chdir(tmp_path)
    before = held(root)
    yield tmp_path / "stolen"
    assert held(root) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", WRITING.values(), ids=WRITING)
def test_a_select_writes_a_file_of_prod(dev, untouched, text):
    with pytest.raises(SqlError):
        ask(dev, text.format(file=parquet(dev), out=untouched, table=TABLE))


@pytest.mark.parametrize("text", COMMENTS.values(), ids=COMMENTS)
def test_a_comment_is_run_as_a_statement(dev, untouched, text):
    answer = ask(dev, text.format(file=parquet(dev), out=untouched, table=TABLE))
    assert answer.to_pydict() == {"k": [1, 2]}


@pytest.mark.parametrize("text", READING.values(), ids=READING)
def test_a_select_reads_what_is_no_table(dev, untouched, text):
    text = text.format(file=parquet(dev), out=untouched, table=TABLE)
    with pytest.raises(SqlError):
        ask(dev, text)
    with pytest.raises(SqlError):
        check(Sql(text, "t.sql"), [TABLE])


@pytest.mark.parametrize(
    "text", ["select current_date", 'select "current_date"', "select k from silver.t where now() > k"]
)
def test_a_definition_takes_the_clock(text):
    with pytest.raises(SqlError, match="another value each time"):
        check(Sql(text, "t.sql"), [TABLE])


@pytest.mark.parametrize("text", EXPRESSIONS.values(), ids=EXPRESSIONS)
@pytest.mark.parametrize("role", ["expectation", "repair"])
def test_an_expectation_is_more_than_an_expression(root, untouched, text, role):
    prod = Lakehouse("prod", str(root / "prod"))
    text = text.format(file=parquet(prod), table=TABLE)
    expected = hr.expect(text) if role == "expectation" else hr.expect("k > 1", otherwise=hr.repair(k=text))
    table = hr.Table("gold.t", key="k", sql=f"select k from {TABLE}", expect=[expected])
    with pytest.raises(SqlError):
        materialize(prod, table, id="1", versions={TABLE: None})


# Both ways in which user SQL is run: in a thread that cannot write, and without any file.
ENGINES = ["confined", "no files"] if confinement.possible() else ["no files"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("table", [TABLE, "silver.parts"])
@pytest.mark.parametrize("statement", [COPY, "copy (select 1) to '{new}'", "export database '{new}'", "attach '{new}'"])
def test_the_engine_is_told_to_write_by_a_text_that_passed_every_check(
    dev, untouched, monkeypatch, engine, table, statement
):
    if engine == "no files":
        monkeypatch.setattr(confinement, "possible", lambda: False)  # a kernel without Landlock
    statement = statement.format(file=parquet(dev, table), new=Path(parquet(dev, table)).with_name("new.parquet"))
    with pytest.raises((duckdb.IOException, duckdb.PermissionException)):
        dev.ask({table: None}, lambda connection: connection.execute(statement).fetchall(), threads=2)


@pytest.mark.skipif(not confinement.possible(), reason="the kernel has no Landlock")
@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(b"x"),
        lambda file: os.truncate(file, 0),
        lambda file: file.unlink(),
        lambda file: file.rename(file.with_name("gone")),
        lambda file: file.with_name("new").write_bytes(b"x"),
        lambda file: file.with_name("new").symlink_to(file),
        lambda file: os.link(file, file.with_name("new")),
        lambda file: file.with_name("new").mkdir(),
    ],
)
def test_code_in_the_thread_of_a_question_changes_a_file_also_as_root(root, untouched, write):
    file = Path(parquet(Lakehouse("prod", str(root / "prod"))))

    def attack():
        failed = []
        child = threading.Thread(target=lambda: failed.append(_raises(lambda: write(file))))
        child.start()
        child.join()
        return failed[0] and _raises(lambda: write(file))

    assert confinement.run(attack, stop=lambda: None, writable=[])
    (root / "still").write_bytes(b"the rest of the process keeps its rights")
    (root / "still").unlink()


def _raises(act) -> bool:
    try:
        act()
    except OSError:
        return True
    return False


def test_sql_in_dev_writes_the_tables_of_prod(world):
    files = world.folder / ".headrace" / "prod" / "lakehouse"
    before = held(files)
    file = next(file for file in before if "shop/orders" in file and file.endswith(".parquet"))
    for text in WRITING.values():
        if "\0" in text:  # no argument of a program
            continue
        done = world.run(
            "sql", text.format(file=file, out=world.folder / "stolen", table="shop.orders"), "--env", "dev"
        )
        assert done.code == 2, done.stdout
        assert "Traceback" not in done.stderr
    assert held(files) == before
    assert not (world.folder / "stolen").exists()


def test_a_query_to_score_writes_the_tables_of_prod(world):
    files = world.folder / ".headrace" / "prod" / "lakehouse"
    before = held(files)
    file = next(file for file in before if "shop/orders" in file and file.endswith(".parquet"))
    for name in ("a comment behind a division", "a step of WITH that copies"):
        text = WRITING[name].format(file=file, out="", table="shop.orders")
        done = world.run("run", "score", "--query", text, "--into", "scratch.a", "--env", "prod", by="eng")
        assert done.code != 0
        assert "not a SELECT" in done.stderr or "more than one statement" in done.stderr
    assert held(files) == before
