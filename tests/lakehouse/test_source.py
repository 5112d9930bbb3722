"""New files once, changed ones in place of what they were, and functions: exactly once, or not at all."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import ConfigError, DataError, DeclarationError, UserCodeError
from headrace.core.failpoints import VARIABLE
from headrace.core.schema import Schema
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.source import load, load_file
from headrace.lakehouse.writes import Append


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "lake"))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "project"
    (path / "data").mkdir(parents=True)
    return path


ORDERS = Source("bronze.orders", files="data/*.csv")


def rows(lake, name="bronze.orders"):
    table = lake.snapshot(name).to_arrow()
    listed = table.drop_columns([each for each in ("_digest",) if each in table.column_names]).to_pylist()
    return sorted(listed, key=lambda row: (row.get("_file", ""), str(row.get("id"))))


def test_new_files_are_loaded_once_in_one_version(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n1,1.5\n")
    (folder / "data/b.csv").write_text("id,x\n2,NA\n")
    loaded = load(lake, ORDERS, folder)
    assert (loaded.files_new, loaded.files_known, loaded.rows) == (2, 0, 2)
    again = load(lake, ORDERS, folder)
    assert (again.files_new, again.files_known, again.rows, again.version) == (0, 2, 0, loaded.version)
    (folder / "data/c.csv").write_text("id,x\n3,3\n")
    more = load(lake, ORDERS, folder)
    assert (more.files_new, more.files_known, more.rows, more.version) == (1, 2, 1, loaded.version + 1)
    assert rows(lake) == [
        {"id": 1, "x": 1.5, "_file": "data/a.csv"},
        {"id": 2, "x": None, "_file": "data/b.csv"},
        {"id": 3, "x": 3.0, "_file": "data/c.csv"},
    ]


def test_a_changed_file_replaces_its_rows_and_may_change_back(lake, folder):
    one, other = "id,x\n1,1\n", "id,x\n1,1\n2,2\n"
    (folder / "data/kept.csv").write_text("id,x\n9,9\n")
    for text in (one, other, one):
        (folder / "data/a.csv").write_text(text)
        assert load(lake, ORDERS, folder).files_new >= 1
        assert [row["id"] for row in rows(lake)] == [*range(1, text.count("\n")), 9]
    (folder / "data/a.csv").write_text("id,x\n")
    load(lake, ORDERS, folder)
    assert [row["id"] for row in rows(lake)] == [9]
    assert load(lake, ORDERS, folder).rows == 0


def test_rows_of_a_deleted_file_stay_and_a_moved_file_is_known(lake, folder):
    (folder / "data/a.csv").write_text("id\n1\n")
    (folder / "data/b.csv").write_text("id\n2\n")
    load(lake, ORDERS, folder)
    (folder / "data/a.csv").rename(folder / "data/moved.csv")
    (folder / "data/b.csv").unlink()
    assert load(lake, ORDERS, folder).files_new == 0
    assert [row["_file"] for row in rows(lake)] == ["data/a.csv", "data/b.csv"]


def test_rotated_files_lose_and_double_nothing(lake, folder):
    (folder / "data/log.csv").write_text("id\n1\n")
    load(lake, ORDERS, folder)
    (folder / "data/log.csv").rename(folder / "data/log1.csv")
    (folder / "data/log.csv").write_text("id\n2\n")
    load(lake, ORDERS, folder)
    assert [(row["id"], row["_file"]) for row in rows(lake)] == [(2, "data/log.csv"), (1, "data/log1.csv")]


def test_a_file_without_rows_changes_nothing(lake, folder):
    (folder / "data/a.csv").write_text("id\n1\n")
    version = load(lake, ORDERS, folder).version
    (folder / "data/b.csv").write_text("id\n")
    assert load(lake, ORDERS, folder).version == version


def test_a_table_cannot_start_without_rows_unless_its_types_are_declared(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n")
    with pytest.raises(DataError, match=r"has a row yet[\s\S]*hr.Schema\(id=…, x=…\)"):
        load(lake, ORDERS, folder)
    declared = Source("bronze.orders", files="data/*.csv", schema=Schema(id="int64", x="float64"))
    load(lake, declared, folder)
    (folder / "data/b.csv").write_text("id,x\n1,2.5\n")
    load(lake, declared, folder)
    assert rows(lake) == [{"id": 1, "x": 2.5, "_file": "data/b.csv"}]


def test_a_restored_table_gets_again_what_came_later(lake, folder):
    (folder / "data/a.csv").write_text("id\n1\n")
    version = load(lake, ORDERS, folder).version
    (folder / "data/b.csv").write_text("id\n2\n")
    load(lake, ORDERS, folder)
    lake.restore("bronze.orders", version)
    assert load(lake, ORDERS, folder).files_new == 1
    assert [row["id"] for row in rows(lake)] == [1, 2]


def test_new_columns_are_added_and_missing_ones_null(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n1,1\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("id,Total (EUR)\n2,5\n")
    load(lake, ORDERS, folder)
    assert rows(lake) == [
        {"id": 1, "x": 1, "Total (EUR)": None, "_file": "data/a.csv"},
        {"id": 2, "x": None, "Total (EUR)": 5, "_file": "data/b.csv"},
    ]


def test_numbers_that_look_whole_fit_a_table_of_text_or_fractions(lake, folder):
    (folder / "data/a.csv").write_text("zip,x,n\nA1,1.5,1\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("zip,x,n\n007,2,3.0\n")
    load(lake, ORDERS, folder)
    assert [(row["zip"], row["x"], row["n"]) for row in rows(lake)] == [("A1", 1.5, 1), ("007", 2.0, 3)]


@pytest.mark.parametrize("together", [True, False])
def test_files_whose_types_conflict_are_refused_and_nothing_is_written(lake, folder, together):
    (folder / "data/a.csv").write_text("id,x\n1,1\n")
    if not together:
        load(lake, ORDERS, folder)
    before = rows(lake) if not together else None
    (folder / "data/b.csv").write_text("id,x\n2,many\n")
    (folder / "data/c.csv").write_text("id,x\n3,3\n")
    with pytest.raises(DataError) as refused:
        load(lake, ORDERS, folder)
    said = str(refused.value)
    assert f"data/b.csv: column 'x' is string, in {'data/a.csv' if together else 'the table'} it is int64" in said
    assert 'schema=hr.Schema(x="string")' in said
    assert rows(lake) == before if not together else not lake.exists("bronze.orders")


def test_declared_types_hold(lake, folder):
    schema = Schema(zip="string", at="timestamp_utc", seen="timestamp", day="date", n="int16")
    (folder / "data/a.csv").write_text("zip,at,seen,day,n\n007,2024-01-01 05:00:00,2024-01-01T05:00:00Z,2024-01-01,3\n")
    load(lake, Source("bronze.orders", files="data/*.csv", schema=schema), folder)
    (row,) = rows(lake)
    assert row["zip"] == "007"
    assert row["at"] == datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert row["seen"] == datetime(2024, 1, 1, 5)  # noqa: DTZ001
    assert lake.snapshot("bronze.orders").schema.field("n").type == pa.int16()
    (folder / "data/b.csv").write_text("n\n1\n")
    with pytest.raises(DataError, match=r"column 'n' of 'bronze\.orders' was int16 and would now be int8"):
        load(lake, Source("bronze.orders", files="data/*.csv", schema=Schema(n="int8")), folder)
    with pytest.raises(DataError, match="declares a column 'dya' that no file has: did you mean 'day'"):
        load(lake, Source("bronze.orders", files="data/*.csv", schema=Schema(dya="date")), folder)


def test_parquet_and_json_lines_load_beside_csv(lake, folder):
    (folder / "data/a.jsonl").write_text('{"id": 1, "at": "2024-01-01T05:00:00Z"}\n')
    table = pa.table(
        {
            "id": pa.array([2], pa.uint16()),
            "at": pa.array([datetime(2024, 1, 2, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        }
    )
    pa.parquet.write_table(table, folder / "data/b.parquet")
    source = Source("bronze.orders", files=["data/*.jsonl", "data/*.parquet"])
    assert load(lake, source, folder).rows == 2
    assert [row["id"] for row in rows(lake)] == [1, 2]
    assert load(lake, source, folder).files_known == 2


def test_a_malformed_row_writes_nothing(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n1,1\n")
    (folder / "data/b.csv").write_text("id,x\n2,2\n3\n")
    with pytest.raises(DataError, match=r"data/b\.csv:3: Expected 2 columns"):
        load(lake, ORDERS, folder)
    assert not lake.exists("bronze.orders")


def test_a_pattern_without_files_says_where_it_looked(lake, folder):
    with pytest.raises(ConfigError) as refused:
        load(lake, Source("bronze.orders", files="date/*.csv"), folder)
    assert "test_source.py:" in str(refused.value)
    assert "no file matches 'date/*.csv'" in str(refused.value)
    assert f"Looked in {folder}" in str(refused.value)


def test_files_outside_the_project_go_by_their_name_and_must_not_share_one(lake, folder, tmp_path):
    for part in ("x", "y"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "raw.csv").write_text(f"id\n{part}\n")
    load(lake, Source("bronze.orders", files=tmp_path / "x/raw.csv"), folder)
    assert rows(lake) == [{"id": "x", "_file": "raw.csv"}]
    with pytest.raises(ConfigError, match=r"finds two files called 'raw\.csv'"):
        load(lake, Source("bronze.orders", files=[tmp_path / "x/raw.csv", tmp_path / "y/raw.csv"]), folder)


def test_a_reserved_column_is_refused(lake, folder):
    (folder / "data/a.csv").write_text("id,_file\n1,a\n")
    with pytest.raises(DataError, match="writes the column '_file' itself"):
        load(lake, ORDERS, folder)


def test_one_file_by_hand(lake, tmp_path):
    path = tmp_path / "jan" / "zones[1].csv"
    other = tmp_path / "feb" / "zones[1].csv"
    for each in (path, other):
        each.parent.mkdir()
        each.write_text(f"zone\n{each.parent.name}\n")
        assert load_file(lake, "bronze.zones", each).rows == 1
        assert load_file(lake, "bronze.zones", each).rows == 0
    copy = tmp_path / "copy.csv"
    copy.write_bytes(path.read_bytes())
    assert load_file(lake, "bronze.zones", copy).rows == 0
    path.write_text("zone\nJAN\n")
    assert load_file(lake, "bronze.zones", path).rows == 1
    assert {row["zone"] for row in rows(lake, "bronze.zones")} == {"JAN", "feb"}
    assert {f"/{row['_file']}" for row in rows(lake, "bronze.zones")} == {str(path.resolve()), str(other.resolve())}
    with pytest.raises(DeclarationError, match="is not a table name"):
        load_file(lake, "zones", path)
    with pytest.raises(ConfigError, match="no file matches"):
        load_file(lake, "bronze.zones", tmp_path / "zone.csv")


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 3), max_size=3), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_happens_to_the_files_the_table_has_the_last_content_of_each(tmp_path_factory, states):
    base = tmp_path_factory.mktemp("history")
    lake, folder = Lakehouse("dev", str(base / "lake")), base / "project"
    expected = {}
    for state in states:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, values in state.items():
            # the name is part of the content, so that no file is taken for another that was moved
            (folder / f"{name}.csv").write_text("id,of\n" + "".join(f"{value},{name}\n" for value in values))
        load(lake, Source("bronze.orders", files="*.csv", schema=Schema(id="int64", of="string")), folder)
        expected |= {f"{name}.csv": sorted(values) for name, values in state.items()}
        found = {}
        for row in rows(lake):
            found.setdefault(row["_file"], []).append(row["id"])
        assert found == {name: values for name, values in expected.items() if values}


# ---------------------------------------------------------------------------------------------- functions


def batch(*values):
    return pa.RecordBatch.from_pylist([{"id": value} for value in values], schema=pa.schema([("id", pa.int64())]))


def test_a_function_replaces_the_table_only_by_something_else(lake, folder):
    given_now = [batch(1, 2), batch(2)]
    source = Source("bronze.orders", read=lambda: iter(given_now))
    first = load(lake, source, folder)
    assert first.rows == 3
    given_now.reverse()
    assert load(lake, source, folder).version == first.version
    given_now.pop()
    assert load(lake, source, folder).version == first.version + 1
    assert rows(lake) == [{"id": 2}]
    given_now[:] = [batch(1, 2), batch(2)]
    load(lake, source, folder)
    assert rows(lake) == [{"id": 1}, {"id": 2}, {"id": 2}]


@pytest.mark.parametrize(
    "read",
    [lambda: pa.table({"id": [1]}), lambda: [pa.table({"id": [1]})], lambda: batch(1), lambda: batch(1) and pa.table({"id": [1]}).to_reader()],
)  # fmt: skip
def test_a_table_or_reader_will_do(lake, folder, read):
    load(lake, Source("bronze.orders", read=read), folder)
    assert rows(lake) == [{"id": 1}]


def raising():
    yield batch(1)
    raise ValueError("the API said 500")


def unlike():
    yield batch(1)
    yield pa.RecordBatch.from_pylist([{"name": "a"}])


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (raising, "raised ValueError: the API said 500"),
        (unlike, "yielded columns (name string) after (id int64)"),
        (lambda: pd.DataFrame({"id": [1]}), "returned DataFrame, not Arrow record batches"),
        (lambda: [pd.DataFrame({"id": [1]})], "yielded DataFrame, not Arrow record batches"),
        (lambda: None, "returned NoneType, not Arrow record batches"),
        (lambda: iter(()), "yielded nothing"),
    ],
)
def test_a_function_that_fails_is_blamed_at_its_own_line_and_nothing_is_written(lake, folder, read, says):
    with pytest.raises(UserCodeError) as refused:
        load(lake, Source("bronze.orders", read=read), folder)
    assert says in str(refused.value)
    assert str(refused.value).startswith(__file__)
    assert not lake.exists("bronze.orders")
    if read is raising:
        line = raising.__code__.co_firstlineno + 2
        assert str(refused.value).startswith(f"{__file__}:{line}: ")
        assert isinstance(refused.value.__cause__, ValueError)


def test_a_function_keeps_the_types_of_its_table(lake, folder):
    load(lake, Source("bronze.orders", read=lambda: batch(1)), folder)
    with pytest.raises(DataError, match=r"column 'id' of 'bronze\.orders' was int64 and would now be string"):
        load(lake, Source("bronze.orders", read=lambda: pa.table({"id": ["1"]})), folder)
    load(lake, Source("bronze.orders", read=lambda: pa.table({"id": ["2"]}), schema=Schema(id="int64")), folder)
    assert rows(lake) == [{"id": 2}]


KILLED = """
import sys
from pathlib import Path
from headrace.lakehouse.writes import Append
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.source import load
load(Lakehouse("dev", sys.argv[1]), Source("bronze.orders", files="data/*.csv"), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("place", ["commit.computed:bronze.orders", "commit.committed:bronze.orders"])
def test_killed_and_run_again_a_load_loses_and_doubles_nothing(lake, folder, tmp_path, place):
    (folder / "data/a.csv").write_text("id\n1\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("id\n2\n")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "lake"), str(folder)]
    done = subprocess.run(command, env={**os.environ, VARIABLE: place}, check=False)
    assert done.returncode == -signal.SIGKILL
    load(lake, ORDERS, folder)
    assert [row["id"] for row in rows(lake)] == [1, 2]


def test_loads_at_the_same_time_double_nothing(lake, folder, tmp_path):
    (folder / "data/a.csv").write_text("id\n1\n")
    load(lake, ORDERS, folder)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "lake"), str(folder)]
    for number, name in enumerate("bcd", start=2):
        (folder / f"data/{name}.csv").write_text(f"id\n{number}\n")
    racing = [subprocess.Popen(command) for _ in range(3)]
    assert [each.wait() for each in racing] == [0, 0, 0]
    assert [row["id"] for row in rows(lake)] == [1, 2, 3, 4]


