"""Stores that do not answer, that do, and whose clock is another."""

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.support.broker import Broker
from tests.support.listeners import running
from tests.support.redis import Redis
from tests.support.states import new_state

from headrace.environments import config
from headrace.operations.doctor.stores import ask_stores


@pytest.fixture
def closed():
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield free.getsockname()[1]


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("DOCTOR_KEY", "k")
    monkeypatch.setenv("DOCTOR_SECRET", "s")


@pytest.fixture
def silent():
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def stores(project):
    loaded = config.load(project.folder)
    return {finding.check: finding for finding in ask_stores(loaded, loaded.environment("dev"))}


def every_store(port):
    dev = f"""
state = "postgresql+psycopg://ann@127.0.0.1:{port}/state"
tracking = "http://127.0.0.1:{port}"
online = "redis://127.0.0.1:{port}"
lakehouse = "s3://bucket/tables"
spark = "sc://127.0.0.1:{port}"
databases = {{shop = "postgresql+psycopg://ann@127.0.0.1:{port}/shop"}}
storage_options = {{AWS_ENDPOINT_URL = "http://127.0.0.1:{port}", AWS_REGION = "us-east-1", AWS_ALLOW_HTTP = "true", AWS_ACCESS_KEY_ID = {{secret = "DOCTOR_KEY"}}, AWS_SECRET_ACCESS_KEY = {{secret = "DOCTOR_SECRET"}}}}
"""
    return dev, f'[env.dev.kafka.main]\n"bootstrap.servers" = "127.0.0.1:{port}"'


NAMES = {"state database", "tracking server", "online store", "lakehouse", "spark", "database shop", "kafka main"}


def test_each_store_whose_port_is_closed_is_named(project, closed, keys):
    project.configure(*every_store(closed))
    found = stores(project)

    assert set(found) == NAMES
    assert {finding.result for finding in found.values()} == {"failed"}
    assert all(finding.way for finding in found.values()), found


def test_stores_that_say_nothing_are_not_waited_for(project, silent, keys):
    project.configure(*every_store(silent))
    began = time.monotonic()
    found = stores(project)

    assert time.monotonic() - began < 30
    assert set(found) - {"spark"} == NAMES - {"spark"}  # of Spark only whether it listens is asked
    assert {finding.result for name, finding in found.items() if name != "spark"} == {"failed"}


def test_what_is_not_checked_without_the_state_database_is_said(project, closed):
    project.configure(f'state = "postgresql+psycopg://ann@127.0.0.1:{closed}/state"')
    found = project.examine()

    assert "127.0.0.1" in found["state database"].found
    assert "who acts" not in found
    assert "who acts, policy, code" in found["not checked"].found


def test_a_postgresql_that_answers_is_silent(project, postgres_server, tmp_path):
    project.configure(f'state = "{new_state(postgres_server, tmp_path)}"')
    found = project.examine()

    assert (found["state database"].result, found["clock"].result) == ("ok", "ok")
    assert found["policy"].result == "ok"


def test_a_state_database_with_another_clock_is_a_warning(project, postgres_server, tmp_path):
    url = new_state(postgres_server, tmp_path)
    schema = make_url(url).query["options"].removeprefix("-csearch_path=")
    engine = create_engine(postgres_server)
    with engine.begin() as connection:
        connection.execute(
            text(
                f"create function {schema}.clock_timestamp() returns timestamptz language sql as "
                "$$ select pg_catalog.clock_timestamp() - interval '1 hour' $$"
            )
        )
    engine.dispose()
    ahead = make_url(url).update_query_dict({"options": f"-csearch_path={schema},pg_catalog"})
    project.configure(f'state = "{ahead.render_as_string(hide_password=False)}"')
    clock = stores(project)["clock"]

    assert clock.result == "warning"
    assert clock.found.startswith("this machine is 3,")
    assert "ahead of the state database" in clock.found
    assert "NTP" in clock.way


class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response_only(self.server.status)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.server.ahead, usegmt=True))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def health():
    server = HTTPServer(("127.0.0.1", 0), Health)
    server.asked, server.status, server.ahead = [], 200, timedelta(0)
    with running(server):
        yield server


def test_a_tracking_server_is_asked_for_its_health_and_its_clock(project, health):
    project.configure(f'tracking = "http://127.0.0.1:{health.server_port}"')
    well = stores(project)
    health.ahead = timedelta(minutes=10)
    late = stores(project)["clock"]
    health.status = 503
    broken = stores(project)["tracking server"]

    assert {name: finding.result for name, finding in well.items()} == {"tracking server": "ok", "clock": "ok"}
    assert health.asked[0] == ("/health", None)
    assert late.result == "warning"
    assert "behind the tracking server" in late.found
    assert (broken.result, "answers 503" in broken.found) == ("failed", True)


def test_an_object_store_that_answers_is_silent_and_one_without_the_bucket_is_not(project, s3):
    options = ", ".join(f'{name} = "{value}"' for name, value in s3.options.items())
    keys = 'AWS_ACCESS_KEY_ID = {secret = "DOCTOR_KEY"}, AWS_SECRET_ACCESS_KEY = {secret = "DOCTOR_SECRET"}'
    project.configure(f'lakehouse = "s3://ready/tables"\nstorage_options = {{{options}, {keys}}}')
    unset = stores(project)["lakehouse"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCTOR_KEY", "headrace-tests")
        patch.setenv("DOCTOR_SECRET", "not-for-anybody-else")
        well = stores(project)
        patch.setenv("DOCTOR_SECRET", "wrong-and-hidden")
        wrong = stores(project)["lakehouse"]

    assert "DOCTOR_KEY" in unset.found
    assert {name: finding.result for name, finding in well.items()} == {"lakehouse": "ok", "clock": "ok"}
    assert wrong.result == "failed"
    assert "wrong-and-hidden" not in f"{wrong}"


def test_a_redis_that_answers_is_silent(project, tmp_path_factory):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        server = Redis(folder).start()
        try:
            project.configure(f'online = "{server.url}"')
            assert stores(project)["online store"].result == "ok"
        finally:
            server.stop()


def test_a_kafka_that_answers_is_silent(project, tmp_path):
    broker = Broker(tmp_path)
    try:
        project.configure("", f'[env.dev.kafka.main]\n"bootstrap.servers" = "{broker.at}"')
        found = stores(project)["kafka main"]
    finally:
        broker.close()
    assert (found.result, found.found) == ("ok", "1 broker")


def test_stores_in_folders_are_not_asked(project):
    assert stores(project) == {}


def test_a_channel_whose_secret_is_not_set_is_named_and_nothing_is_posted(project, monkeypatch):
    posted = HTTPServer(("127.0.0.1", 0), Health)
    posted.asked = []
    with running(posted):
        monkeypatch.delenv("DOCTOR_HOOK", raising=False)
        project.configure('notify = {webhook = {secret = "DOCTOR_HOOK"}}')
        unset = project.examine()["notify webhook"]
        monkeypatch.setenv("DOCTOR_HOOK", f"http://127.0.0.1:{posted.server_port}/token")
        well = project.examine()["notify"]
        monkeypatch.setenv("DOCTOR_HOOK", "no-url-but-secret")
        wrong = project.examine()["notify webhook"]

    assert (unset.result, "DOCTOR_HOOK" in f"{unset.found} {unset.way}") == ("failed", True)
    assert well.result == "ok"
    assert wrong.result == "failed"
    assert "no-url-but-secret" not in f"{wrong}"
    assert posted.asked == []
