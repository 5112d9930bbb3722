"""A server that goes on with what it had because it cannot load what it should: everybody who wants to know is told, once."""

import json
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.serving.conftest import serving
from tests.serving.test_server import ROW

from headrace.core.events import publish
from headrace.core.state import State

GOES_ON = "a server of late goes on with what it had before"


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.server.free.wait(60)
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def hooked():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.told, server.free = [], threading.Event()
    server.free.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def project(bikes, tmp_path):
    """A copy of the project with everything that it has made, and somebody who wants to be told."""
    folder = shutil.copytree(bikes, tmp_path / "bikes")
    with hooked() as hook:
        file = folder / "headrace.toml"
        file.write_text(f"{file.read_text()}\n[env.dev.notify]\nwebhook = 'http://127.0.0.1:{hook.server_port}/'\n")
        yield folder, hook


def test_a_version_that_cannot_be_loaded_is_an_event_once_for_each_time(headrace, project):
    folder, hook = project
    home = folder / ".headrace" / "dev" / "serving" / "late"
    file = home / "serving.json"
    good = file.read_text()

    def alarms():
        done = headrace.run(folder, "up", "--once")
        assert done.code == 0, done.stderr
        return [each for each in hook.told if each["name"] == "serving.not_followed"]

    def needs():
        return [each["what"] for each in headrace.run(folder, "status", "--json").json()["needs_a_person"]]

    with serving(home) as server:
        assert alarms() == []
        file.write_text(good.replace('"folder": "versions/1-', '"folder": "versions/9-'))
        server.wait(lambda _, said: said["stale"] != "")
        assert GOES_ON in needs()
        (alarm,) = alarms()
        assert alarm["subject"] == alarm["payload"]["model"] == "late"
        assert "which is not there" in alarm["payload"]["reason"]
        assert server.ask("/invocations", {"instances": [list(ROW.values())]})[0] == 200

        server.wait(lambda _, said: said["stale"] == "")  # the same round has mended the file
        assert len(alarms()) == 1
        assert GOES_ON not in needs()

        file.write_text("{")
        server.wait(lambda _, said: said["stale"] != "")
        first, second = alarms()
        assert "cannot be read" in second["payload"]["reason"]
        assert second["payload"]["since"] > first["payload"]["since"]


def test_a_webhook_that_takes_long_keeps_nothing_else(project):
    """What follows is set right and the command's answer is there, while somebody is still being told."""
    folder, hook = project
    file = folder / ".headrace" / "dev" / "serving" / "late" / "serving.json"
    good = file.read_text()
    file.write_text(good.replace('"version": 1', '"version": 7'))
    state = State(f"sqlite:///{folder / '.headrace' / 'dev' / 'state.db'}")
    with state.begin() as connection:
        publish(connection, "alert.opened", "late", {"reason": "a test"})
    hook.free.clear()
    command = [sys.executable, "-m", "headrace.cli", "traffic", "reconcile"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as tending:
        try:
            while "no step of a rollout is due" not in (line := tending.stderr.readline()):
                assert line
            assert json.loads(file.read_text())["versions"][0]["version"] == 1
            assert hook.told == []
        finally:
            hook.free.set()
        assert tending.wait(60) == 0
    assert [each["payload"] for each in hook.told if each["name"] == "alert.opened"] == [{"reason": "a test"}]
    state.close()
