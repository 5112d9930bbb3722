"""A small project whose predictions go to a table, a PostgreSQL and files of both kinds; and what is there."""

import csv
import io
import json
from datetime import UTC, datetime

import pyarrow.parquet
import sqlalchemy as sa
from deltalake import DeltaTable
from tests.cli import mini

ONE = 'hr.Score(into="answers.days")'
EVERYWHERE = (
    'hr.Score(into=["answers.days", hr.database("warehouse", table="days"), hr.files("out"), '
    'hr.files("texts", format="csv")], processes=2)'
)
PLACES = ("delta", "database", "parquet", "csv")
MADE = ("scored_at", "feature_versions")


def write(folder, url="sqlite:///warehouse.db", score=EVERYWHERE, orders=120):
    """The project, refreshed by nobody yet."""
    mini.write(folder, orders=orders)
    program = (folder / "mini.py").read_text()
    assert ONE in program
    (folder / "mini.py").write_text(program.replace(ONE, score))
    toml = mini.TOML.replace("[env.dev]\n", f"[env.dev]\ndatabases = {{warehouse = {json.dumps(url)}}}\n")
    (folder / "headrace.toml").write_text(toml)
    return folder


def clean(url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name in ("days", "headrace_partitions"):
            connection.exec_driver_sql(f"drop table if exists {name}")
    engine.dispose()


def predictions(folder, place, url):
    """Rows as text by prediction, without how they were made; each is there once."""
    root = folder / ".headrace" / "dev"
    if place == "delta":
        rows = DeltaTable(str(root / "lakehouse" / "answers" / "days")).to_pyarrow_table().to_pylist()
    elif place == "database":
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            table = sa.Table("days", sa.MetaData(), autoload_with=connection)
            rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        engine.dispose()
    elif place == "parquet":
        files = sorted((root / "out").rglob("*.parquet"))
        rows = [row for file in files for row in pyarrow.parquet.read_table(file, partitioning=None).to_pylist()]
    else:
        rows = [
            row
            for file in sorted((root / "texts").rglob("*.csv"))
            for row in csv.DictReader(io.StringIO(file.read_text()))
        ]
    found = {row["prediction_id"]: {name: text(row[name]) for name in sorted(row) if name not in MADE} for row in rows}
    assert len(found) == len(rows), f"a prediction is twice in {place}"
    return found


def text(value):
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def ok(headrace, folder, *arguments, code=0, **options):
    done = headrace.run(folder, *arguments, **options)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
