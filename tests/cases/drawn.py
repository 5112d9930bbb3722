"""What the tests of drawn projects draw: names, values and files as users bring them, and what each value is.

A value is drawn as a `Cell`: how it is written in a file of text, and what it is. Nothing here reads a value with the
code under test.
"""

# ruff: noqa: DTZ001 - moments without a zone are among what is drawn

import gzip
import io
import json
import math
import re
import struct
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
from hypothesis import strategies as st

OURS = [
    "model", "model_version", "features", "feature_versions", "scored_at", "prediction", "probability", "probability_x",
    "prediction_id", "decision_time", "requested_at", "keys", "time", "value", "first", "at", "label", "row", "rows", "known",
    "made", "held", "reason", "count", "log_type", "window_start", "slice", "metric", "_value", "_at", "_key_0", "_start",
    "there", "computed", "filename", "file_row_number",
]  # fmt: skip
SQL = [
    "select",
    "from",
    "order",
    "group",
    "table",
    "where",
    "null",
    "true",
    "date",
    "timestamp",
    "case",
    "end",
    "user",
    "all",
]
ODD = [
    "a b",
    "a.b",
    "a,b",
    'a"b',
    "a'b",
    "a/b",
    "$.a",
    "é",
    "😀",
    "Straße",
    "x;y",
    "a\tb",
    "%s",
    "{x}",
    "a:b",
    "\\",
    "[0]",
    "-",
    "1",
    "1e5",
    "#",
    "ﬁ",
]
REFUSED = ["_file", "_digest", "_written_at", "", " ", "a\nb", "_change_type"]
PAIRS = ["A B", "X", "x", "É", "Select"]
NAMES = st.one_of(
    *(st.sampled_from(each) for each in (OURS, SQL, ODD)), st.text(min_size=1, max_size=6).filter(lambda name: "\0" not in name and name.strip())
)  # fmt: skip
ANY_NAMES = NAMES | st.sampled_from(REFUSED + PAIRS)
NULLS = ("", "NA", "NULL", "null")
TEXTS = [
    "", "NA", "null", "NULL", "nan", "None", "01067", "1E5", "1e5", "+49", "1,5", "1.234,5", "1'000", "a;b", 'say "x"', "two\nlines",
    "cr\rlf\r\n", " padded ", "\t", "😀", "é", "e\u0301", "true", "2024-01-05", "2024-13-01", "0x1F", "=1+1", "-", ".", "\ufeff", "\\N", "'", "\x1b[31m",
    "89014103211118510720", "1.0", "1.10", "inf", "12:30", "{}", "[1]", "\u2028",
]  # fmt: skip
INTS = [0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.5, -2.25, 1e300, 5e-324, 0.1, 1 / 3, math.nan, math.inf, -math.inf, 1e16, 123456789.123]
LOCAL = [datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29, 12), datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(2024, 3, 31, 2, 30)]  # fmt: skip
DAYS = [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)]
ZONES = [UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=3, minutes=30))]
DECIMALS = ["0.00", "1.50", "-12345678901234567890.12", "99999999999999999999999999999999999.99", "0.01"]


@dataclass(frozen=True)
class Cell:
    """A value: how it is written as text, and what it is."""

    text: str | None
    value: object


def cell(value):
    """How a program writes a value."""
    if value is None:
        return Cell(None, None)
    if isinstance(value, datetime):
        return Cell(value.isoformat(), value)
    if isinstance(value, bool):
        return Cell("true" if value else "False", value)
    return Cell(str(value), value)


def moments(zoned):
    def with_zone(moment, zone):
        try:
            moment.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            return moment.replace(tzinfo=UTC)
        return moment.replace(tzinfo=zone)

    local = st.sampled_from(LOCAL) | st.datetimes()
    return st.builds(with_zone, local, st.sampled_from(ZONES)) if zoned else local


VALUES = {
    "int": st.sampled_from(INTS) | st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1),
    "long": st.sampled_from([*INTS, 2**63, 10**19, 89014103211118510720]),
    "float": st.sampled_from(FLOATS) | st.floats(),
    "decimal": st.sampled_from(DECIMALS).map(Decimal),
    "bool": st.booleans(),
    "date": st.sampled_from(DAYS) | st.dates(),
    "timestamp": moments(zoned=False),
    "instant": moments(zoned=True),
    "text": st.sampled_from(TEXTS) | st.text(max_size=5),
    "null": st.none(),
}
ARROW = {
    "int": pa.int64(), "long": pa.float64(), "float": pa.float64(), "decimal": pa.decimal128(38, 2), "bool": pa.bool_(),
    "date": pa.date32(), "timestamp": pa.timestamp("us"), "instant": pa.timestamp("us", "UTC"), "text": pa.string(), "null": pa.null(),
}  # fmt: skip
KINDS = st.sampled_from(list(VALUES))
PLACE = "n_"  # the column that numbers the rows of a file


