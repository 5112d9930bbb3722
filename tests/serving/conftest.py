"""A small project with a LightGBM model in Production, and servers that are real processes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.serving.manifest import beside_digest

from .listening import Listening

TOML = """\
[project]
name = "bikes"
module = "bikes"
as_of = "2024-03-01"

[env.dev]
[env.live]
"""
PROGRAM = """\
import headrace as hr

raw = hr.Source("raw.rides", files="data/*.csv", schema=hr.Schema(requested_at="timestamp_utc", back_at="timestamp_utc"))
asked = hr.Table("city.asked", key="ride", sql="select ride, station, kind, requested_at, battery from raw.rides")
back = hr.Table("city.back", key="ride", time="back_at", sql="select ride, back_at, late from raw.rides")
busy = hr.FeatureTable(
    "stats.busy", key="station", time="at", look_back="3d", online=True,
    sql="select station, requested_at as at, count(*) over w as rides, avg(battery) over w as charge from raw.rides "
    "window w as (partition by station order by requested_at)",
)


def fit(data, params):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_jobs=1, verbose=-1, deterministic=True, random_state=0, **params).fit(data.X, data.y)


model = hr.Model(
    "late", fit=fit, task=hr.Binary(label=back["late"], calibrate="isotonic"), spine=asked.at("requested_at"),
    features=[asked.select("kind", "battery"), busy.select("rides", "charge")],
    params={"n_estimators": 20, "min_child_samples": 10, "seed": 0}, evaluate=hr.Evaluate(test="10d"),
)
delivery = hr.Deployment(model, gates=[hr.signature()], score=hr.Score(into="answers.late"), serve=hr.Serve(log="required"))
"""


def write(folder):
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML)
    (folder / "bikes.py").write_text(PROGRAM)
    lines = ["ride,station,kind,requested_at,back_at,battery,late"]
    for ride in range(1200):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=1.2 * ride)
        battery = (ride * 37) % 101 / 10
        kind = ("city", "cargo", "e")[ride % 3]
        late = int((ride * 7919) % 100 < 20 + 5 * (10 - battery) + 15 * (kind == "cargo"))
        known = at + timedelta(hours=3)
        lines.append(f"{ride},s{ride % 5},{kind},{at.isoformat()},{known.isoformat()},{battery},{late}")
    (folder / "data" / "rides.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def bikes(headrace, tmp_path_factory):
    """The project with version 1 in Production, features published, decisions scored: to be read, or copied."""
    folder = write(tmp_path_factory.mktemp("bikes") / "bikes")
    for arguments in (
        ["refresh"],
        ["train", "--as-of", "2024-02-15"],
        ["deploy", "--as-of", "2024-02-15"],
        ["score", "--as-of", "2024-02-25"],
        ["publish", "--as-of", "2024-02-25"],
    ):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def home(bikes, tmp_path):
    """A copy of what a server of version 1 starts from, to spoil."""
    import shutil

    root = tmp_path / "dev"
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    for file in (bikes / ".headrace" / "dev").glob("online.db*"):  # with its write-ahead log
        shutil.copy(file, root)
    return root / "serving" / "late"


@pytest.fixture(scope="session")
def live(bikes, tmp_path_factory):
    """A server of version 1, for tests that leave it as it is."""
    import shutil

    root = tmp_path_factory.mktemp("live") / "dev"
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    for file in (bikes / ".headrace" / "dev").glob("online.db*"):
        shutil.copy(file, root)
    with serving(root / "serving" / "late") as server:
        server.root = root
        yield server


def manifest(home, **changes):
    """Rewrites serving.json."""
    file = home / "serving.json"
    stored = json.loads(file.read_text())
    for name, value in changes.items():
        if name in stored["serve"]:
            stored["serve"][name] = value
        elif name in stored["versions"][0]:
            stored["versions"][0][name] = value
        else:
            stored[name] = value
    if changes.keys() & stored["serve"].keys():  # as a deployment does it: the copy says how it is served
        folder = home / stored["versions"][0]["folder"]
        (folder / "serve.json").write_text(json.dumps(stored["serve"]))
        stored["versions"][0]["copy_hash"] = beside_digest(folder)
    making = file.with_suffix(".new")
    making.write_text(json.dumps(stored))
    making.replace(file)


def samples(home):
    """Full rows and what MLflow's pyfunc answered for them."""
    (file,) = home.glob("versions/*/parity.json")
    parity = json.loads(file.read_text())
    return parity["columns"], parity["rows"], parity["outputs"]


class Server:
    def __init__(self, home, **options):
        self.said = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = options.pop("program", ("-m", "headrace.serving"))
        before, after = options.pop("before", ()), options.pop("arguments", ())
        place = options.pop("place", "--home")
        command = [*before, sys.executable, *program, place, str(home), "--port", str(self.port), *map(str, after)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **options.pop("env", {})}, **options
        )

    def ask(self, path, body=None, *, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})}
        given = {name: value for name, value in given.items() if value is not None}
        try:
            connection.request("GET" if body is None else "POST", path, data, given)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if kind == "application/json" else text.decode(), dict(answer.headers)

    def wait(self, until):
        """Waits until something holds of what /ready says."""
        for _ in range(6000):
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                status, told, _ = self.ask("/ready")
            except OSError:
                time.sleep(0.02)
                continue
            if until(status, told):
                return told
            time.sleep(0.02)
        raise AssertionError(f"not in time: {told}")

    def until(self, holds):
        """Waits until something holds; gives what it says."""
        end = time.monotonic() + 120
        while not (found := holds()):
            assert time.monotonic() < end
            time.sleep(0.02)
        return found

    def counted(self, name):
        """A counter on /metrics."""
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.split(" ")[1]) for line in lines if line.startswith(f"headrace_{name}_total{{"))

    def end(self, how=signal.SIGTERM):
        if self.said is None:
            if self.process.poll() is None:
                self.process.send_signal(how)
            self.said = self.process.communicate()[1]
        return self.process.returncode, self.said


@contextmanager
def serving(home: Path, *, wait=True, **options):
    server = Server(home, **options)
    try:
        if wait:
            server.wait(lambda _, told: told["version"] is not None)
        yield server
    finally:
        server.end(signal.SIGKILL)


@pytest.fixture
def listening():
    server = Listening()
    yield server
    if not server.loop.is_closed():
        server.end()


@pytest.fixture(scope="session")
def assistants(headrace, tmp_path_factory):
    """A project with models that answer, each with version 1 in Production: to be read, or copied."""
    from headrace.testing.llm_endpoint import Endpoint

    from . import assistants

    with Endpoint(assistants.reply) as endpoint:
        folder = assistants.write(tmp_path_factory.mktemp("assistants") / "assistants", endpoint.url)
        steps = [(step, "--model", model) for model in ("guide", "tone") for step in ("train", "deploy")]
        for arguments in (("refresh",), *steps):
            done = headrace.run(folder, "run", *arguments, env={"ASSISTANT_KEY": assistants.KEY})
            assert done.code == 0, done.stderr
    return folder
