"""A column that holds no value yet takes the type of the first that comes, down the whole chain."""

import pytest

PROJECT = (
    "import headrace as hr\n"
    'raw = hr.Source("bronze.t", files="data/*")\n'
    'made = hr.Table("silver.t", key="id", sql="select id, a from bronze.t")\n'
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "p"\nmodule = "proj"\n\n[env.dev]\n')
    (tmp_path / "proj.py").write_text(PROJECT)
    (tmp_path / "data").mkdir()
    return tmp_path


def refresh(headrace, folder, code=0):
    done = headrace.run(folder, "run", "refresh")
    assert done.code == code, done.stderr
    return done.stderr


def values(headrace, folder, table):
    return [row["a"] for row in headrace.run(folder, "sql", f"select a from {table} order by id", "--json").json()]


@pytest.mark.parametrize(
    ("name", "first", "second", "value"),
    [
        ("csv", "id,a\n1,\n", "id,a\n2,5\n", 5),
        ("csv", "id,a\n1,\n", "id,a\n2,2024-01-01 10:00:00\n", "2024-01-01T10:00:00"),
        ("jsonl", '{"id": 1, "a": null}\n', '{"id": 2, "a": {"b": [1]}}\n', {"b": [1]}),
        ("csv", "id,a\n1,\n", "id,a\n2,x\n", "x"),
    ],
)
def test_the_first_value_tells_the_type(headrace, project, name, first, second, value):
    (project / "data" / f"1.{name}").write_text(first)
    refresh(headrace, project)
    (project / "data" / f"2.{name}").write_text(second)
    refresh(headrace, project)

    assert values(headrace, project, "bronze.t") == [None, value]
    assert values(headrace, project, "silver.t") == [None, value]
    assert "unchanged" in refresh(headrace, project)


def test_a_declared_type_is_taken_without_another_file(headrace, project):
    (project / "data" / "1.csv").write_text("id,a\n1,\n")
    refresh(headrace, project)
    (project / "proj.py").write_text(PROJECT.replace('"data/*"', '"data/*", schema=hr.Schema(a="int64")'))

    assert "a: string → int64" in refresh(headrace, project)
    assert values(headrace, project, "silver.t") == [None]


def test_a_file_that_is_replaced_by_one_without_a_value(headrace, project):
    file = project / "data" / "1.csv"
    file.write_text("id,a\n1,\n")
    refresh(headrace, project)
    file.write_text("id,a\n")
    refresh(headrace, project)
    file.write_text("id,a\n1,1.5\n")
    refresh(headrace, project)

    assert values(headrace, project, "silver.t") == [1.5]


def test_one_text_is_enough_to_stay_text(headrace, project):
    (project / "data" / "1.csv").write_text("id,a\n1,\n2,x\n")
    refresh(headrace, project)
    (project / "data" / "2.csv").write_text("id,a\n3,5\n")
    refresh(headrace, project)

    assert values(headrace, project, "silver.t") == [None, "x", "5"]
