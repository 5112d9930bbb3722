"""A column is numeric only if its texts come back from the numbers; what else does not count as spelling."""

import csv
import io
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError, DeclarationError
from headrace.lakehouse.dialect import Dialect
from headrace.lakehouse.files import Reading, read
from headrace.lakehouse.spelling import UnreadableError, convert, guess, survives

TEXT = pa.string()
INSTANT = pa.timestamp("us", "UTC")


def told(*texts, **options):
    return guess(pa.chunked_array([pa.array(texts, TEXT)]), ("", "NA"), **options)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", "0"], pa.int64()),
        ([" 1", "2 "], pa.int64()),
        (["9223372036854775807", "-9223372036854775808"], pa.int64()),
        (["9223372036854775808"], TEXT),
        (["89014103211118510720", "1"], TEXT),
        (["18446744073709551616"], TEXT),  # a float64 holds it by chance
        (["01067", "20095"], TEXT),
        (["007"], TEXT),
        (["-01", "2"], TEXT),
        (["00.5"], TEXT),
        (["0.5", "0", "-0.25", ".5", "5."], pa.float64()),
        (["-0"], pa.float64()),
        (["1.50", "2.00"], pa.float64()),
        (["1.50", "2.125", "3"], pa.float64()),
        (["1E5", "2E3"], TEXT),
        (["1E5", "12"], TEXT),
        (["1e5", "0.5"], pa.float64()),
        (["1e-05", "12"], pa.float64()),
        (["1e+05", "99999"], pa.float64()),  # as R writes 100000
        (["6.02e+23"], pa.float64()),
        (["1.0E7"], pa.float64()),  # as Java does
        (["1.000000000000000056e-01"], pa.float64()),  # as numpy.savetxt does: all digits of 0.1
        (["52.520006600000002"], pa.float64()),
        (["0.12345678901234567890"], TEXT),
        (["9007199254740993", "0.5"], TEXT),
        (["9007199254740992", "0.5"], pa.float64()),
        (["1e400", "0.5"], TEXT),
        (["1e-400", "0.5"], TEXT),
        (["+49", "+31"], TEXT),
        (["1,234", "5"], TEXT),
        (["0x1F"], TEXT),
        (["nan", "1.5", "-inf"], pa.float64()),
        (["Nan", "Inf"], TEXT),
        (["true", "False"], pa.bool_()),
        (["true", "1"], TEXT),
        (["2024-01-05"], pa.date32()),
        (["2024-02-30"], TEXT),
        (["20240105"], pa.int64()),
        (["2024-01-05", "2024-01-05 10:00"], pa.timestamp("us")),
        (["2024-01-05T10:00:00.123456789"], pa.timestamp("us")),
        (["2024-01-05T10:00:00Z", "2024-01-05 12:00:00.5+02:00"], INSTANT),
        (["2024-01-05T10:00:00Z", "2024-01-05 12:00:00"], TEXT),
        (["10:30", "11:00:00"], TEXT),
        (["1", "", None], pa.int64()),  # an empty text in quotes is null where everything else is a number
        (["a", ""], TEXT),
        (["", ""], TEXT),
        ([None], pa.null()),
    ],
)
def test_what_a_column_is(texts, kind):
    found = told(*texts)
    assert found.values.type == kind
    if kind == TEXT:
        assert found.values.to_pylist() == texts


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["20095", "01067"], "leading zeros"),
        (["89014103211118510720"], "more digits"),
        (["1", "9007199254740993", "0.5"], "more digits"),
        (["12", "1E5"], "exponent"),
        (["+49"], "plus sign"),
        (["12", "1,234.50"], "separators of thousands"),
        (["2024-01-05T10:00:00Z", "2024-01-05"], "no zone"),
        (["a", "01067"], ""),
        (["1.2.3"], ""),
    ],
)
def test_why_numbers_stay_text_is_told(texts, reason):
    found = told(*texts)
    assert found.reason.startswith(reason) if not reason else reason in found.reason
    assert found.example in ("", *texts)
    assert bool(found.example) == bool(reason)


def test_numbers_of_a_float_column_may_have_any_exponent_but_no_leading_zero():
    assert told("1E5", "7", known=pa.float64()).values.to_pylist() == [100000.0, 7.0]
    assert told("1e300", known=pa.float64()).values.type == pa.float64()
    assert told("007", known=pa.float64()).values.type == TEXT
    assert told("nan", known=pa.float64()).values.type == pa.float64()


def declared(to, *texts):
    return convert(pa.chunked_array([pa.array(texts, TEXT)]), ("", "NA"), to).to_pylist()


