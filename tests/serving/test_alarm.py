"""A server that goes on with what it had because it cannot load what it should: everybody who wants to know is told, once."""

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.serving.conftest import serving
from tests.serving.test_server import ROW

GOES_ON = "a server of late goes on with what it had before"


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def hooked():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.told = []
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
        yield folder, hook.told


def test_a_version_that_cannot_be_loaded_is_an_event_once_for_each_time(headrace, project):
    folder, told = project
    home = folder / ".headrace" / "dev" / "serving" / "late"
    file = home / "serving.json"
    good = file.read_text()

    def alarms():
        done = headrace.run(folder, "up", "--once")
        assert done.code == 0, done.stderr
        return [each for each in told if each["name"] == "serving.not_followed"]

    def needs():
        return [each["what"] for each in headrace.run(folder, "status", "--json").json()["needs_a_person"]]

    with serving(home) as server:
        assert alarms() == []
        file.write_text(good.replace('"folder": "versions/1-', '"folder": "versions/9-'))
        server.wait(lambda _, said: said["stale"] != "")
        assert GOES_ON in needs()
        (alarm,) = alarms()
        assert alarm["subject"] == alarm["payload"]["model"] == "late"
        assert "which is not there" in alarm["payload"]["why"]
        assert server.ask("/invocations", {"instances": [list(ROW.values())]})[0] == 200

        server.wait(lambda _, said: said["stale"] == "")  # the same round has mended the file
        assert len(alarms()) == 1
        assert GOES_ON not in needs()

        file.write_text("{")
        server.wait(lambda _, said: said["stale"] != "")
        first, second = alarms()
        assert "cannot be read" in second["payload"]["why"]
        assert second["payload"]["since"] > first["payload"]["since"]
