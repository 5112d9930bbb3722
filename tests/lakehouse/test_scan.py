"""A snapshot reads the same whichever way it is read."""

import base64
import json
import random
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from headrace.core.errors import DataError, DeclarationError, HeadraceError, NotFoundError
from headrace.lakehouse import adhoc, scan
from headrace.lakehouse.declarations import check_name
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Overwrite, Upsert

T = "silver.t"


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def grown(lake):
    """A table whose files have three schemas."""
    lake.commit(T, "a", lambda _: Append(pa.table({"k": [1, 2], "v": ["a", None]})))
    lake.commit(T, "b", lambda _: Append(pa.table({"x": pa.array([1.5], pa.float32()), "k": [3]})))
    lake.commit(T, "c", lambda _: Append(pa.table({"y": [True], "k": [4], "v": ["d"]})))
    return lake.snapshot(T)


def in_order(table):
    return sorted(table.to_pylist(), key=lambda row: str(row["k"]))


def test_files_of_several_schemas_read_in_any_order(lake, monkeypatch):
    snapshot = grown(lake)
    files, expected = scan._local_files(snapshot), DeltaTable(snapshot.path).to_pyarrow_table()
    for seed in range(6):
        shuffled = random.Random(seed).sample(files, len(files))
        monkeypatch.setattr(scan, "_local_files", lambda _, shuffled=shuffled: shuffled)
        read = snapshot.to_arrow()
        assert read.schema == expected.schema
        assert in_order(read) == in_order(expected)


def test_rows_come_in_the_order_in_which_they_were_written(lake):
    assert grown(lake).to_arrow()["k"].to_pylist() == [1, 2, 3, 4]


def test_columns_and_rows_may_be_chosen(lake):
    snapshot = grown(lake)
    assert snapshot.to_arrow(["v", "k"], where="k >= 2 and x is null").to_pylist() == [
        {"v": None, "k": 2},
        {"v": "d", "k": 4},
    ]
    with pytest.raises(NotFoundError, match="did you mean 'v'"):
        snapshot.to_arrow(["vv"])


def test_filters_and_columns_are_pushed_into_the_files(lake):
    grown(lake)
    with lake.connect({T: None}) as connection:
        plan = connection.execute("EXPLAIN SELECT v FROM silver.t WHERE k = 3").fetchall()[0][1]
    assert "PARQUET" in plan
    assert "Filters" in plan
    assert " x " not in plan


def test_a_column_that_no_file_has_is_null(lake):
    lake.commit(T, "a", lambda _: Append(pa.table({"k": [1]})))
    DeltaTable(lake.snapshot(T).path).alter.add_columns(
        [Field("new", PrimitiveType("string")), Field("K2", PrimitiveType("byte"))]
    )
    read = lake.snapshot(T).to_arrow()
    assert read.to_pylist() == [{"k": 1, "new": None, "K2": None}]
    assert read.schema.types == [pa.int64(), pa.string(), pa.int8()]


def test_the_type_is_the_tables_and_not_the_files(lake):
    snapshot = grown(lake)
    file = scan._local_files(snapshot)[0]
    pq.write_table(pa.table({"k": pa.array([1, 2], pa.int32()), "v": ["a", "b"], "stray": [0, 0]}), file)
    assert lake.snapshot(T).to_arrow().schema == snapshot.schema


@pytest.mark.parametrize("how", ["never had a row", "lost its rows"])
def test_an_empty_table_has_its_columns(lake, how):
    full = pa.table({"k": pa.array([1], pa.int16()), "at": pa.array([0], pa.timestamp("us", "UTC"))})
    if how == "lost its rows":
        lake.commit(T, "a", lambda _: Append(full))
    lake.commit(T, "b", lambda _: Overwrite(full.slice(0, 0)))
    snapshot = lake.snapshot(T)
    assert snapshot.to_arrow().equals(full.slice(0, 0))
    assert snapshot.rows() == 0
    with lake.connect({T: None}) as connection:
        assert connection.execute("SELECT count(*), max(k) FROM silver.t").fetchone() == (0, None)


