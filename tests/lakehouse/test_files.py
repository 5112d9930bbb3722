"""Raw files as they are: every format and packing alike, and faults placed in file and line."""

import gzip
import io
import json
import zipfile
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.lakehouse import files
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.dialect import Dialect
from headrace.lakehouse.files import Reading, read

ROWS = [{"id": 1, "name": "Zoë"}, {"id": 2, "name": 'a,\n"b"'}, {"id": 3, "name": None}]  # fmt: skip
CSV = 'id,name\n1,Zoë\n2,"a,\n""b"""\n3,NA\n'


def rows(path, types=None, nulls=("", "NA"), **options):
    with read(path, Reading(types=types or {}, dialect=Dialect(nulls=nulls, **options))) as content:
        return content.batches.read_all()


def packed(path, data):
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(data))
    elif path.name.endswith(".zst"):
        path.write_bytes(pa.Codec("zstd").compress(data, asbytes=True))
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._junk", b"")
            archive.writestr(path.name.removesuffix(".zip"), data)
    else:
        path.write_bytes(data)
    return path


def parquet(table):
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("packing", ["", ".gz", ".zst", ".zip"])
@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_every_format_and_packing_gives_the_same_rows(tmp_path, kind, packing):
    data = {
        "csv": CSV.encode(),
        "json": json.dumps(ROWS, indent=1).encode(),
        "jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
        "parquet": parquet(pa.Table.from_pylist(ROWS)),
    }[kind]
    assert rows(packed(tmp_path / f"raw.{kind}{packing}", data)).to_pylist() == ROWS


def test_the_format_of_a_zip_may_be_told_from_what_is_inside(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("2013/export.csv", CSV)
    assert rows(path).to_pylist() == ROWS


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**62), 2**62),
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
    )
)
def test_what_was_written_as_csv_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "raw.csv"
    quote = lambda text: '"' + text.replace('"', '""') + '"'  # noqa: E731
    path.write_text(
        "i,s,f\n"
        + "".join(
            f"{'' if i is None else i},{'' if s is None else quote(s)},{'' if f is None else repr(f)}\n"
            for i, s, f in values
        ),
        encoding="utf-8",
        newline="",
    )
    types = {"i": pa.int64(), "s": pa.string(), "f": pa.float64()}
    assert [tuple(row.values()) for row in rows(path, types).to_pylist()] == values


def test_a_quoted_null_text_is_text_and_times_of_day_stay_as_written(tmp_path):
    path = packed(tmp_path / "raw.csv", b'a,at\n"NA",05:00\nNA,06:30:00\n')
    assert rows(path).to_pylist() == [{"a": "NA", "at": "05:00"}, {"a": None, "at": "06:30:00"}]


@pytest.mark.parametrize(
    ("data", "types", "says"),
    [
        ("a,b\n1,2\n3\n", {}, "raw.csv:3: Expected 2 columns, got 1: 3"),
        ('a,b\n1,"x\ny"\n\n3\n', {}, "raw.csv:5: Expected 2 columns, got 1: 3"),
        ("a,b\n1,2\nx,3\n", {"a": pa.int64()}, "raw.csv:3: column 'a' is declared as int64: invalid value 'x'"),
        ("a\n300\n", {"a": pa.int8()}, "raw.csv:2: column 'a' is declared as int8: invalid value '300'"),
        ("a,\n1,2\n", {}, "raw.csv: column 2 has no name"),
        ("a,b,A\n1,2,3\n", {}, "raw.csv: column 'A' is there twice"),
    ],
)
def test_a_malformed_csv_is_placed(tmp_path, data, types, says):
    with pytest.raises(DataError) as refused:
        rows(packed(tmp_path / "raw.csv", data.encode()), types)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('id,a\n1,x\n2,"abc\n3,y\n4,z\n', 3),  # never closed: the rest of the file would be one field
        ('id,a\n1,"abc\n2,"x"\n3,y\n', 2),  # closed by the next quote, inside what is another row
    ],
)
def test_a_quote_that_swallows_rows_is_refused(tmp_path, data, line):
    with pytest.raises(DataError, match=rf"raw.csv:{line}: a quote is opened"):
        rows(packed(tmp_path / "raw.csv", data.encode()))


