"""What requests were answered with is looked up again in the tables: planted skews and leaks are found, and nothing else."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from tests.serving.conftest import manifest, serving

from headrace.lakehouse.lakehouse import Lakehouse

PUBLISHED = datetime(2024, 2, 25, tzinfo=UTC)
LATER = datetime(2024, 2, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def project(bikes, tmp_path):
    return shutil.copytree(bikes, tmp_path / "bikes", symlinks=True)


def ask(folder, rows):
    with serving(folder / ".headrace/dev/serving/late") as server:
        for row in rows:
            status, answer, _ = server.ask("/predict", {"rows": [row]})
            assert status == 200, answer
        server.end()


def row(ride, station, at=PUBLISHED + HOUR):
    return {"ride": ride, "station": station, "kind": "city", "battery": 5.5, "requested_at": at.isoformat()}


def monitor(headrace, folder, **options):
    done = headrace.run(folder, "run", "monitor", "--as-of", "2024-02-28", **options)
    assert done.code in (0, 1), done.stderr
    return done


def found(folder):
    """Feature → counts of the last check."""
    kept = Lakehouse("dev", str(folder / ".headrace/dev/lakehouse")).snapshot("metrics.skew").to_arrow().to_pylist()
    latest = max(each["until"] for each in kept)
    names = ("rows", "skewed", "behind", "unknown", "example")
    return {each["feature"]: {name: each[name] for name in names} for each in kept if each["until"] == latest}


def online(folder, statement, *values):
    with closing(sqlite3.connect(folder / ".headrace/dev/online.db")) as connection, connection:
        (table,) = [
            name
            for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
            if name not in ("online_tables", "online_owner")
        ]
        return connection.execute(statement.format(table=f'"{table}"'), values).fetchall()


def events(folder):
    with closing(sqlite3.connect(folder / ".headrace/dev/state.db")) as connection:
        rows = connection.execute("select payload from events where name = 'skew.found' order by id").fetchall()
    return [json.loads(payload) for (payload,) in rows]


def test_what_was_served_is_what_training_would_have_seen(headrace, project):
    rows = [row(number, f"s{number % 6}") for number in range(30)]
    rows += [
        row(100, None),
        row(101, "s1", PUBLISHED + timedelta(days=5)),
        row(102, "s1", PUBLISHED - timedelta(days=40)),
    ]
    ask(project, rows)
    monitor(headrace, project)
    assert set(found(project)) == {"rides", "charge"}
    assert all(each["rows"] == 33 and each["skewed"] == each["unknown"] == 0 for each in found(project).values())
    assert events(project) == []


def test_each_answer_is_looked_at_once(headrace, project):
    ask(project, [row(number, "s1") for number in range(5)])
    for _ in range(2):
        monitor(headrace, project)
    ask(project, [row(9, "s2")])
    monitor(headrace, project)
    kept = Lakehouse("dev", str(project / ".headrace/dev/lakehouse")).snapshot("metrics.skew").to_arrow().to_pylist()
    assert sorted(each["rows"] for each in kept if each["feature"] == "rides") == [1, 5]


def test_a_store_that_was_changed_is_found_and_told_until_it_is_right_again(headrace, project):
    before = online(project, "select key, packed from {table} order by key")
    one, other = before[1], before[2]
    online(project, "update {table} set packed = ? where key = ?", other[1], one[0])
    rows = [row(number, f"s{number % 5}") for number in range(20)]
    ask(project, rows)
    monitor(headrace, project)
    wrong = found(project)["charge"]
    assert (wrong["skewed"], wrong["behind"]) == (4, 0)  # the one station of five
    assert wrong["example"]
    (told,) = events(project)
    assert told["features"]["charge"] == 4
    status = headrace.run(project, "status")
    assert status.code == 1
    assert "other features than its tables hold" in status.stdout

    online(project, "update {table} set packed = ? where key = ?", one[1], one[0])
    ask(project, rows)
    monitor(headrace, project)
    assert all(counts["skewed"] == 0 for counts in found(project).values())
    assert len(events(project)) == 1
    assert "other features" not in headrace.run(project, "status").stdout


def test_a_store_that_holds_the_future_is_found(headrace, project):
    """A leak: rows of later days, dated back to before the decision."""
    truth = found_online(project)
    done = headrace.run(project, "run", "publish", "--as-of", LATER.isoformat())
    assert done.code == 0, done.stderr
    assert found_online(project) != truth
    (described,) = online(project, "select described from online_tables")
    moment = int(PUBLISHED.timestamp() * 1e6)
    text = json.loads(described[0])
    assert text["as_of"] == int(LATER.timestamp() * 1e6)
    online(project, "update online_tables set described = ?", json.dumps({**text, "as_of": moment}))
    online(project, "update {table} set time = time - ?", int(timedelta(days=3).total_seconds() * 1e6))
    ask(project, [row(number, f"s{number % 5}") for number in range(20)])
    monitor(headrace, project)
    assert all(counts["skewed"] == 20 for counts in found(project).values())


def found_online(folder):
    return online(folder, "select key, packed from {table} order by key")


def test_what_is_not_yet_published_is_behind_and_no_skew(headrace, project):
    rides = pd.read_csv(project / "data" / "rides.csv", parse_dates=["requested_at"])
    at = PUBLISHED + timedelta(days=2)
    later = rides[(rides["requested_at"] > PUBLISHED) & (rides["requested_at"] <= at)]
    assert set(later["station"]) == {f"s{number}" for number in range(5)}
    ask(project, [row(number, f"s{number % 5}", at) for number in range(10)])
    monitor(headrace, project)
    assert found(project)["rides"]["behind"] == 10
    assert all(counts["skewed"] == 0 for counts in found(project).values())
    assert events(project) == []


def test_a_column_that_the_log_leaves_out_is_not_judged(headrace, project):
    manifest(project / ".headrace/dev/serving/late", redact=["charge", "station"])
    ask(project, [row(number, f"s{number % 5}") for number in range(10)])
    log = project / ".headrace/dev/spool/late"
    assert not any(b'"s1"' in segment.read_bytes() for segment in log.iterdir())
    monitor(headrace, project)
    assert set(found(project)) == {"rides"}
    assert found(project)["rides"]["unknown"] == 10


def test_killed_between_telling_and_keeping_it_is_told_again_and_kept_once(headrace, project):
    before = found_online(project)
    online(project, "update {table} set packed = ? where key = ?", before[2][1], before[1][0])
    ask(project, [row(number, f"s{number % 5}") for number in range(5)])
    killed = headrace.run(project, "run", "monitor", "--as-of", "2024-02-28", failpoint="skew.reported")
    assert killed.signal == 9
    for _ in range(2):
        monitor(headrace, project)
    assert found(project)["charge"]["skewed"] == 1
    kept = Lakehouse("dev", str(project / ".headrace/dev/lakehouse")).snapshot("metrics.skew").to_arrow()
    assert kept.num_rows == 2
    assert 1 <= len(events(project)) <= 2
