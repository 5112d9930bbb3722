"""Logs that were made elsewhere: files of records and spools of other machines, each once, whatever happens meanwhile."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from tests.serving.conftest import write

from headrace.core.errors import DataError
from headrace.inference.external_logs import take_in
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.scoring.spool import Spool

INTO = "inference.late"


def record(number, **more):
    return {
        "id": f"r{number}",
        "at": "2024-03-01T12:00:00Z",
        "version": 3,
        "rows": [{"a": number / 7}, {"a": None}],
        "predictions": [{"probability": number / 100}, {"probability": 0.5}],
        **more,
    }


def written(folder, records, name="log.jsonl"):
    file = folder / name
    file.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in records) + "\n\n")
    return file


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("dev", str(tmp_path / "lake"))


def rows(lakehouse):
    return sorted(lakehouse.snapshot(INTO).to_arrow().to_pylist(), key=lambda row: (row["request_id"], row["row"]))


def test_records_become_rows_once(lakehouse, tmp_path):
    known = {"keys": [{"keys": {"ride": 1}, "at": "2024-02-01T00:00:00Z"}] * 2, "path": "/score", "us": 12}
    file = written(tmp_path, [record(1), record(2, **known)])
    assert take_in(lakehouse, file, INTO, model="late") == 4
    assert take_in(lakehouse, file, INTO, model="late") == 0
    assert take_in(lakehouse, written(tmp_path, [record(1), record(2, **known)], "copy.jsonl"), INTO, model="late") == 0
    one, _, two, _ = rows(lakehouse)
    assert (one["request_id"], one["row"], one["prediction_id"], one["path"]) == ("r1", 0, "r1-0", "elsewhere")
    assert one["decision_time"] == one["requested_at"] == datetime(2024, 3, 1, 12, tzinfo=UTC)
    assert json.loads(one["inputs"]) == {"a": 1 / 7}
    assert (one["probability"], one["model"], one["model_version"]) == (0.01, "late", 3)
    assert (two["path"], two["latency_us"], json.loads(two["keys"])) == ("/score", 12, {"ride": 1})
    assert two["decision_time"] == datetime(2024, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 2"),
        ("[]", "line 2: no JSON object"),
        (record(1, rows=[{}]), "line 2: 1 rows"),
        (record(1, version="3"), "line 2: version '3'"),
        (record(1, model="early"), "line 2: it is of model 'early'"),
        (record(1, at="yesterday"), "line 2"),
        (record(1, predictions="x"), "line 2: 'predictions' is no list"),
        (record(1, predictions=[1, 2]), "line 2"),
        ('{"id": "r", "at": NaN}', "line 2: NaN is no JSON"),
        ("\udcff".encode(errors="surrogateescape"), "line 2"),
        ("[" * 100_000, "line 2"),
    ],
)
def test_a_line_that_is_none_is_told_and_nothing_is_written(lakehouse, tmp_path, bad, said):
    file = tmp_path / "log.jsonl"
    line = bad if isinstance(bad, bytes) else (bad if isinstance(bad, str) else json.dumps(bad)).encode()
    file.write_bytes(json.dumps(record(0)).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError) as told:
        take_in(lakehouse, file, INTO, model="late")
    assert said in told.value.findings[0]
    assert not lakehouse.exists(INTO)


HALF_WAY = """
import sys
from pathlib import Path
from headrace.inference import external_logs
from headrace.lakehouse.lakehouse import Lakehouse

