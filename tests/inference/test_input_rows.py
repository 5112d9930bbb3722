"""Rows to score out of a file are read as the sources of the spine read theirs, and told apart by how they were read."""

import pyarrow as pa
import pytest

from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.inference.input_rows import rows
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append

INSTANT = pa.timestamp("us", "UTC")
PLAN = FeaturePlan(
    spine="shop.orders",
    at="at",
    keys=("id",),
    key_types=("int64",),
    inputs=(Input(name="x", kind="number", origin="spine"), Input(name="name", kind="string", origin="spine")),
    features=(Feature(name="x", kind="number", origin="spine", optional=False),),
    lookups=(),
    calls=(),
)


@pytest.fixture
def lake(tmp_path):
    made = Lakehouse("dev", str(tmp_path / "lake"))
    schema = pa.schema([("id", pa.int64()), ("at", INSTANT), ("x", pa.float64()), ("name", pa.string())])
    made.commit("shop.orders", "first", lambda _: Append(schema.empty_table()))
    return made


def values(lake, given):
    with lake.connect(given.decisions.tables, arrow=given.decisions.arrow) as connection:
        return connection.sql(f"select * from {given.decisions.relation} order by id").to_arrow_table().to_pylist()


@pytest.mark.parametrize("other", [{"encoding": "cp1250"}, {"decimal": "."}, {"nulls": ("", "-1")}])
def test_how_a_file_is_read_is_part_of_what_was_read(lake, tmp_path, other):
    file = tmp_path / "rows.csv"
    file.write_bytes("id;at;x;name\n1;2024-01-01T00:00:00Z;1;ñ\n".encode("latin-1"))

    def identity(**options):
        source = Source("bronze.o", files="o.csv", **{"encoding": "latin-1", "decimal": ",", **options})
        return rows(lake, PLAN, str(file), like=[source]).identity

    assert identity() == identity()
    assert identity() != identity(**other)


def test_json_gives_the_rows_that_csv_gives(lake, tmp_path):
    (tmp_path / "rows.csv").write_text(
        "id,at,x,name\n1.0,2024-01-01T05:00:00+02:00,9007199254740993,007\n2,2024-01-01T00:00:00.5Z,,1.50\n"
    )
    (tmp_path / "rows.jsonl").write_text(
        '{"id": 1.0, "at": "2024-01-01T05:00:00+02:00", "x": 9007199254740993, "name": "007"}\n'
        '{"id": 2, "at": "2024-01-01T00:00:00.5Z", "x": "", "name": 1.50}\n'
    )
    found = [values(lake, rows(lake, PLAN, str(tmp_path / name))) for name in ("rows.csv", "rows.jsonl")]
    assert found[0] == found[1]
    assert [(row["id"], row["at"].hour, row["x"], row["name"]) for row in found[0]] == [
        (1, 3, 9007199254740992.0, "007"),
        (2, 0, None, "1.50"),
    ]
