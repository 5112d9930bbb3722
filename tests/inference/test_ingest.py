"""Each answered row of the inference log reaches the table once, whoever dies when; what cannot be read is kept."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.inference.ingest import ingest
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.scoring.spool import Spool, segments

INTO = "inference.m"


def record(number=0, count=1, **changes):
    return {
        "id": f"r{number}",
        "at": "2024-01-01T10:00:00.000001+00:00",
        "model": "m",
        "version": 3,
        "path": "/predict",
        "rows": [{"x": row, "name": "é"} for row in range(count)],
        "keys": [{"keys": {"order": row}, "at": "2024-01-01T09:00:00+00:00"} for row in range(count)],
        "predictions": [{"prediction_id": f"p{number}.{row}", "probability": 0.1 * row} for row in range(count)],
        **changes,
    }


def spool(folder, *records, **options):
    with Spool(folder / "spool", **options) as log:
        for each in records:
            log.append(each if isinstance(each, bytes) else json.dumps(each).encode())
    return folder / "spool"


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("dev", str(tmp_path / "lakehouse"))


def table(lakehouse):
    return lakehouse.snapshot(INTO).to_arrow().sort_by([("request_id", "ascending"), ("row", "ascending")])


def test_a_row_says_what_was_asked_when_and_what_was_answered(tmp_path, lakehouse):
    asked = [record(0, count=2), record(1, keys=None, path="/invocations"), record(2, count=0)]
    folder = spool(tmp_path, *asked)
    done = ingest(lakehouse, folder, INTO)
    assert (done.segments, done.rows, done.bad, done.set_aside) == (1, 3, 0, ())
    assert list(folder.iterdir()) == []
    rows = table(lakehouse).to_pylist()
    at, before = datetime(2024, 1, 1, 10, 0, 0, 1, UTC), datetime(2024, 1, 1, 9, tzinfo=UTC)
    assert [(row["request_id"], row["row"], row["prediction_id"]) for row in rows] == [
        ("r0", 0, "p0.0"),
        ("r0", 1, "p0.1"),
        ("r1", 0, "p1.0"),
    ]
    assert [(row["requested_at"], row["decision_time"]) for row in rows] == [(at, before), (at, before), (at, at)]
    assert [(row["model"], row["model_version"], row["path"]) for row in rows[1:]] == [
        ("m", 3, "/predict"),
        ("m", 3, "/invocations"),
    ]
    assert [json.loads(rows[1][name]) for name in ("inputs", "keys", "outputs")] == [
        {"x": 1, "name": "é"},
        {"order": 1},
        {"probability": 0.1},
    ]
    assert rows[2]["keys"] is None
    assert [row["probability"] for row in rows] == [0.0, 0.1, 0.0]


def test_segments_that_are_still_written_wait(tmp_path, lakehouse):
    with Spool(tmp_path / "spool", max_age=3600) as log:
        log.append(orjson.dumps(record()))
        assert ingest(lakehouse, tmp_path / "spool", INTO).segments == 0
    assert ingest(lakehouse, tmp_path / "spool", INTO).rows == 1
    assert ingest(lakehouse, tmp_path / "spool", INTO).segments == 0


def test_only_numbers_become_columns_and_none_takes_the_place_of_another(tmp_path, lakehouse):
    def answered(number, **outputs):
        return record(number, predictions=[{"prediction_id": "p", **outputs}])

    folder = spool(
        tmp_path,
        answered(0, Probability=0.5, label="late", row=7, q=None, huge=10**400, **{"odd name; drop": 1.0}),
        answered(1, probability=0.25, label=4, yes=True),
    )
    ingest(lakehouse, folder, INTO)
    ingest(lakehouse, spool(tmp_path, answered(2, PROBABILITY=0.75, label="on time", path=1.0)), INTO)
    rows = table(lakehouse).to_pylist()
    assert [row["Probability"] for row in rows] == [0.5, 0.25, 0.75]
    assert [row["label"] for row in rows] == [None, 4.0, None]
    assert [row["yes"] for row in rows] == [None, 1.0, None]
    assert [(row["row"], row["path"]) for row in rows] == [(0, "/predict")] * 3
    assert not {"q", "huge", "odd name; drop"} & set(rows[0])
    assert json.loads(rows[0]["outputs"])["huge"] == 10**400


BAD = [
    (b"", "Expecting value"),
    (b"\xff\xfe{", "decode"),
    (b'{"id": NaN}', "NaN is no JSON"),
    (b"[" * 100_000, "recursion"),
    (b"[]", "a record is no JSON object but list"),
    (orjson.dumps(record(count=2, keys=[None])), "2 rows, 1 keys and 2 predictions"),
    (orjson.dumps(record(at="yesterday")), "isoformat"),
    (orjson.dumps(record(keys=[{"keys": {}, "at": None}])), "'at' is no text"),
    (orjson.dumps(record(keys=[{"at": "2024-01-01"}])), "a key is no JSON object"),
    (orjson.dumps(record(at="0001-01-01T00:00:00+10:00")), "out of range"),
    (orjson.dumps(record(id=5)), "'id' is no text"),
    (orjson.dumps(record(version="3")), "version '3'"),
    (orjson.dumps(record(rows=[5])), "a row is no JSON object but int"),
    (orjson.dumps(record(predictions=[{"probability": 0.5}])), "'prediction_id' is no text"),
    (orjson.dumps(record()).replace(b'"r0"', b'"\\ud800"'), "surrogates"),
    (orjson.dumps(record()).replace(b'"name":', b'"\\ud800":'), "surrogates"),
]


@pytest.mark.parametrize(("broken", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_record_that_cannot_be_read_is_kept_told_and_in_nobodys_way(tmp_path, lakehouse, broken, reason):
    folder = spool(tmp_path, record(1), broken, record(2))
    done = ingest(lakehouse, folder, INTO)
    assert (done.segments, done.rows, done.bad) == (1, 2, 1)
    assert [row["request_id"] for row in table(lakehouse).to_pylist()] == ["r1", "r2"]
    (file,) = folder.iterdir()
    assert done.set_aside == (str(file),)
    (kept,) = map(json.loads, file.read_text(encoding="ascii").splitlines())
    assert kept["record"].encode(errors="surrogateescape") == broken
    assert reason in kept["reason"]
    assert ingest(lakehouse, folder, INTO).segments == 0


def test_what_a_disk_changed_is_kept_and_told(tmp_path, lakehouse):
    folder = spool(tmp_path, record(1), record(2), record(3))
    (segment,) = folder.iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"r2"', b'"r9"') + bytes(100))
    done = ingest(lakehouse, folder, INTO)
    assert (done.rows, done.bad) == (2, 2)
    kept = [json.loads(line) for line in Path(done.set_aside[0]).read_text(encoding="ascii").splitlines()]
    assert [each["record"].encode(errors="surrogateescape")[:4] for each in kept] == [b'{"id', bytes(4)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "at", "model", "version", "path", "rows", "keys", "predictions"])
OUTPUTS = st.dictionaries(
    st.text(max_size=4) | st.sampled_from(["ROW", "p", "P", "\u017f", "ß", "İ"]), JSON, max_size=3
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, max_size=3), st.dictionaries(NAMES, JSON, min_size=1, max_size=2), st.lists(OUTPUTS, max_size=3))
def test_no_json_stops_it_and_every_record_is_either_in_the_table_or_set_aside(tmp_path_factory, odd, changes, outputs):
    folder = tmp_path_factory.mktemp("any")
    lakehouse = Lakehouse("dev", str(folder / "lakehouse"))
    answered = [record(n, predictions=[{**each, "prediction_id": "p"}]) for n, each in enumerate(outputs)]
    records = [*odd, {**record(), **changes}, record(7, count=2), *answered]
    done = ingest(lakehouse, spool(folder, *(json.dumps(each).encode() for each in records)), INTO)
    rows = Counter(row["request_id"] for row in table(lakehouse).to_pylist())
    assert done.segments == 1
    assert rows["r7"] >= 2
    assert sum(rows.values()) == done.rows
    assert done.bad <= len(records) - len(answered) - 1


# ---------------------------------------------------------------------------------------------- death and company

# The ingesters are forked from a process that has imported everything and used nothing.
INGESTERS = """
import os, random, sys, time
from pathlib import Path
import pandas
from headrace.inference.ingest import ingest
from headrace.lakehouse.lakehouse import Lakehouse