@pytest.mark.parametrize(
    ("texts", "to", "found"),
    [
        (["3.0", "1234567890123456789", None], pa.int64(), [3, 1234567890123456789, None]),
        (["1234567890123456789.0", "1e3", "+2.", "-0.0"], pa.int64(), [1234567890123456789, 1000, 2, 0]),
        (["123456789012345e3"], pa.int64(), [123456789012345000]),
        (["01067", "1.00"], pa.int16(), [1067, 1]),
        (["inf", "-Infinity", "1e300", "nan"][:3], pa.float64(), [float("inf"), -float("inf"), 1e300]),
        (["inf", "3e38"], pa.float32(), [float("inf"), pytest.approx(3e38)]),
    ],
)
def test_declared_numbers_are_read_whatever_stands_beside_them(texts, to, found):
    assert declared(to, *texts) == found


@pytest.mark.parametrize(
    ("texts", "to", "bad"),
    [
        (["1234567890123456789", "3.5", "3.0"], pa.int64(), "3.5"),
        (["3.0", "12345678901234567890"], pa.int64(), "12345678901234567890"),
        (["3.0", "9223372036854775808.0"], pa.int64(), "9223372036854775808.0"),
        (["3.0", "1234567890123456789.5"], pa.int64(), "1234567890123456789.5"),
        (["1", "1e999999999"], pa.int64(), "1e999999999"),
        (["1.0", "300.0"], pa.int8(), "300.0"),
        (["1.0", "1_0.0"], pa.int64(), "1_0.0"),
        (["1.0", "."], pa.int64(), "."),
        (["1.0", "nan"], pa.int64(), "nan"),
        (["inf", "1e300"], pa.float32(), "1e300"),
        (["1", "-1e999"], pa.float64(), "-1e999"),
    ],
)
def test_the_declared_number_that_is_none_is_the_one_that_is_blamed(texts, to, bad):
    with pytest.raises(UnreadableError) as refused:
        declared(to, *texts)
    assert (refused.value.place, refused.value.text) == (texts.index(bad), bad)


@example(2.0**-24, 0)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 25))
def test_a_float_survives_in_every_notation_of_itself(value, digits):
    for text in (repr(value), f"{value:.17g}", f"{value:.{digits}e}" if digits >= 16 else repr(value)):
        assert survives(text, float(text))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_what_survives_is_the_number_that_was_written(value):
    text = f"{value:f}"
    if survives(text, float(text)):
        digits = len(text.replace(".", "").lstrip("-0")) or 1
        assert value in (Decimal(f"{float(text):.{digits - 1}e}"), Decimal(repr(float(text))))


@settings(max_examples=200)
@given(st.lists(st.one_of(st.integers(-(10**20), 10**20).map(str), st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)), min_size=1))  # fmt: skip
def test_numbers_are_the_numbers_that_were_written(texts):
    found = told(*texts)
    if found.values.type == TEXT:
        assert found.values.to_pylist() == texts
        return
    for text, value in zip(texts, found.values.to_pylist(), strict=True):
        assert float(Decimal(text)) == value
        assert not text.lstrip("-").startswith("0") or text.lstrip("-") == "0" or not text.lstrip("-")[1].isdigit()
    if found.values.type == pa.int64():
        assert [str(value) for value in found.values.to_pylist()] == texts


# ---------------------------------------------------------------------------------------------- whole files

CELL = st.one_of(
    st.none(),
    st.integers(-(10**22), 10**22).map(str),
    st.sampled_from(
        ["01067", "1E5", "NA", "", "true", "2024-01-05", "1.50", "a;b", "x|y", "Zoë", "1,5", 'a"b', "l1\nl2"]
    ),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\x00"), max_size=6),
)


@settings(max_examples=60)
@given(data=st.data())
def test_texts_come_back_from_every_dialect(tmp_path_factory, data):
    width = data.draw(st.integers(2, 4))
    rows = data.draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8))
    mark = data.draw(st.sampled_from(",;\t|"))
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=mark, quoting=quoting, lineterminator=end)
    names = [f"c{place}" for place in range(width)]
    writer.writerow(names)
    written = [["\\N" if cell is None else cell for cell in row] for row in rows]
    writer.writerows(written)
    path = tmp_path_factory.mktemp("dialect") / "raw.csv"
    path.write_bytes(sink.getvalue().encode(encoding))
    assume(not path.read_bytes().startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) or encoding != "latin-1")
    declared = {"encoding": "latin-1"} if encoding == "latin-1" else {}
    reading = Reading(types=dict.fromkeys(names, TEXT), dialect=Dialect(nulls=("\\N",), separator=mark, **declared))
    with read(path, reading) as content:
        found = content.batches.read_all().to_pylist()
    nothing = "\\N" if quoting == csv.QUOTE_ALL else None  # what is quoted is text
    assert [list(row.values()) for row in found] == [
        [nothing if cell is None else cell if cell != "\\N" else nothing for cell in row] for row in rows
    ]
    again = Reading(dialect=Dialect(nulls=("\\N",), separator=mark, **declared))
    with read(path, again) as content:  # and the types that are told change no value
        for name, column in zip(names, content.batches.read_all().columns, strict=True):
            texts = [row[names.index(name)] for row in rows]
            if pa.types.is_integer(column.type):
                assert [str(value) for value in column.to_pylist() if value is not None] == [
                    text.strip(" \t") for text in texts if text is not None
                ]


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ";;"}, {"separator": ""}, {"separator": "\n"}, {"quote": "''"}, {"decimal": ";"}, {"skip": -1},
        {"skip": True}, {"encoding": "latin-99"}, {"encoding": "base64"}, {"separator": ",", "decimal": ","},
        {"nulls": (None,)}, {"separator": 5},
    ],
)  # fmt: skip
def test_an_option_that_is_none_is_refused_where_it_is_declared(options):
    with pytest.raises(DeclarationError):
        Dialect(**options)


