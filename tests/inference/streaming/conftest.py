"""A small project whose model is in Production, and a broker that is a real process."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.broker import Broker

from headrace.lakehouse.lakehouse import Lakehouse

TOML = """\
[project]
name = "rides"
module = "rides"
as_of = "2024-03-01"

[env.dev]
"""
PROGRAM = """\
import headrace as hr


class Line:
    def fit(self, X, y):
        self.base = float(y.mean())
        return self

    def predict(self, X):
        kind = X["kind"].astype("object").map({"city": 1.0, "cargo": 2.0}).fillna(0.0).astype("float64")
        return self.base + X["battery"].fillna(-1.0).to_numpy() + 100 * X["rides"].fillna(0.0).to_numpy() + kind.to_numpy()


raw = hr.Source("raw.rides", files="data/*.csv", schema=hr.Schema(requested_at="timestamp_utc", back_at="timestamp_utc"))
asked = hr.Table(
    "city.asked", key="ride", sql="select ride, station, kind, requested_at, battery from raw.rides", change_feed=True
)
back = hr.Table("city.back", key="ride", time="back_at", sql="select ride, back_at, minutes from raw.rides")
busy = hr.FeatureTable(
    "stats.busy", key="station", time="at", online=True,
    sql="select station, requested_at as at, count(*) over (partition by station order by requested_at) as rides from raw.rides",
)


def fit(data, params):
    return Line().fit(data.X, data.y)


@hr.on_demand(hr.Schema(half="float64"))
def half(battery):
    if (battery == 13).any():
        raise ValueError("thirteen is no charge")
    return battery / 2


model = hr.Model(
    "minutes", fit=fit, task=hr.Regression(label=back["minutes"]), spine=asked.at("requested_at"),
    features=[asked.select("kind", "battery"), busy.select("rides"), half], evaluate=hr.Evaluate(test="10d"),
)
delivery = hr.Deployment(model, score=hr.Score(into="answers.minutes"), stream=hr.Stream(SOURCE))
"""
DECLARED = """source=hr.kafka("{source}"), into={into}, dead_letters={dead}, max_messages={most}"""


def write(folder, stream):
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML)
    (folder / "rides.py").write_text(PROGRAM.replace("SOURCE", stream))
    lines = ["ride,station,kind,requested_at,back_at,battery,minutes"]
    for ride in range(200):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=7 * ride)
        kind = ("city", "cargo")[ride % 2]
        known = at + timedelta(hours=3)
        lines.append(f"{ride},s{ride % 5},{kind},{at.isoformat()},{known.isoformat()},{ride % 10}.5,{ride % 30}")
    (folder / "data" / "rides.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def in_production(headrace, tmp_path_factory):
    """The project with version 1 in Production and its features published."""
    folder = write(
        tmp_path_factory.mktemp("rides") / "rides", 'source=hr.change_feed("city.asked"), into="gold.minutes"'
    )
    train, deploy = ["train", "--as-of", "2024-02-15"], ["deploy", "--as-of", "2024-02-15"]
    for arguments in (["refresh"], train, deploy, ["publish", "--as-of", "2024-02-15"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def project(in_production, tmp_path, broker):
    """A copy of it: `project(stream)` declares what streams."""
    folder = tmp_path / "rides"
    shutil.copytree(in_production, folder, symlinks=True)
    old, new = str(in_production), str(folder)
    for file in (folder / ".headrace" / "dev").glob("*.db"):
        moved(file, old, new)
    with (folder / "headrace.toml").open("a") as file:
        file.write(
            f'\n[env.dev.kafka.main]\nbootstrap.servers = "{broker.at}"\nsession.timeout.ms = 2000\nheartbeat.interval.ms = 300\n'
        )

    def declare(stream):
        (folder / "rides.py").write_text(PROGRAM.replace("SOURCE", stream))
        return folder

    return declare


def moved(file, old, new):
    """MLflow keeps absolute paths."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in connection.execute(f'pragma table_info("{table}")').fetchall():
                if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                    connection.execute(f'update "{table}" set "{column}" = replace("{column}", ?, ?)', (old, new))
        connection.commit()


def ride(number, **changes):
    """A message that can be scored."""
    at = datetime(2024, 2, 20, tzinfo=UTC) + timedelta(seconds=number)
    given = {"ride": number, "kind": "city", "battery": number % 10 + 0.25, "station": f"s{number % 5}"}
    return json.dumps({**given, "requested_at": at.isoformat(), **changes}).encode()


def lake(folder):
    return Lakehouse("dev", str(folder / ".headrace" / "dev" / "lakehouse"))


def rows(folder, table):
    return lake(folder).snapshot(table).to_arrow().to_pylist()


def kafka(topic, into='"gold.minutes"', more=""):
    return f'source=hr.kafka("{topic}"), into={into}{more}'


def predicted(folder):
    return rows(folder, "gold.minutes") if lake(folder).exists("gold.minutes") else []