def test_lines_and_quotes_inside_of_fields_are_read(tmp_path):
    path = packed(tmp_path / "raw.csv", b'id,a,b\n1,"x\ny ""z""",5" pipe\n2,"",6" pipe\n')
    assert rows(path).to_pylist() == [
        {"id": 1, "a": 'x\ny "z"', "b": '5" pipe'},
        {"id": 2, "a": "", "b": '6" pipe'},
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"a": 1}\n\n{bad\n', "raw.jsonl:3: not JSON"),
        ('{"a": 1}\n[1]\n', "raw.jsonl:2: list, not an object"),
        ('{"a": 1}\n{"a": "x"}\n', "column 'a' is number in one row and string in another"),
    ],
)
def test_malformed_json_is_placed(tmp_path, data, says):
    with pytest.raises(DataError) as refused:
        rows(packed(tmp_path / "raw.jsonl", data.encode()))
    assert says in str(refused.value)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(DataError, match="column 'a' is not UTF-8"):
        rows(packed(tmp_path / "raw.csv", b"a,b\n\xe9t\xe9,2\n"))


@pytest.mark.parametrize("name", ["raw.csv.gz", "raw.csv.zst", "raw.csv.zip", "raw.parquet", "raw.zip"])
def test_a_damaged_file_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"this is none")
    with pytest.raises(DataError, match=str(path)):
        rows(path)


def test_a_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "raw.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode() * 1000)[:-20])
    with pytest.raises(DataError, match=r"raw.csv.gz: the file is damaged"):
        rows(path)


def test_a_file_that_unpacks_beyond_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BOMB_BYTES", 2**16)
    path = packed(tmp_path / "raw.csv.gz", b"a\n" + b"0\n" * 2**20)
    with pytest.raises(DataError, match="unpacks to more than"):
        rows(path)


def test_a_zip_of_two_files_and_an_unknown_ending_are_refused(tmp_path):
    path = tmp_path / "two.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    with pytest.raises(DataError, match="holds 2 files"):
        rows(path)
    with pytest.raises(DataError, match=r"cannot be told from the name[\s\S]*\.csv, \.tsv, \.jsonl"):
        rows(packed(tmp_path / "raw.xlsx", b""))


def test_an_empty_text_file_has_neither_rows_nor_columns_and_that_is_told(tmp_path):
    for name in ("raw.csv", "raw.jsonl", "raw.json"):
        with read(packed(tmp_path / name, b"\xef\xbb\xbf \n"), Reading()) as content:
            assert content.batches.read_all().num_columns == 0
            assert "is empty" in str(content.guesses[0])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ('{"id": 89014103211118510720}\n{"id": 7}\n', ["89014103211118510720", "7"]),
        ('{"id": 9007199254740993}\n{"id": 0.5}\n', ["9007199254740993", "0.5"]),
        ('{"id": 9007199254740993}\n{"id": 1}\n', [9007199254740993, 1]),
        ('{"id": 0.1234567890123456789}\n{"id": 1.50}\n', ["0.1234567890123456789", "1.50"]),
        ('{"id": 0.30000000000000004}\n{"id": 1e-7}\n', [0.30000000000000004, 1e-7]),
        ('[{"id": 89014103211118510720}, {"id": 1.50}]', ["89014103211118510720", "1.50"]),
        ('{"id": {}}\n{"id": {}}\n', [{}, {}]),
        ('{"id": [{}]}\n{"id": []}\n', [[{}], []]),
        ('{"id": {"a": {}}}\n{"id": {"b": 1}}\n', [{"a": {}, "b": None}, {"a": None, "b": 1}]),
    ],
)
def test_numbers_and_objects_of_json_are_what_was_written(tmp_path, data, found):
    assert rows(packed(tmp_path / "raw.json", data.encode())).column("id").to_pylist() == found


@pytest.mark.parametrize(
    "values",
    [[[None, 1.5, 2]], [[None, "a"]], [[], [None, True]], [None, [None, None]], [[None, {"x": 1}]], [[None, [1]], [[2]]], [[None, 1], [2, None]]],
)  # fmt: skip
def test_a_null_that_begins_a_list_of_json_is_kept(tmp_path, values):
    for inside in (False, True):
        objects = [{"c": {"x": value} if inside else value} for value in values]
        path = packed(tmp_path / "raw.jsonl", "".join(json.dumps(each) + "\n" for each in objects).encode())
        assert rows(path).to_pylist() == objects


