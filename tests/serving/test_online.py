"""Features out of the online store, inside the request: what they are, how fresh, what when there are none; SQLite and Redis."""

import json
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from tests.serving.conftest import manifest, serving
from tests.support.redis import Redis

from headrace.inference.ingest import ingest
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.scoring.spool import Spool

PUBLISHED = "2024-02-25"
AT = "2024-02-25T01:00:00+00:00"


def asked(ride, station, **more):
    return {"ride": ride, "station": station, "kind": "city", "battery": 5.5, "requested_at": AT, **more}


@pytest.fixture
def redis():
    folder = tempfile.mkdtemp(prefix="hr")  # a socket's path is short
    server = Redis(folder).start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_who_asks_is_told_how_fresh_each_feature_is(bikes, home):
    rides = pd.read_csv(bikes / "data" / "rides.csv", parse_dates=["requested_at"])
    rides = rides[rides["requested_at"] <= pd.Timestamp(PUBLISHED, tz="UTC")]
    with serving(home) as server:
        body = {"rows": [asked(1, "s1"), asked(2, "nowhere"), asked(3, "s2")], "features": True}
        told = server.ask("/predict", body)[1]["predictions"]
        quiet = server.ask("/predict", {**body, "features": False})[1]["predictions"]
    for each, station in zip(told, ("s1", "nowhere", "s2"), strict=True):
        newest = rides[rides["station"] == station]["requested_at"].max()
        expected = None if pd.isna(newest) else newest.isoformat()
        assert each["fresh"] == {"stats.busy": expected}
        assert (each["features"]["rides"] is None) == (expected is None)
    assert not any("fresh" in each or "features" in each for each in quiet)


def test_a_row_without_features_is_refused_where_that_was_declared(home):
    manifest(home, missing="refuse")
    with serving(home) as server:
        assert server.ask("/predict", {"rows": [asked(1, "s1")]})[0] == 200
        for station, at in (("nowhere", AT), (None, AT), ("s1", "2024-03-20T00:00:00+00:00")):
            rows = [asked(1, "s1"), asked(2, station, requested_at=at)]
            status, told, _ = server.ask("/predict", {"rows": rows})
            assert (status, told["error_code"]) == (422, "MISSING_FEATURES")
            assert told["message"].startswith("row 1: stats.busy has nothing")
        assert "422" in server.ask("/openapi.json")[1]["paths"]["/predict"]["post"]["responses"]


def test_the_log_says_which_publication_the_features_are_from(bikes, home, tmp_path):
    lakehouse = Lakehouse("dev", str(tmp_path / "lake"))
    with serving(home) as server:
        assert server.ask("/predict", {"rows": [asked(1, "s1")]})[0] == 200
        server.end()
    ingest(lakehouse, home.parent.parent / "spool" / "late", into="inference.late")
    (row,) = lakehouse.snapshot("inference.late").to_arrow().to_pylist()
    version = Lakehouse("dev", str(bikes / ".headrace" / "dev" / "lakehouse")).data_version("stats.busy")
    assert json.loads(row["feature_versions"]) == {"stats.busy": version}
    moment = datetime.fromisoformat(json.loads(row["features_as_of"])["stats.busy"])
    assert moment - datetime.fromisoformat(f"{PUBLISHED}T00:00:00+00:00") == timedelta(0)


def test_redis_answers_as_the_file_does_is_missed_and_comes_back(headrace, bikes, home, redis, tmp_path):
    rows = [asked(each, f"s{each % 6}") for each in range(30)]
    folder = shutil.copytree(bikes, tmp_path / "bikes", symlinks=True)
    env = {"HEADRACE_ENV__dev__online": f"{redis.url}?timeout=2"}

    def publish(code=0):
        done = headrace.run(folder, "run", "publish", "--as-of", PUBLISHED, env=env)
        assert done.code == code, done.stderr
        return done.stderr

    assert "is not the one that 'dev' has used" in publish(code=3)
    taken = ("env", "stores", "--take-over", "online", "--reason", "it came into being")
    assert headrace.run(folder, *taken, env=env).code == 0
    publish()
    with serving(home) as server:
        expected = server.ask("/predict", {"rows": rows})[1]
    manifest(home, online=env["HEADRACE_ENV__dev__online"])
    with serving(home) as server:
        assert server.ask("/predict", {"rows": rows})[1] == expected
        assert [server.ask("/predict", {"rows": [each]})[1]["predictions"][0] for each in rows] == expected[
            "predictions"
        ]
        server.until(lambda: server.ask("/ready")[1]["features"] == {"stats.busy": f"{PUBLISHED}T00:00:00+00:00"})
        redis.stop()
        status, told, headers = server.ask("/predict", {"rows": rows})
        assert (status, headers["retry-after"]) == (503, "1")
        assert "redis" not in told["message"].lower()  # where it is, is nobody's business
        assert server.ask("/health")[0] == 200
        server.wait(lambda status, told: (status, told["status"], told["features"]) == (503, "no features", None))
        redis.start()
        server.wait(lambda status, told: (status, told["status"], told["features"]) == (503, "no features", {}))
        server.until(lambda: server.ask("/predict", {"rows": rows})[0] == 503)  # there is nothing in it now
        publish()
        assert server.until(lambda: server.ask("/predict", {"rows": rows})[1] == expected)
        server.wait(lambda status, told: (status, told["status"]) == (200, "ready"))


def test_the_address_is_where_servers_look_and_a_secret_stays_one(headrace, bikes, redis, tmp_path):
    folder = shutil.copytree(bikes, tmp_path / "bikes", symlinks=True)
    file = folder / ".headrace" / "dev" / "serving" / "late" / "serving.json"
    for given, named in (
        (redis.url, redis.url),
        ("redis://:hunter2@127.0.0.1:1/0", "env:HEADRACE_ENV__dev__online"),
    ):
        env = {"HEADRACE_ENV__dev__online": given}
        done = headrace.run(folder, "run", "deploy", "--version", "1", "--as-of", "2024-02-15", env=env)
        assert done.code == 0, done.stderr
        assert json.loads(file.read_text())["online"] == named
        assert "hunter2" not in "".join(each.read_text() for each in folder.rglob("*.json"))
    done = headrace.run(folder, "run", "publish", "--as-of", PUBLISHED, env=env)
    assert done.code != 0
    assert "127.0.0.1:1" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_what_waits_in_an_older_servers_spool_is_taken_over_without_it(tmp_path):
    record = {
        "id": "a-1", "at": "2024-01-01T00:00:00+00:00", "path": "/predict", "rows": [[1.0]], "keys": None, "ids": ["x"],
        "answers": [[0.5]], "by": {"model": "late", "version": 1, "inputs": ["f"], "outputs": ["probability"]},
    }  # fmt: skip
    with Spool(Path(tmp_path / "spool")) as spool:
        spool.append(json.dumps(record).encode())
    lakehouse = Lakehouse("dev", str(tmp_path / "lake"))
    assert ingest(lakehouse, tmp_path / "spool", into="inference.late").rows == 1
    (row,) = lakehouse.snapshot("inference.late").to_arrow().to_pylist()
    assert row["feature_versions"] is row["features_as_of"] is None