def column(kind, rows):
    """As many cells of a kind, some of them null."""
    cells = VALUES[kind].map(cell)
    return st.one_of(
        st.lists(cells, min_size=rows, max_size=rows),
        st.lists(cells | st.just(cell(None)), min_size=rows, max_size=rows),
    )


@dataclass
class File:
    """A file of columns of cells, and how it is written."""

    name: str
    kinds: dict[str, str]
    columns: dict[str, list[Cell]]
    rows: int
    dialect: dict = field(default_factory=dict)
    quoted: bool = False
    written: bytes = b""

    def __repr__(self):
        cells = {name: (self.kinds[name], [each.text for each in cells]) for name, cells in self.columns.items()}
        return f"File({self.name!r}, {self.dialect}, quoted={self.quoted}, {cells!r}) = {self.written[:300]!r}"


def written(file):
    """The bytes of a file."""
    packed = {"csv": _csv, "json": _json, "parquet": _parquet}[kind_of(file.name)](file)
    inner = file.name.rpartition(".")[0]
    if file.name.endswith(".gz"):
        return gzip.compress(packed)
    if file.name.endswith(".zst"):
        return pa.Codec("zstd").compress(packed, asbytes=True)
    if file.name.endswith(".zip"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as into:
            into.writestr(inner, packed)
        return archive.getvalue()
    return packed


def kind_of(name):
    return "csv" if ".csv" in name else "parquet" if ".parquet" in name else "json"


def _csv(file):
    separator, quote = file.dialect.get("separator", ","), file.dialect.get("quote", '"')
    end = file.dialect.get("end", "\n")

    def one(text):
        if text is None:
            return ""
        bare = not file.quoted and not any(each in text for each in (separator, quote, "\r", "\n", ",", ";", "|", "\t"))
        if bare and text and text not in NULLS:
            return text
        return quote + text.replace(quote, quote * 2) + quote

    lines = [separator.join(one(name) for name in file.columns)]
    for place in range(file.rows):
        line = separator.join(one(cells[place].text) for cells in file.columns.values())
        lines.append(line)
    return (end.join(lines) + end).encode(file.dialect.get("encoding", "utf-8"), errors="surrogatepass")


def _json(file):
    def one(cell):
        value = cell.value
        if value is None or isinstance(value, bool | int | str | float):
            return value
        return cell.text

    rows = [{name: one(cells[place]) for name, cells in file.columns.items()} for place in range(file.rows)]
    if file.quoted:
        return json.dumps(rows).encode()
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(file):
    made = {}
    for name, cells in file.columns.items():
        kind = ARROW[file.kinds[name]]
        values = [each.value for each in cells]
        made[name] = pa.array(values, kind)
    into = io.BytesIO()
    pa.parquet.write_table(pa.table(made), into)
    return into.getvalue()


@st.composite
def files(draw, names=ANY_NAMES, like=None):
    """A file; like another one, most of whose columns it has."""
    rows = draw(st.sampled_from([0, 1, 1, 2, 3, 5]))
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.lower if draw(st.booleans()) else None))
    kinds = {name: draw(KINDS) for name in chosen}
    if like is not None:
        kept = {
            name: kind if draw(st.integers(0, 2)) else draw(KINDS)
            for name, kind in like.kinds.items()
            if draw(st.integers(0, 5))
        }
        kinds = {**kept, **(kinds if not draw(st.integers(0, 2)) else {})} or kinds
        kinds.pop(PLACE, None)
    ending = draw(
        st.sampled_from(
            [
                ".csv",
                ".csv",
                ".csv",
                ".jsonl",
                ".jsonl",
                ".json",
                ".parquet",
                ".csv.gz",
                ".csv.zst",
                ".csv.zip",
                ".jsonl.gz",
            ]
        )
    )
    kinds = {name: kind for name, kind in kinds.items() if name.lower() != PLACE}
    columns = {
        PLACE: [cell(place) for place in range(rows)],
        **{name: draw(column(kind, rows)) for name, kind in kinds.items()},
    }
    kinds = {PLACE: "int", **kinds}
    if ending == ".parquet":  # it has no whole numbers that long
        columns = {
            name: [cell(None if each.value is None else float(each.value)) for each in cells]
            if kinds[name] == "long"
            else cells
            for name, cells in columns.items()
        }
    dialect = {}
    if ".csv" in ending:
        if not draw(st.integers(0, 2)):
            dialect["separator"] = draw(st.sampled_from([";", "\t", "|"]))
        if not draw(st.integers(0, 4)):
            dialect["end"] = "\r\n"
        if not draw(st.integers(0, 5)):
            dialect["encoding"] = "utf-16"
    file = File(
        ("b" if like else "a") + ending,
        kinds,
        columns,
        rows,
        dialect,
        quoted=ending == ".json" or not draw(st.integers(0, 3)),
    )
    if like is None and "json" in ending and ending != ".json":
        file.quoted = False
    try:
        file.written = written(file)
    except (UnicodeError, pa.ArrowException):
        from hypothesis import reject

        reject()
    return file