def test_versions_are_read_side_by_side_with_tables_in_memory(lake):
    grown(lake)
    lake.commit("gold.u", "a", lambda _: Append(pa.table({"k": [1, 3]})))
    more = {"made": pa.table({"k": [3]}), "silver.more": pa.table({"k": [1]})}
    with lake.connect({T: 1, "gold.u": None}, arrow=more) as connection:
        assert connection.sql("SELECT k FROM silver.t JOIN gold.u USING (k)").fetchall() == [(1,)]
        assert connection.sql("SELECT k FROM gold.u JOIN made USING (k)").fetchall() == [(3,)]
        assert connection.sql("SELECT k FROM gold.u JOIN silver.more USING (k)").fetchall() == [(1,)]


def test_rows_are_counted_without_reading_them(lake):
    snapshot = grown(lake)
    for file in scan._local_files(snapshot):
        Path(file).write_bytes(b"")
    assert snapshot.rows() == 4


def test_instants_are_utc_and_wall_clock_times_have_no_zone(lake):
    table = pa.table(
        {
            "at": pa.array([1_600_000_000_000_001], pa.timestamp("us", "UTC")),
            "wall": pa.array([1_600_000_000_000_001], pa.timestamp("us")),
        }
    )
    lake.commit(T, "a", lambda _: Append(table))
    with lake.connect({T: None}) as connection:
        assert connection.sql("FROM silver.t").to_arrow_table().equals(table)
        assert connection.execute('SELECT "at"::VARCHAR FROM silver.t').fetchone() == ("2020-09-13 12:26:40.000001+00",)


# ---------------------------------------------------------------------------------------------- tables of others


def test_a_partitioned_table_is_read_through_its_dataset(lake, tmp_path):
    table = pa.table({"part": ["a b", "ü/%"], "k": [1, 2]})
    write_deltalake(str(tmp_path / "dev/silver/t"), table, partition_by="part")
    snapshot = lake.snapshot(T)
    assert in_order(snapshot.to_arrow()) == table.to_pylist()
    assert snapshot.rows() == 2
    assert snapshot.to_arrow(where="part = 'a b'")["k"].to_pylist() == [1]
    lake.commit(T, "a", lambda _: Upsert(pa.table({"part": ["c"], "k": [1]}), ["k"]))
    assert in_order(lake.snapshot(T).to_arrow()) == [{"part": "c", "k": 1}, {"part": "ü/%", "k": 2}]


def test_an_object_stores_tables_are_read_through_their_dataset(lake, monkeypatch):
    expected = in_order(grown(lake).to_arrow())
    monkeypatch.setattr(scan, "_local_files", lambda _: None)
    assert in_order(lake.snapshot(T).to_arrow()) == expected


def test_deleted_rows_of_a_deletion_vector_are_not_read(lake, tmp_path):
    folder = tmp_path / "dev/silver/t"
    write_deltalake(str(folder), pa.table({"k": [10, 11, 12, 13]}))
    name = next(folder.glob("*.parquet")).name
    before = {"path": name, "partitionValues": {}, "size": (folder / name).stat().st_size, "dataChange": True}
    statistics = json.dumps({"numRecords": 4})
    features = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"]}
    actions = [
        {"protocol": {**features, "writerFeatures": ["deletionVectors"]}},
        {"remove": {**before, "deletionTimestamp": 0}},
        {"add": {**before, "modificationTime": 0, "stats": statistics, "deletionVector": deletion_vector(1, 3)}},
    ]
    log = folder / "_delta_log" / f"{1:020d}.json"
    log.write_text("\n".join(json.dumps(action) for action in actions))
    snapshot = lake.snapshot(T)
    assert snapshot.to_arrow().to_pydict() == {"k": [10, 12]}
    assert snapshot.rows() == 2


def deletion_vector(*rows):
    """Row numbers as Delta keeps them inside its log: one roaring bitmap with one array container, in Z85 text."""
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *rows)
    data = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    b85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    text = base64.b85encode(data).decode().translate(str.maketrans(b85, z85))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": len(rows)}