def test_a_json_column_that_is_declared_as_text_takes_everything_as_it_is_written(tmp_path):
    data = '{"a": 89014103211118510720}\n{"a": "x"}\n{"a": 1.50}\n{"a":{"b":[true,1.50]}}\n{"a": null}\n'
    found = rows(packed(tmp_path / "raw.jsonl", data.encode()), {"a": pa.string()})["a"].to_pylist()
    assert found == ["89014103211118510720", "x", "1.50", '{"b": [true, 1.50]}', None]


def test_a_number_within_a_json_object_that_no_type_holds_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"raw\.jsonl:2: 89014103211118510720 in column 'a' has more digits"):
        rows(packed(tmp_path / "raw.jsonl", b'{"a": {"b": 1}}\n{"a": {"b": 89014103211118510720}}\n'))


UTC_TIME, LOCAL_TIME = pa.timestamp("us", "UTC"), pa.timestamp("us")
THREE, FIVE = datetime(2024, 1, 1, 3, tzinfo=UTC), datetime(2024, 1, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["2024-01-01T05:00:00+02:00", "2024-01-01T05:00:00Z"], UTC_TIME, [THREE, FIVE]),
        ([None, "2024-01-01 05:00:00Z"], UTC_TIME, [None, FIVE]),
        (["2024-01-01T05:00:00.5Z"], UTC_TIME, [FIVE.replace(microsecond=500_000)]),
        (["2024-01-01T05:00:00"], LOCAL_TIME, [FIVE.replace(tzinfo=None)]),
        (["2024-01-01", ""], pa.date32(), [date(2024, 1, 1), None]),
        (["2024-01-01T05:00:00Z", "2024-01-01T05:00:00"], pa.string(), None),
        (["2024-01-01T05:00:00", "2024-01-01T05:00:00Z"], pa.string(), None),
        (["2024-01-01", "soon"], pa.string(), None),
        (["2024-02-30"], pa.string(), None),
        (["5", "1.5"], pa.string(), None),
        (["true"], pa.string(), None),
        (["", ""], pa.string(), None),
    ],
)
def test_times_of_json_are_those_of_csv_with_their_zones_at_every_depth(tmp_path, values, kind, found):
    found = values if found is None else found
    lines = [{"a": value, "o": {"t": value, "n": 1, "e": {}}, "l": [value, None]} for value in values]
    data = "\n".join(json.dumps(line) for line in [*lines, {"a": None, "o": None, "l": None}]).encode()
    table = rows(packed(tmp_path / "raw.jsonl", data))
    assert [table.schema.field("a").type, table.schema.field("o").type.field("t").type] == [kind, kind]
    assert table["a"].to_pylist() == [*found, None]
    assert table["o"].to_pylist() == [*({"t": each, "n": 1, "e": {}} for each in found), None]
    assert table["l"].to_pylist() == [*([each, None] for each in found), None]
    if kind != pa.string():
        text = "a\n" + "".join(f'"{value or ""}"\n' for value in values)
        assert rows(packed(tmp_path / "raw.csv", text.encode())).column("a").to_pylist() == found


@pytest.mark.parametrize("name", ["raw.jsonl", "raw.csv"])
def test_times_with_and_without_a_zone_stay_text_and_that_is_told(tmp_path, name):
    values = ["2024-01-01T05:00:00Z", "2024-01-01T05:00:00"]
    lines = ["at", *values] if name == "raw.csv" else [json.dumps({"at": value}) for value in values]
    path = packed(tmp_path / name, "\n".join(lines).encode())
    with read(path, Reading()) as content:
        (guess,) = content.guesses
        assert content.batches.read_all()["at"].to_pylist() == values
    assert "at is text, for '2024-01-01T05:00:00' has no zone, and others have one" in str(guess)
    assert 'schema=hr.Schema(at="timestamp_utc")' in str(guess)
    assert rows(path, {"at": UTC_TIME})["at"].to_pylist() == [FIVE, FIVE]