# ---------------------------------------------------------------------------------------------- what a file leaves open


def test_the_spelling_of_one_file_makes_a_column_text_in_all_files_of_a_load(lake, folder):
    (folder / "data/a.csv").write_text("id,plz,x\n1,20095,1.50\n")
    (folder / "data/b.csv").write_text("id,plz,x\n2,01067,2\n")
    loaded = load(lake, ORDERS, folder)
    assert [(row["plz"], row["x"]) for row in rows(lake)] == [("20095", 1.5), ("01067", 2.0)]
    (note,) = loaded.notes
    assert note.startswith("bronze.orders: plz is text, for '01067' has leading zeros; ")
    (folder / "data/c.csv").write_text("id,plz,x\n3,00001,3\n")
    assert load(lake, ORDERS, folder).notes == ()
    assert load(lake, ORDERS, folder).notes == ()


def test_a_later_file_with_leading_zeros_is_refused_with_what_declares_it(lake, folder):
    (folder / "data/a.csv").write_text("id,plz\n1,20095\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("id,plz\n2,01067\n")
    with pytest.raises(DataError) as refused:
        load(lake, ORDERS, folder)
    assert "data/b.csv: column plz is text, for '01067' has leading zeros; in the table it is int64" in str(
        refused.value
    )
    assert "schema=hr.Schema(plz='int64')" in str(refused.value)
    load(lake, Source("bronze.orders", files="data/*.csv", schema=Schema(plz="int64")), folder)
    assert [row["plz"] for row in rows(lake)] == [20095, 1067]


@pytest.mark.parametrize(
    ("name", "first", "second", "third", "says", "declared"),
    [
        ("jsonl", '{"x": 7}', '{"x": 12345678901234567890}', "", "has more digits than a number keeps; in the table it is int64", None),
        ("csv", "x\n7\n", "x\n1E5\n", "", "'1E5' has an exponent like a code; in the table it is int64", [7, 100_000]),
        ("csv", "x\n2024-01-01T05:00Z\n", "x\n2024-01-01T05:00Z\n2024-01-01T06:00\n", "",
         "'2024-01-01T06:00' has no zone, and others have one; in the table it is timestamp_utc", [5, 5, 6]),
        ("csv", "", "x\n2024-01-01T05:00Z\n2024-01-01T06:00\n", "x\n2024-01-01T05:00Z\n",
         "data/1.csv: column x is text, for '2024-01-01T06:00' has no zone, and others have one; in data/2.csv", [5, 6, 5]),
    ],
)  # fmt: skip
def test_a_spelling_that_does_not_fit_is_told_with_the_declaration_that_reads_it(
    lake, folder, name, first, second, third, says, declared
):
    source = {"files": f"data/*.{name}"}
    if first:
        (folder / f"data/0.{name}").write_text(first)
        load(lake, Source("bronze.orders", **source), folder)
    (folder / f"data/1.{name}").write_text(second)
    if third:
        (folder / f"data/2.{name}").write_text(third)
    with pytest.raises(DataError) as refused:
        load(lake, Source("bronze.orders", **source), folder)
    assert says in str(refused.value)
    if declared is None:
        return
    kind = "int64" if "int64" in says else "timestamp_utc"
    assert f"schema=hr.Schema(x='{kind}')" in str(refused.value)
    load(lake, Source("bronze.orders", schema=Schema(x=kind), **source), folder)
    found = [row["x"] if kind == "int64" else row["x"].hour for row in rows(lake)]
    assert sorted(found) == sorted(declared)


def test_csv_and_json_of_the_same_times_are_one_table(lake, folder):
    (folder / "data/a.csv").write_text("id,at,day\n1,2024-01-01T05:00:00+02:00,2024-01-01\n")
    (folder / "data/b.jsonl").write_text('{"id": 2, "at": "2024-01-01T03:00:00.5Z", "day": "2024-01-02"}\n')
    source = Source("bronze.orders", files=["data/*.csv", "data/*.jsonl"])
    load(lake, source, folder)
    (folder / "data/c.jsonl").write_text('{"id": 3, "at": "2024-01-01T03:00:00Z", "day": null}\n')
    load(lake, source, folder)
    at = datetime(2024, 1, 1, 3, tzinfo=UTC)
    assert [row["at"] for row in rows(lake)] == [at, at.replace(microsecond=500_000), at]
    assert lake.snapshot("bronze.orders").schema.field("day").type == pa.date32()


def test_exponents_go_into_a_column_of_fractions(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n1,1.5\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("id,x\n2,1E5\n")
    load(lake, ORDERS, folder)
    assert [row["x"] for row in rows(lake)] == [1.5, 100000.0]


def test_another_way_of_writing_a_later_file_is_told(lake, folder):
    (folder / "data/a.csv").write_text("id,x\n1,1.5\n")
    assert load(lake, ORDERS, folder).notes == ()
    (folder / "data/b.csv").write_text("id;x\n2;2,5\n")
    separator, decimal = load(lake, ORDERS, folder).notes
    assert 'separator=";"' in separator
    assert 'decimal=","' in decimal
    (folder / "data/c.csv").write_text("id;x\n3;3,5\n")
    assert load(lake, ORDERS, folder).notes == ()
    assert [row["x"] for row in rows(lake)] == [1.5, 2.5, 3.5]


def test_an_empty_file_is_left_out_but_does_not_take_the_place_of_rows(lake, folder):
    (folder / "data/a.csv").write_text("id\n1\n")
    (folder / "data/b.csv").write_text("")
    assert [note for note in load(lake, ORDERS, folder).notes if "b.csv is empty" in note]
    assert load(lake, ORDERS, folder).rows == 0
    (folder / "data/a.csv").write_text("")
    with pytest.raises(DataError, match=r"data/a\.csv: the file is empty; its rows were loaded before"):
        load(lake, ORDERS, folder)
    assert [row["id"] for row in rows(lake)] == [1]
    with pytest.raises(DataError, match="the file is empty; a CSV file begins with the names"):
        load(lake, Source("bronze.none", files="data/b.csv"), folder)


def test_a_moment_does_not_become_a_date(lake, folder):
    (folder / "data/a.csv").write_text("id,seen\n1,2024-01-01\n")
    load(lake, ORDERS, folder)
    (folder / "data/b.csv").write_text("id,seen\n2,2024-01-05 23:59:59\n")
    try:
        load(lake, ORDERS, folder)
    except DataError as refused:
        assert "column 'seen' is timestamp, in the table it is date" in str(refused)  # noqa: PT017 - or it is widened
    else:
        assert rows(lake)[1]["seen"] == datetime(2024, 1, 5, 23, 59, 59)  # noqa: DTZ001


def test_nested_json_without_values_loads(lake, folder):
    (folder / "data/a.jsonl").write_text(
        '{"id": 1, "m": {"a": {}, "b": null}, "l": [], "e": {}}\n{"id": 2, "m": {}, "l": [{}]}\n'
    )
    load(lake, Source("bronze.orders", files="data/*.jsonl"), folder)
    assert [row["id"] for row in rows(lake)] == [1, 2]
    assert rows(lake)[0]["m"] == {"a": None, "b": None}
    assert rows(lake)[0]["e"] is None


def test_options_are_declared_with_the_source_and_checked_there(lake, folder):
    (folder / "data/a.csv").write_bytes("Auszug\nid;Größe\n1;1.5\n2;#\n".encode("cp1252"))
    source = Source(
        "bronze.orders", files="data/*.csv", separator=";", decimal=".", encoding="cp1252", quote="", skip=1, nulls="#"
    )
    assert load(lake, source, folder).notes == ()
    assert [row["Größe"] for row in rows(lake)] == [1.5, None]
    with pytest.raises(DeclarationError, match=r"test_source\.py:\d+: encoding='latin-99' is not known"):
        Source("bronze.orders", files="x.csv", encoding="latin-99")


# ---------------------------------------------------------------------------------------------- names


ODD = [("", "has no name"), (" ", "has no name"), ("a\0b", "null character")]
TWO = pa.struct([("a", pa.int8()), ("A", pa.int8())])


@pytest.mark.parametrize(
    ("names", "says"),
    [*(([name], says) for name, says in ODD), (["a", "A"], "'a' is there twice|'A' is there twice"), (["a", "a"], "there twice"), (["_file"], "'_file'")],
)  # fmt: skip
def test_a_function_yields_columns_that_have_names_of_their_own(lake, folder, names, says):
    made = pa.Table.from_arrays([pa.array([place]) for place in range(len(names))], names=names)
    with pytest.raises((DataError, UserCodeError), match=says):
        load(lake, Source("bronze.made", read=lambda: made), folder)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (pa.struct([("", pa.int8())]), "a field without a name"),
        (TWO, "two fields 'a'"),
        (pa.list_(TWO), "two fields 'a'"),
        (pa.map_(pa.string(), TWO), "two fields 'a'"),
        (pa.struct([("outer", TWO)]), "two fields 'a'"),
        (pa.struct([("a\0b", pa.int8())]), "null character"),
    ],
)
def test_the_fields_of_objects_have_names_of_their_own(lake, folder, fields, says):
    made = pa.table({"o": pa.array([None], fields)})
    with pytest.raises(DataError, match=says):
        load(lake, Source("bronze.made", read=lambda: made), folder)
    with pytest.raises(DataError, match=says):
        lake.commit("bronze.made", "1", lambda _: Append(made))
    pa.parquet.write_table(made, folder / "data/o.parquet")
    with pytest.raises(DataError, match=says):
        load(lake, Source("bronze.files", files="data/*.parquet"), folder)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_objects_as_deep_as_they_may_be_are_loaded(lake, folder, name):
    (folder / "data" / name).write_text(f'{{"a": {"[" * 59}1{"]" * 59}}}')
    assert load(lake, Source("bronze.deep", files="data/*.json*"), folder).rows == 1


def test_a_parquet_file_whose_lists_stand_too_deep_is_refused(lake, folder):
    deep = pa.array([1])
    for _ in range(70):
        deep = pa.StructArray.from_arrays([deep], ["a"])
    pyarrow.parquet.write_table(pa.table({"a": deep}), folder / "data/a.parquet", store_schema=False)
    with pytest.raises(DataError, match=r"data/a\.parquet: the rows cannot be kept"):
        load(lake, Source("bronze.deep", files="data/*.parquet"), folder)


def test_a_file_whose_name_is_not_text_is_refused(lake, folder):
    (folder / os.fsdecode(b"data/\xff.csv")).write_text("id\n1\n")
    with pytest.raises(ConfigError, match=r"name is not UTF-8: 'data/\\udcff\.csv'"):
        load(lake, ORDERS, folder)