external_logs.RECORDS = 2
external_logs.take_in(Lakehouse("dev", sys.argv[1]), Path(sys.argv[2]), "inference.late", model="late")
"""


def test_killed_half_way_it_goes_on(lakehouse, tmp_path, monkeypatch):
    file = written(tmp_path, [record(number) for number in range(9)])
    command = [sys.executable, "-c", HALF_WAY, tmp_path / "lake", file]
    done = subprocess.run(command, env={**os.environ, "HEADRACE_FAILPOINT": "import.committed:2"}, check=False)
    assert done.returncode == -9
    assert len(rows(lakehouse)) == 12
    monkeypatch.setattr("headrace.inference.external_logs.RECORDS", 2)
    assert take_in(lakehouse, file, INTO, model="late") == 6
    assert len({(row["request_id"], row["row"]) for row in rows(lakehouse)}) == len(rows(lakehouse)) == 18


def test_the_command_takes_the_spool_and_what_is_named(headrace, tmp_path):
    project = write(tmp_path / "bikes")
    away = tmp_path / "other machine"
    with Spool(away) as spool:
        spool.append(
            json.dumps(
                {
                    **record(7),
                    "model": "late",
                    "path": "/invocations",
                    "predictions": [
                        {"prediction_id": "p1", "probability": 0.1},
                        {"prediction_id": "p2", "probability": 0.2},
                    ],
                }
            ).encode()
        )
    file = written(tmp_path, [record(8)])
    for added in (4, 0):
        done = headrace.run(project, "run", "ingest-log", away, file, "--json")
        assert done.code == 0, done.stderr
        assert sum(step["output"]["rows"] for step in json.loads(done.stdout)["steps"]) == added
    assert not list(away.glob("*.sealed"))
    for place, said in ((tmp_path / "nowhere", "no folder or file"), (written(tmp_path, ["x"], "bad"), "line 1")):
        done = headrace.run(project, "run", "ingest-log", place)
        assert done.code in (1, 2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_what_was_imported_and_counted_is_in_the_audit_record(headrace, tmp_path):
    project = write(tmp_path / "bikes")
    away, file = tmp_path / "other machine", written(tmp_path, [record(8)])
    entry = {"version": 1, "role": "primary", "status": 500, "requests": 40, "rows": 40, "seconds": 1.0, "buckets": []}
    at = "2024-03-01T12:00:00Z"
    counts = {"since": at, "at": at, "server": "x", "model": "late", "split": None, "counted": [entry, entry]}
    with Spool(away) as spool:
        spool.append(json.dumps(counts).encode())
    done = headrace.run(project, "run", "ingest-log", away, file)
    assert done.code == 0, done.stderr
    assert "80 requests counted" in done.stderr + done.stdout
    bad = written(tmp_path, ["x"], "bad")
    assert headrace.run(project, "run", "ingest-log", bad).code == 1
    entries = [each for each in headrace.run(project, "audit", "--json").json() if each["action"] == "log.imported"]
    two, one = (each["details"] for each in entries)
    assert (one["place"], one["files"], one["rows"], one["requests_counted"]) == (str(away), 1, 0, 80)
    assert one["digest"]
    assert two == {
        "place": str(file),
        "files": 1,
        "digest": hashlib.sha256(file.read_bytes()).hexdigest(),
        "rows": 2,
        "requests_counted": 0,
    }


def test_keys_that_differ_in_case_or_are_of_no_type_that_is_known_stay_in_their_json(lakehouse, tmp_path):
    def asked(keys, **types):
        return {"keys": [{"keys": keys, "at": "2024-02-01T00:00:00Z"}] * 2, "key_types": types}

    given = [
        record(1, **asked({"ride": 601.0}, ride="int64")),
        record(2, **asked({"Ride": "a"}, Ride="string")),
        record(3, **asked({"x": 1}, x="a thing")),
        record(4, **asked({"ride": "no number"}, ride="int64")),
    ]
    take_in(lakehouse, written(tmp_path, given), INTO, model="late")
    kept = rows(lakehouse)[::2]
    assert [json.loads(each["keys"]) for each in kept] == [
        {"ride": 601},
        {"Ride": "a"},
        {"x": 1},
        {"ride": "no number"},
    ]
    assert [each["key_ride"] for each in kept] == [601, None, None, None]
    assert {name for name in kept[0] if name.startswith("key_")} == {"key_ride"}