@pytest.mark.parametrize(
    ("values", "to", "found"),
    [
        (["2024-01-01", None], pa.date32(), [date(2024, 1, 1), None]),
        (["2024-01-01T05:00:00.5"], UTC_TIME, [FIVE.replace(microsecond=500_000)]),
        (["2024-01-01T05:00:00+02:00"], LOCAL_TIME, [THREE.replace(tzinfo=None)]),
        ([1.0, 2], pa.int64(), [1, 2]),
        ([1.0, 1234567890123456789], pa.int64(), [1, 1234567890123456789]),
        (["5", 6], pa.int64(), [5, 6]),
        ([" 7 ", ""], pa.int16(), [7, None]),
        ([9007199254740993], pa.float64(), [9007199254740992.0]),
        ([0.1, 2], pa.float32(), [pytest.approx(0.1), 2.0]),
        ([12.35], pa.decimal128(10, 2), [Decimal("12.35")]),
        ([True, None, "false"], pa.bool_(), [True, None, False]),
        ([None, None], pa.date32(), [None, None]),
        ([{"b": [1.50]}, 1.5], pa.string(), ['{"b": [1.5]}', "1.5"]),
    ],
)
def test_a_declared_column_of_json_takes_what_one_of_csv_takes(tmp_path, values, to, found):
    data = "\n".join(json.dumps({"a": value, "id": 1}) for value in values).encode()
    table = rows(packed(tmp_path / "raw.jsonl", data), {"a": to})
    assert table["a"].to_pylist() == found
    assert table["a"].type == to
    assert table.column_names == ["a", "id"]


@pytest.mark.parametrize(
    ("value", "to"),
    [
        ("1.5", pa.int64()), ("true", pa.int64()), ('"x"', pa.int64()), ("12345678901234567890", pa.int64()),
        ("300", pa.int8()), ("1e300", pa.float32()), ("1e999", pa.float64()), ("20240105", pa.date32()),
        ("5", UTC_TIME), ('"2024-13-01"', pa.date32()), ("2", pa.bool_()), ('{"b": 1}', pa.int64()), ("[1]", pa.int64()),
    ],
)  # fmt: skip
def test_a_value_of_json_that_is_not_of_its_declared_type_is_placed(tmp_path, value, to):
    with pytest.raises(DataError) as refused:
        rows(packed(tmp_path / "raw.jsonl", b'{"a": null}\n\n{"a": %s}\n' % value.encode()), {"a": to})
    assert f"raw.jsonl:3: column 'a' is declared as {type_name(to)}: invalid value {value.strip(chr(34))!r}" in str(
        refused.value
    )
    with pytest.raises(DataError, match=r"raw\.json: item 2: column 'a' is declared"):
        rows(packed(tmp_path / "raw.json", b'[{"a": null},\n\n{"a": %s}]' % value.encode()), {"a": to})


def test_objects_may_stand_on_one_line(tmp_path):
    path = packed(tmp_path / "raw.jsonl", b'{"a": 1}{"a": 2} {"a": 3}\r\n{"a": 4}')
    assert rows(path).column("a").to_pylist() == [1, 2, 3, 4]
    assert rows(path, {"a": pa.string()}).column("a").to_pylist() == ["1", "2", "3", "4"]
    with pytest.raises(DataError, match=r"raw\.jsonl:1: column 'a' is declared as date: invalid value '1'"):
        rows(path, {"a": pa.date32()})


@pytest.mark.parametrize("last", ["1", "12345678901234567890"])
def test_columns_come_in_the_order_of_the_objects(tmp_path, last):
    data = b'{"e": "2024-01-01", "d": 1, "c": 1}\n{"b": [], "a": %s}' % last.encode()
    types = {"c": pa.string(), "d": pa.int64(), "x": pa.string()}
    assert rows(packed(tmp_path / "raw.jsonl", data), types).column_names == ["e", "d", "c", "b", "a"]


def test_a_declared_column_that_no_object_has_is_not_made_up(tmp_path):
    data = b'{"id": 1, "\\u00e4": null}'
    types = {"b": pa.string(), "d": pa.date32(), "ä": pa.string()}
    assert rows(packed(tmp_path / "raw.jsonl", data), types).column_names == ["id", "ä"]


@pytest.mark.parametrize("key", ["b", "a"])
def test_half_of_a_surrogate_pair_is_no_text(tmp_path, key):
    for other in ("1", "12345678901234567890"):
        data = b'{"id": 1}\n{"id": %s, "%s": "\\ud800"}' % (other.encode(), key.encode())
        for types in ({}, {"a": pa.string()}):
            with pytest.raises(DataError, match=r"surrogate pair"):
                rows(packed(tmp_path / "raw.jsonl", data), types)


