"""`headrace run score`: other rows than the spine's, the version of then, partitions, and what goes wrong."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet
import pytest

from .project import ok, predictions, write

ROWS = [
    {"id": 40, "customer": "c5", "placed_at": "2024-01-21T00:00:00+00:00", "amount": 7.5},
    {"id": 500, "customer": "nobody", "placed_at": "2024-02-03T00:00:00+00:00", "amount": 3.0},
]


def read(folder, name="out"):
    files = sorted((folder / name).rglob("*.parquet"))
    rows = [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("how", ["json", "jsonl", "csv", "parquet", "table", "query"])
def test_rows_of_every_kind_get_the_features_of_their_moment(headrace, trained, tmp_path, how):
    file = tmp_path / f"rows.{how}"
    if how == "json":
        file.write_text(json.dumps(ROWS))
    elif how == "jsonl":
        file.write_text("\n".join(map(json.dumps, ROWS)))
    elif how == "csv":
        lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
        file.write_text("\n".join(lines) + "\n")
    elif how == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), file)
    given = ["--source", str(file)]
    if how == "table":
        given = ["--source", "shop.orders", "--since", "2024-01-21", "--until", "2024-01-22"]
    elif how == "query":
        given = ["--query", "select id, customer, amount, placed_at from shop.orders where id in (40, 41) -- two"]
    ok(headrace, trained, "run", "score", "--version", "1", *given, "--into", f"parquet:{tmp_path / 'out'}")
    found = read(tmp_path)

    assert len(found) == 2
    assert found[40]["features"] == {"amount": 7.5, "orders": 1.0}
    assert json.loads(found[40]["feature_versions"])["stats.customers"] >= 0
    assert found[40]["decision_time"] == datetime(2024, 1, 21, tzinfo=UTC)
    if how in ("json", "csv", "jsonl", "parquet"):
        assert found[500]["features"] == {"amount": 3.0, "orders": None}


def test_the_same_decision_from_a_file_is_the_same_prediction(headrace, trained, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS[:1]))
    into = f"parquet:{tmp_path / 'out'}"
    bounds = ["--since", "2024-01-21", "--until", "2024-01-22"]
    ok(headrace, trained, "run", "score", "--version", "1", *bounds, "--into", into)
    before = read(tmp_path)
    ok(headrace, trained, "run", "score", "--version", "1", "--source", tmp_path / "rows.json", "--into", into)

    assert read(tmp_path) == before


def test_latest_takes_the_features_of_now(headrace, trained, tmp_path):
    (tmp_path / "rows.csv").write_text("id,customer,amount\n7,c1,2\n8,nobody,2\n")
    arguments = [
        "--source",
        tmp_path / "rows.csv",
        "--latest",
        "--as-of",
        "2024-02-10",
        "--into",
        f"parquet:{tmp_path / 'out'}",
    ]
    ok(headrace, trained, "run", "score", "--version", "1", *arguments)
    found = read(tmp_path)

    assert {row["decision_time"] for row in found.values()} == {datetime(2024, 2, 10, tzinfo=UTC)}
    assert found[7]["features"]["orders"] == 1.0
    assert found[8]["features"]["orders"] is None


def test_every_partition_is_a_checkpoint_and_told_with_its_speed(headrace, trained):
    arguments = ["run", "score", "--version", "1", "--since", "2024-01-20", "--until", "2024-01-22"]
    first = ok(headrace, trained, *arguments, "--json").json()
    again = ok(headrace, trained, *arguments, "--json").json()
    scored = [step for step in first["steps"] if step["name"].startswith("score")]

    assert [step["name"] for step in scored] == [
        "score 2024-01-20 by version 1",
        "score 2024-01-20T12:00:00 by version 1",
        "score 2024-01-21 by version 1",
        "score 2024-01-21T12:00:00 by version 1",
    ]
    assert all(step["output"]["rows"] == 1 and step["output"]["rows_per_second"] > 0 for step in scored)
    assert {step["status"] for step in again["steps"] if step["name"].startswith("score")} == {"unchanged"}


class TestTheVersionOfThen:
    """Version 1 was in Production from the 25th of January, version 2 from the 10th of February."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def history(cls, trained):
        with closing(sqlite3.connect(trained / ".headrace/dev/state.db")) as state, state:
            for at, number, stage in (
                ("2024-01-25 00:00:00.000000", 1, "Production"),
                ("2024-02-10 12:00:00.000000", 1, "Archived"),
                ("2024-02-10 12:00:00.000000", 2, "Production"),
            ):
                state.execute(
                    "insert into stage_history (model, version, stage, at, by, reason) values ('days', ?, ?, ?, 'eva', '')",
                    (number, stage, at),
                )

    def test_each_decision_is_scored_by_the_version_of_its_moment(self, headrace, trained, tmp_path):
        arguments = ["--version", "then", "--since", "2024-01-20", "--until", "2024-02-15"]
        done = ok(headrace, trained, "run", "score", *arguments, "--into", f"parquet:{tmp_path / 'out'}")
        found = read(tmp_path).values()
        by = {
            number: sorted(row["decision_time"] for row in found if row["model_version"] == number) for number in (1, 2)
        }

        assert "10 decisions left out: nothing was in Production then" in done.stderr
        assert (by[1][0], by[1][-1]) == (datetime(2024, 1, 25, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC))
        assert (by[2][0], by[2][-1]) == (datetime(2024, 2, 10, 12, tzinfo=UTC), datetime(2024, 2, 14, 12, tzinfo=UTC))
        assert len(by[1]) + len(by[2]) == len(found) == 42

    def test_a_given_version_scores_any_range(self, headrace, trained, tmp_path):
        arguments = ["--version", "2", "--since", "2024-01-03", "--until", "2024-01-05"]
        ok(headrace, trained, "run", "score", *arguments, "--into", f"parquet:{tmp_path / 'out'}")

        assert {row["model_version"] for row in read(tmp_path).values()} == {2}
        assert len(read(tmp_path)) == 4