def one(path, **options):
    with read(path, Reading(dialect=Dialect(**options))) as content:
        return content.batches.read_all(), [str(guess) for guess in content.guesses]


@pytest.mark.parametrize(
    ("data", "rows", "says"),
    [
        (b"id;amount\n1;10\n", [{"id": 1, "amount": 10}], 'separator=";"'),
        (b"id\tamount\n1\t10\n", [{"id": 1, "amount": 10}], r'separator="\t"'),
        (b"id|n\n1|a,b\n", [{"id": 1, "n": "a,b"}], 'separator="|"'),
        (b"id,n\n1,a;b|c\n", [{"id": 1, "n": "a;b|c"}], ""),
        (b"n\na;b\n", [{"n": "a;b"}], ""),
        (b"sep=;\r\nid;n\r\n1;2\r\n", [{"id": 1, "n": 2}], ""),
        (b"id;x\n1;1,5\n2;10,25\n", [{"id": 1, "x": 1.5}, {"id": 2, "x": 10.25}], 'decimal=","'),
        (b"id;x\n1;1,234\n", [{"id": 1, "x": "1,234"}], "x is text"),
        (b"id;x;y\n1;1,234;0,5\n", [{"id": 1, "x": 1.234, "y": 0.5}], 'decimal=","'),
        (b"id;x;y\n1;1,5;0.5\n", [{"id": 1, "x": "1,5", "y": 0.5}], "x is text"),
        (b'"id","x","z"\n"1","2.5","01"\n"2","",""\n', [{"id": 1, "x": 2.5, "z": "01"}, {"id": 2, "x": None, "z": ""}], "z is text"),
        ("﻿id,n\n1,é\n".encode(), [{"id": 1, "n": "é"}], ""),
        ("id,n\n1,é\n".encode("utf-16"), [{"id": 1, "n": "é"}], ""),
        ("id,n\n1,é\n".encode("utf-32"), [{"id": 1, "n": "é"}], ""),
        (b"id,n\r1,2\r", [{"id": 1, "n": 2}], ""),
    ],
)  # fmt: skip
def test_what_others_write_is_read_and_what_was_guessed_is_told(tmp_path, data, rows, says):
    (tmp_path / "raw.csv").write_bytes(data)
    found, guesses = one(tmp_path / "raw.csv")
    assert found.to_pylist() == rows
    assert says in " ".join(guesses)
    assert bool(guesses) == bool(says)


def test_options_are_followed(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_bytes("Bericht\n\nid;Größe;n\n1;1.5;'a;b'\n2;-999;x\n".encode("latin-1"))
    found, _ = one(path, separator=";", encoding="latin-1", quote="'", skip=2, nulls=("-999",))
    assert found.to_pylist() == [{"id": 1, "Größe": 1.5, "n": "a;b"}, {"id": 2, "Größe": None, "n": "x"}]
    path.write_bytes(b'id,n\n1,5" pipe\n')
    assert one(path, quote="")[0].to_pylist() == [{"id": 1, "n": '5" pipe'}]
    path.write_bytes(b"id;x\n1;1,5\n2;1.234\n")
    assert one(path, decimal=",")[0]["x"].to_pylist() == ["1,5", "1.234"]
    path.write_bytes(b"# a\n# b\nid,x\n1,2\n3\n")
    with pytest.raises(DataError, match=r"raw\.csv:5: Expected 2 columns, got 1"):
        one(path, skip=2)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("id,Größe\n1,5\n".encode("latin-1"), r"raw\.csv:1: the name of column 2 is not UTF-8 text"),
        ("id,n\n1,a\n2,Größe\n".encode("latin-1"), r"raw\.csv:3: column 'n' is not UTF-8 text"),
        ("id,n\n1,a\n".encode("utf-16-le"), r'looks like UTF-16[\s\S]*encoding="utf-16-le"'),
        (b"id,n\n" + b"1,a\n" * 300_000 + b"2,\xe9\n", r"raw\.csv:300002: column 'n' is not UTF-8 text"),
    ],
)
def test_text_in_another_encoding_is_placed_and_never_guessed(tmp_path, data, says):
    (tmp_path / "raw.csv").write_bytes(data)
    with pytest.raises(DataError, match=says):
        one(tmp_path / "raw.csv")