root, mode, *points = sys.argv[1:]
spool = Path(root) / "spool"

def work():
    try:
        ingest(Lakehouse("dev", root + "/lakehouse"), spool, "inference.m")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)

def start(point=""):
    os.environ["HEADRACE_FAILPOINT"] = point
    return os.fork() or work()

if mode == "points":
    for point in points:
        assert os.waitpid(start(point), 0)[1] == 9, point
elif mode == "random":
    chance = random.Random(3)
    for _ in range(12):
        child = start()
        time.sleep(chance.uniform(0, 0.4))  # a moment to die at, not one to wait for
        os.kill(child, 9)
        os.waitpid(child, 0)
else:
    children = [start() for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
sys.exit(os.waitpid(start(), 0)[1])
"""


def assert_each_once(tmp_path, count, mode, *points):
    subprocess.run([sys.executable, "-c", INGESTERS, str(tmp_path), mode, *points], check=True)
    assert list((tmp_path / "spool").iterdir()) == []
    rows = table(Lakehouse("dev", str(tmp_path / "lakehouse")))
    assert sorted(rows["request_id"].to_pylist()) == sorted(f"r{number}" for number in range(count))


def test_killed_between_any_two_steps_each_row_is_there_once(tmp_path):
    folder = spool(tmp_path, *(record(number) for number in range(3)), max_bytes=1)
    points = ["commit.computed:inference.m", "commit.committed:inference.m"]
    for segment in segments(folder):  # those before it are gone by then
        points += [f"ingest.{moment}:{segment.name}" for moment in ("committed", "counted", "deleted")]
    assert_each_once(tmp_path, 3, "points", *points)


def test_killed_after_feedback_was_committed_each_piece_is_there_once(tmp_path):
    said = {"prediction_id": "p", "model": "m", "model_version": 3, "kind": "thumbs", "source": "api"}
    said |= {"value": 1.0, "text": None, "user": None, "api_key": None, "at": "2024-01-01T10:00:00+00:00", "once": True}
    folder = spool(
        tmp_path,
        *({"feedback": [{**said, "feedback_id": f"f{number}"}]} for number in range(3)),
        *(record(number) for number in range(2)),
        max_bytes=1,
    )
    points = [f"ingest.{moment}:{segment.name}" for segment in segments(folder) for moment in ("feedback", "deleted")]
    assert_each_once(tmp_path, 2, "points", *points)
    kept = Lakehouse("dev", str(tmp_path / "lakehouse")).snapshot("metrics.feedback").to_arrow()
    assert sorted(kept["feedback_id"].to_pylist()) == ["f0", "f1", "f2"]


def test_segments_are_taken_over_many_in_a_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.inference.ingest.MOST", 10)
    folder = spool(tmp_path, *(record(number) for number in range(25)), max_bytes=1)
    lakehouse = Lakehouse("dev", str(tmp_path / "lakehouse"))

    done = ingest(lakehouse, folder, "inference.m")

    assert (done.segments, done.rows) == (25, 25)
    assert len(lakehouse.history("inference.m")) <= 4  # the table itself, and three times some segments


def test_killed_at_random_moments_each_row_is_there_once(tmp_path):
    spool(tmp_path, *(record(number) for number in range(30)), max_bytes=1)
    assert_each_once(tmp_path, 30, "random")


def test_several_at_once_double_nothing(tmp_path):
    spool(tmp_path, *(record(number) for number in range(20)), max_bytes=1)
    assert_each_once(tmp_path, 20, "crowd")