def test_predictions_join_with_everything_else(headrace, trained):
    ok(headrace, trained, "run", "score", "--version", "1", "--since", "2024-01-20", "--until", "2024-01-22")
    query = """
        select p.model_version, p.feature_versions, p.decision_time, o.customer, l.days, p.prediction
        from answers.days p join shop.orders o using (id) join shop.labels l using (id) where id = 40
    """
    (row,) = ok(headrace, trained, "sql", query, "--json").json()

    assert (row["model_version"], row["customer"], row["days"]) == (1, "c5", 1)
    assert set(json.loads(row["feature_versions"])) == {"shop.orders", "stats.customers"}


def test_into_a_database_by_name(headrace, trained):
    bounds = ["--since", "2024-01-20", "--until", "2024-01-22"]
    ok(headrace, trained, "run", "score", "--version", "1", *bounds, "--into", "warehouse:days")

    assert len(predictions(trained, "database", f"sqlite:///{trained / 'warehouse.db'}")) == 4


def test_spark_gives_the_same_predictions(headrace, trained, spark, tmp_path):
    bounds = ["--version", "1", "--since", "2024-01-20", "--until", "2024-01-22"]
    ok(headrace, trained, "run", "score", *bounds, "--into", f"parquet:{tmp_path / 'here'}")
    env = {"HEADRACE_ENV__dev__spark": spark}
    ok(
        headrace,
        trained,
        "run",
        "score",
        *bounds,
        "--engine",
        "spark",
        "--into",
        f"parquet:{tmp_path / 'out'}",
        env=env,
    )
    found, expected = read(tmp_path), read(tmp_path, "here")
    for row in (*found.values(), *expected.values()):
        del row["scored_at"]

    assert found == expected
    assert len(found) == 4


def test_files_alone_are_enough(headrace, tmp_path):
    folder = write(tmp_path / "p", score='hr.Score(into=hr.files("out"))')
    for arguments in (["refresh"], ["train", "--as-of", "2024-02-01"], ["score"]):
        ok(headrace, folder, "run", *arguments)

    assert len(read(folder / ".headrace" / "dev")) == 58
    assert "cannot be read again" in ok(headrace, folder, "run", "monitor", code=2).stderr