def with_path(table, path):
    """The table's log names this file for its own."""
    for log in (table / "_delta_log").glob("*.json"):
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        for entry in entries:
            if "add" in entry:
                entry["add"]["path"] = path
        log.write_text("\n".join(map(json.dumps, entries)))


@pytest.fixture
def secret(tmp_path):
    """A file of a table of another environment."""
    write_deltalake(str(tmp_path / "prod/silver/t"), pa.table({"k": ["secret"]}))
    return next((tmp_path / "prod/silver/t").glob("*.parquet"))


@pytest.mark.parametrize("parted", [None, ["p"]])
@pytest.mark.parametrize(
    "way", ["../../../prod/silver/t/", "..%2F..%2F..%2Fprod/silver/t/", "%2e%2e/%2e%2e/%2e%2e/prod/silver/t/", "link/"]
)
def test_a_log_leads_to_no_file_of_another_environment(lake, tmp_path, secret, way, parted):
    table = tmp_path / "dev/silver/t"
    write_deltalake(str(table), pa.table({"k": ["mine"], "p": ["x"]}), partition_by=parted)
    (table / "link").symlink_to(secret.parent, target_is_directory=True)
    with_path(table, f"{way}{secret.name}")
    snapshot = lake.snapshot(T)
    for read in (snapshot.to_arrow, lambda: adhoc.ask(lake, f"select k from {T}"), lambda: snapshot.place.missing(0)):
        with pytest.raises(DataError, match=r"dev/silver/t: the Delta log names the file '.*, which leads out"):
            read()


@pytest.mark.parametrize("how", ["absolute", "file", "glob"])
def test_other_ways_to_name_a_file_lead_nowhere_either(lake, tmp_path, secret, how):
    write_deltalake(str(tmp_path / "dev/silver/t"), pa.table({"k": ["mine"]}))
    with_path(tmp_path / "dev/silver/t", {"absolute": str(secret), "file": secret.as_uri(), "glob": "*.parquet"}[how])
    with pytest.raises(DataError, match=r"silver\.t"):
        lake.snapshot(T).to_arrow()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no Parquet file at all"])
def test_a_damaged_file_of_a_table_is_named(lake, content):
    lake.commit(T, "a", lambda _: Append(pa.table({"k": [1]})))
    snapshot = lake.snapshot(T)
    file = Path(scan._local_files(snapshot)[0])
    file.write_bytes(content)
    for read in (snapshot.to_arrow, lambda: adhoc.ask(lake, f"select k from {T}"), lambda: lake.connect({T: None})):
        with pytest.raises(DataError, match=rf"silver\.t cannot be read: .*{file.name}"):
            read()


def test_damage_further_inside_a_file_is_said_too(lake):
    lake.commit(T, "a", lambda _: Append(pa.table({"k": [f"{place}" for place in range(10_000)]})))
    file = Path(scan._local_files(lake.snapshot(T))[0])
    data = file.read_bytes()
    file.write_bytes(data[:4] + b"\xff" * 2000 + data[2004:])
    with pytest.raises(DataError, match=r"silver\.t cannot be read"):
        lake.snapshot(T).to_arrow()
    with pytest.raises(HeadraceError):
        adhoc.ask(lake, f"select k from {T}")


@pytest.mark.parametrize("schema", ["information_schema", "pg_catalog", "system", "temp"])
def test_a_folder_named_like_a_schema_of_the_engine_is_no_table(lake, tmp_path, schema):
    write_deltalake(str(tmp_path / "dev" / schema / "t"), pa.table({"k": [1]}))
    lake.commit(T, "a", lambda _: Append(pa.table({"k": [1]})))
    assert [each.name for each in lake.names()] == [T]
    with pytest.raises(HeadraceError):
        lake.snapshot(f"{schema}.t").to_arrow()
    with pytest.raises(DeclarationError, match="is written by Headrace itself"):
        check_name(f"{schema}.t")