def test_parquet_whose_text_is_not_utf8_is_refused(tmp_path):
    odd = pa.array([b"\xff\xfe"]).view(pa.string())
    with pytest.raises(DataError, match=r"raw\.parquet: the file cannot be read as parquet: .*UTF8"):
        rows(packed(tmp_path / "raw.parquet", parquet(pa.table({"a": odd}))))


@pytest.mark.parametrize("data", [b"null", b'{"a": 1}\nnull\n', b'{"a": 1} null', b'{"a": 1}"x"', b"[1]", b'[{"a": 1}, null]', b"[" * 100_000])  # fmt: skip
def test_json_that_is_no_object_is_refused_and_ends_nothing(tmp_path, data):
    with pytest.raises(DataError):
        rows(packed(tmp_path / "raw.json", data))


SEEDS = {
    "csv": b'a,b;c\n1,"x\ny",1.5\n2,y,1E5\n3,,01067\n',
    "jsonl": b'{"a": 1, "b": {"c": []}, "d": "2024-01-01T00:00:00Z"}\n{"a": 12345678901234567890, "b": {}}\n',
    "json": b'[{"a": 1, "b": "x"}, {"a": 2.5}]',
    "parquet": parquet(pa.table({"a": [1, 2, 3], "b": ["x", "y", None], "c": [1.5, 2, 3]})),
}
BITS = (b"", b'"', b",", b";", b"\n", b"\r", b"\0", b"{}", b"[]", b"null", b"1e400", b"9" * 20, b"NaN", b"\xe9", b"}", b"[",
        b"\xff\xfe", b"\xef\xbb\xbf", b'"\\ud800"', b"2024-13-45", b"\xed\xa0\x80", b"a,a", b'{"\\u0000":1}')  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(SEEDS)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 6), st.sampled_from(BITS) | st.binary(max_size=4))),
    st.sampled_from(["", ".gz", ".zst", ".zip"]),
    st.booleans(),
    st.sampled_from([{}, {"a": pa.string()}, {"a": pa.int64()}, {"a": pa.bool_(), "b": pa.timestamp("us", "UTC")}]),
)
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory, kind, edits, packing, outside, types):
    def edited(data):
        for place, cut, new in edits:
            data = data[: place % (len(data) + 1)] + new + data[place % (len(data) + 1) + cut :]
        return data

    path = tmp_path_factory.mktemp("fuzz") / f"raw.{kind}{packing}"
    packed(path, SEEDS[kind] if outside else edited(SEEDS[kind]))
    if outside:
        path.write_bytes(edited(path.read_bytes()))
    with suppress(DataError):  # and nothing else
        rows(path, types)


def nested(depth, *, text=""):
    """An object in which objects and lists stand so deep, itself counted."""
    lists = depth - 1
    return f'{{"q": "{text}", "a": {"[" * lists}1{"]" * lists}}}'.encode()


@pytest.mark.parametrize("name", ["raw.jsonl", "raw.json"])
@pytest.mark.parametrize("depth", [61, 300, 900, 30_000])
@pytest.mark.parametrize("text", ["", "]" * 100_000, r"\\", r"\"" + "]" * 100_000])
def test_json_that_stands_too_deep_in_itself_is_refused_and_ends_nothing(tmp_path, name, depth, text):
    data = b'{"q": "[[[", "a": null}\n'
    deep = nested(depth, text=text)
    data = data + deep if name == "raw.jsonl" else b"[" + data.replace(b"\n", b",\n") + deep + b"]"
    with pytest.raises(DataError, match=r"raw\.jsonl?:2: objects or lists stand more than 60 deep"):
        rows(packed(tmp_path / name, data))


def test_an_object_that_goes_on_over_many_lines_is_no_way_around(tmp_path):
    data = b'{"a":\n' * 30_000 + b"1" + b"}" * 30_000
    with pytest.raises(DataError, match=r"raw\.jsonl:61: objects or lists stand more than 60 deep"):
        rows(packed(tmp_path / "raw.jsonl", data))


@pytest.mark.parametrize("name", ["raw.jsonl", "raw.json"])
def test_brackets_in_texts_are_not_deep(tmp_path, name):
    texts = ["[" * 100, '"' + "{" * 100, "\\" + "[" * 100, '\\"' + "[" * 100]
    data = (
        json.dumps([{"a": text} for text in texts])
        if name == "raw.json"
        else "\n".join(json.dumps({"a": text}) for text in texts)
    )
    assert rows(packed(tmp_path / name, data.encode()))["a"].to_pylist() == texts
