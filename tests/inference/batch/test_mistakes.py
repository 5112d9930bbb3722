"""What goes wrong with `headrace run score`, told before anything is written."""

import pytest
from tests.cli import mini

from .project import ok, write


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "nothing.csv"], "no table or file 'nothing.csv'"),
        (["--source", "shop.orderz"], "did you mean 'shop.orders'?"),
        (["--source", "shop.labels"], "lacks 3 columns that scoring needs"),
        (["--query", "select id from shop.orders"], "lacks 3 columns"),
        (["--query", "select * from read_csv('/etc/passwd')"], "not a declared table"),
        (["--query", "drop table shop.orders"], "<query>:1"),
        (["--query", "select *, random() from shop.orders"], "random"),
        (["--query", "select id + 0.5 as id, customer, amount, placed_at from shop.orders"], "'id' is not int64"),
        (
            ["--query", "select id, customer, amount, null::timestamptz as placed_at from shop.orders"],
            "120 rows without 'placed_at'",
        ),
        (["--query", "from shop.orders union all from shop.orders"], "come more than once"),
        (["--query", "select 1", "--source", "shop.orders"], "give one"),
        (["--latest", "--since", "2024-01-01"], "--latest"),
        (["--version", "9"], "no version of days '9'"),
        (["--version", "x"], "'x' is not a version"),
        (["--into", "nope:days"], "no database of dev 'nope'"),
        (["--into", "warehouse:x; drop table y"], "is not the name of a database's table"),
        (["--into", "answers.x.y"], "is not a table name"),
        (["--into", "csv:s3://bucket/x"], "is not a folder"),
        (["--engine", "spark"], "has no Spark"),
        (["--processes", "0"], "--processes"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_mistake_is_told_with_the_way_out(headrace, trained, arguments, says):
    done = headrace.run(trained, "run", "score", *arguments)

    assert done.code in (1, 2), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ('hr.Score(into=hr.database("a b", table="x"))', "is not the name of a database"),
        ('hr.Score(into=hr.database("a", table="x\\"; drop"))', "is not the name of a database's table"),
        ('hr.Score(into=hr.files("../x"))', "is not a folder"),
        ('hr.Score(into=hr.files("x", format="xls"))', "is not known"),
        ("hr.Score(into=[])", "goes nowhere"),
        ('hr.Score(into=["a.b", "a.b"])', "twice"),
        ('hr.Score(into="a.b", partition="2d")', "is not known"),
        ('hr.Score(into="a.b", rows=0)', "is not possible"),
        ('hr.Score(into="a.b", processes=-1)', "is not possible"),
        ('hr.Score(into=hr.files("x")), monitor=hr.Monitor()', "cannot be read again"),
    ],
)
def test_a_declaration_that_cannot_be_is_told_at_its_line(headrace, tmp_path, declared, says):
    folder = write(tmp_path / "p", score=declared, orders=1)
    done = headrace.run(folder, "run", "score", "--dry-run")

    assert done.code == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_of_something_else_in_the_place_of_predictions(headrace, tmp_path):
    """As it was there before the program declared it."""
    folder = mini.write(tmp_path / "mini")
    (folder / "taken.csv").write_text("id\n1\n")
    program = (folder / "mini.py").read_text()
    (folder / "mini.py").write_text("import headrace as hr\n")
    ok(headrace, folder, "table", "load", "taken.csv", "--into", "answers.days")
    (folder / "mini.py").write_text(program)
    for pipeline in ("refresh", "train"):
        ok(headrace, folder, "run", pipeline)
    for pipeline in ("score", "monitor"):
        done = ok(headrace, folder, "run", pipeline, code=1)
        assert "'answers.days' is no table of predictions: it has no column 'prediction_id'" in done.stderr