# ------------------------------------------------------------------------------------------ what a value is


def number(value):
    """A number as itself; NaN and the infinities as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return Decimal(value)


def same(cell, got, *, text_file, quoted=False):
    """Whether a value of a table is the value that was written."""
    if cell.value is None:
        return got is None
    if got is None:
        return text_file and cell.text in NULLS
    wrote = cell.value
    if isinstance(got, str):
        return got == cell.text or (not text_file and (got == wrote or got == json.dumps(wrote, default=str)))
    if text_file:
        return said(cell.text, got)
    if isinstance(got, bool) or isinstance(wrote, bool):
        return got is wrote
    if isinstance(got, datetime) and isinstance(wrote, datetime):
        return instant(got) == instant(wrote)
    if isinstance(got, datetime) and isinstance(wrote, date):
        return got.replace(tzinfo=None) == datetime(wrote.year, wrote.month, wrote.day)
    if isinstance(got, float) and isinstance(wrote, float):
        return struct.pack("<d", got) == struct.pack("<d", wrote) or (math.isnan(got) and math.isnan(wrote))
    if isinstance(got, date) or isinstance(wrote, date | str):
        return got == wrote if not isinstance(wrote, str) else said(wrote, got)
    return number(got) == number(float(wrote) if isinstance(got, float) and isinstance(wrote, Decimal) else wrote)


def instant(moment):
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def said(text, got):
    """Whether a text says a value that is no text."""
    text = text.strip(" \t")
    if isinstance(got, bool):
        return text.lower() == str(got).lower()
    if isinstance(got, int):
        return re.fullmatch("0|-?[1-9][0-9]*", text) is not None and int(text) == got
    if isinstance(got, float | Decimal):
        if math.isnan(got) or math.isinf(got):
            return str(float(text)) == str(float(got))
        if re.match(r"[+]|-?0[0-9]", text):
            return False
        digits = len(text.lower().partition("e")[0].replace(".", "").lstrip("-0"))
        wrote = Decimal(text)
        near = wrote == 0 == got if digits == 0 else Decimal(f"{got:.{max(digits - 1, 0)}e}") == wrote
        return near and math.copysign(1, got) == (-1 if text.startswith("-") else 1)
    text = re.sub(r"([.][0-9]{6})[0-9]+", r"\1", text)
    if isinstance(got, datetime):
        wrote = datetime.fromisoformat(text)
        return instant(got) == instant(wrote)
    return date.fromisoformat(text) == got


# ------------------------------------------------------------------------------------------ whatever


@st.composite
def damaged(draw):
    """A file that somebody cut, or into which something came."""
    file = draw(files())
    data = bytearray(file.written)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "in", "out", "twice"])):
            case "cut":
                del data[place:]
            case "in":
                data[place:place] = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
            case "out":
                del data[place : place + draw(st.integers(1, 9))]
            case "twice":
                data += data[place:]
    file.written = bytes(data)
    return file


PIECES = [b"\0", b'"', b"\n", b"\r", b",", b";", b"\xff", b"\xe9", b"{", b"}", b"[", b"]", b":", b"null", b"\xef\xbb\xbf", b"\xff\xfe", b"{}", b'{"a":{}}',
          b"1e999", b"-", b"sep=;\n", b"'", b"\\", b"\\ud800", b"9" * 40, b"1e400", b"NaN", b"Infinity", b"\n\n", b"9999999999999999.9"]  # fmt: skip

LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 3) | VALUES["long"] | VALUES["float"] | VALUES["text"]
    | st.sampled_from(["2024-01-05T00:00:00Z", "2024-01-05 00:00:00", "0001-01-01T00:00:00Z", "9999-12-31"])
)  # fmt: skip
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("") | st.sampled_from(PAIRS), inner, max_size=3), max_leaves=6
)  # fmt: skip
OBJECTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "A", "select", "x.y", ""]), NESTED, max_size=3), max_size=4
)


@st.composite
def objects(draw):
    """A file of JSON with whatever in it."""
    rows = draw(OBJECTS)
    lines = not draw(st.booleans())
    said = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
    return File("a.jsonl" if lines else "a.json", {}, {}, len(rows), written=said.encode())


LEAF_TYPES = [
    pa.int8(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.bool_(), pa.null(), pa.string(), pa.large_string(),
    pa.binary(), pa.large_binary(), pa.binary(3), pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("ns"), pa.timestamp("ns", "UTC"),
    pa.timestamp("us", "+02:00"), pa.time32("s"), pa.time64("us"), pa.duration("us"), pa.decimal128(5, 2), pa.decimal128(38, 38), pa.decimal256(60, 3), pa.decimal128(3, 0),
    pa.dictionary(pa.int8(), pa.string()), pa.string_view(), pa.binary_view(), pa.list_(pa.int8()), pa.list_(pa.null()), pa.large_list(pa.string()), pa.list_(pa.int64(), 2),
    pa.struct([("a", pa.int8()), ("b c", pa.float16())]), pa.struct([]), pa.map_(pa.string(), pa.int8()), pa.list_(pa.struct([("time", pa.timestamp("ns"))])),
    pa.struct([("a", pa.int8()), ("A", pa.int8())]), pa.map_(pa.string(), pa.struct([])), pa.list_(pa.duration("s")), pa.dictionary(pa.int32(), pa.int64()),
    pa.list_(pa.list_(pa.uint64())), pa.struct([("", pa.string())]), pa.struct([("x", pa.null())]), pa.month_day_nano_interval(),
]  # fmt: skip
WHATEVER = [None, 0, 1, -1, 3.5, "a", "", b"abc", b"", True, Decimal("1.20"), date(2024, 1, 5), datetime(2024, 1, 5, 1, 2, 3, 4), datetime(9999, 12, 31, 23, 59, 59), datetime(1, 1, 1), time(1, 2, 3),
            timedelta(1), [], [1, 2], [None, 1], ["x"], {}, {"a": 1}, [("k", 1)], [{"time": datetime(2024, 1, 5)}], 2**63, 2**64 - 1, {"a": 1, "A": 2}, {"": "x"}, math.nan, [timedelta(1)], {"x": None}]  # fmt: skip


@st.composite
def parquets(draw):
    """A file of Parquet with columns of any type that Arrow has."""
    rows = draw(st.integers(0, 3))
    made = {}
    for name in draw(st.lists(ANY_NAMES, max_size=3, unique=True)):
        kind = draw(st.sampled_from(LEAF_TYPES))
        fitting = [each for each in WHATEVER if fits([each], kind)]
        values = draw(st.lists(st.sampled_from(fitting), min_size=rows, max_size=rows))
        made[name] = pa.array(values if fits(values, kind) else [None] * rows, kind)
    into = io.BytesIO()
    try:
        pa.parquet.write_table(pa.table(made), into)
    except pa.ArrowException:
        from hypothesis import reject

        reject()
    file = File("a.parquet", {name: str(each.type) for name, each in made.items()}, {}, rows, written=into.getvalue())
    file.arrow = made
    return file


def fits(values, kind):
    try:
        pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return False
    return True


# ------------------------------------------------------------------------------------------ models

START = datetime(2024, 1, 1, tzinfo=UTC)
KEY_KINDS = ("bool", "int", "text", "date", "instant", "timestamp", "decimal")
FEATURE_KINDS = ("int", "float", "decimal", "bool", "text", "null") * 3 + ("date", "timestamp", "instant")
TASKS = {
    "Binary": st.sampled_from([0, 1]),
    "Regression": st.sampled_from([0.0, -0.0, 1.5, 1e300, -7.25]),
    "Multiclass": st.sampled_from(["a", "B", "b b", "é"]),
}


@dataclass
class Learned:
    """Decisions, labels and features of them, and the names of their columns."""

    keys: dict[str, str]
    at: str
    known: str
    label: str
    task: str
    features: dict[str, str]
    looked_up: str
    available: str
    decisions: list[dict]
    labels: list[dict]
    rows: list[dict]
    as_of: datetime

    def label_of(self, decision):
        """By going through all labels: the latest that was known, unless one was known before the decision."""
        mine = [row for row in self.labels if all(row[name] == decision[name] for name in self.keys)]
        there = [row for row in mine if row[self.known] <= self.as_of]
        if decision[self.at] > self.as_of or not there or min(row[self.known] for row in there) < decision[self.at]:
            return None
        return max(there, key=lambda row: row[self.known])[self.label]

    def feature_of(self, decision):
        """By going through all rows: the latest that was available."""
        first = next(iter(self.keys))
        there = [row for row in self.rows if row[first] == decision[first] and row[self.available] <= decision[self.at]]
        return max(there, key=lambda row: row[self.available])[self.looked_up] if there else None


@st.composite
def learned(draw, *, whole=False):
    """What a model learns from; with `whole`, such that there is something to learn."""
    kinds = ("int", "float", "decimal", "bool", "text") if whole else FEATURE_KINDS
    names = draw(
        st.lists(
            NAMES.filter(lambda name: name.lower() not in ("_label", "_part") and not name.startswith("__")),
            min_size=8,
            max_size=8,
            unique_by=lambda name: name.casefold(),
        )
    )
    count = draw(st.integers(1, 2))
    keys = {name: draw(st.sampled_from(KEY_KINDS[place == 0 :])) for place, name in enumerate(names[:count])}
    at, known, label, looked_up, available = names[2:7]
    features = {names[7]: draw(st.sampled_from(kinds)), looked_up: "float"}
    task = draw(st.sampled_from(list(TASKS)))
    tuples = draw(
        st.lists(
            st.tuples(*(VALUES[kind] for kind in keys.values())),
            min_size=4,
            max_size=12,
            unique_by=lambda each: str(tuple(instant(v) if isinstance(v, datetime) else v for v in each)),
        )
    )
    plain = {name: VALUES[kind] for name, kind in features.items()}
    decisions, labels, rows = [], [], []
    for number, values in enumerate(tuples):  # the first four are to fit and to test
        moment = START + timedelta(hours=(0, 1, 50, 51)[number] if number < 4 else draw(st.integers(0, 72)))
        row = {
            **dict(zip(keys, values, strict=True)),
            at: moment,
            names[7]: draw(plain[names[7]] if whole else st.none() | plain[names[7]]),
        }
        decisions.append(row)
        hours = [2] if number < 4 else draw(st.lists(st.integers(-1, 30), max_size=3, unique=True))
        for hour in hours:
            value = CLASSES[task][number % 2] if number < 4 else draw(st.none() | TASKS[task])
            labels.append({**dict(zip(keys, values, strict=True)), known: moment + timedelta(hours=hour), label: value})
    if draw(st.booleans()):
        labels.append(
            {**{name: draw(VALUES[kind]) for name, kind in keys.items()}, known: START, label: draw(TASKS[task])}
        )
    first = next(iter(keys))
    seen = set()
    if whole:
        for value in {
            str(instant(row[first]) if isinstance(row[first], datetime) else row[first]): row[first]
            for row in decisions
        }.values():
            rows.append({first: value, available: START - timedelta(days=2), looked_up: 0.5})
    for _ in range(draw(st.integers(0, 6))):
        value = draw(st.sampled_from([row[first] for row in decisions]))
        hour = draw(st.integers(-20, 80))
        same_moment = str(instant(value) if isinstance(value, datetime) else value)
        if (same_moment, hour) not in seen:
            seen.add((same_moment, hour))
            rows.append(
                {first: value, available: START + timedelta(hours=hour), looked_up: draw(st.sampled_from(FLOATS))}
            )
    return Learned(
        keys,
        at,
        known,
        label,
        task,
        features,
        looked_up,
        available,
        decisions,
        labels,
        rows,
        START + timedelta(hours=60),
    )


CLASSES = {"Binary": (0, 1), "Regression": (1.5, -7.25), "Multiclass": ("a", "é")}
LABEL_TYPES = {"Binary": pa.int64(), "Regression": pa.float64(), "Multiclass": pa.string()}
