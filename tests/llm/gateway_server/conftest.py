"""A project with routes to endpoints for tests, and `headrace gateway` as a process in front of it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import openai
import pytest

from headrace.testing.llm_endpoint import Endpoint

KEY = "sk-Zq7+very/secret=key"
TOML = """
[project]
name = "talk"
module = "talk"
[env.dev]
[env.dev.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "tiny"
key = {{secret = "TALK_KEY"}}
attempts = 2
timeout = "{timeout}"
input_price = 1000
output_price = 1000
max_tokens = 50
[env.dev.llm.routes.claude]
protocol = "anthropic"
url = "{url}"
model = "tiny"
timeout = "{timeout}"
[env.dev.llm.routes.lost]
protocol = "openai"
url = "http://127.0.0.1:9/v1"
model = "tiny"
attempts = 1
[env.dev.llm.routes.keyless]
protocol = "openai"
url = "{url}"
model = "tiny"
key = {{secret = "NO_SUCH_KEY"}}
{more}
"""


def write_project(folder, endpoint, more="", timeout="10s"):
    """A project whose routes lead to an endpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.toml").write_text(TOML.format(url=endpoint.url, more=more, timeout=timeout), encoding="utf-8")
    (folder / "talk.py").write_text("import headrace as hr\n", encoding="utf-8")
    return folder


class Server:
    """`headrace gateway` in a process of its own; its log is in a file."""

    def __init__(self, folder, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.clients = []
        self.log = folder / "gateway.log"
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "headrace.cli", "gateway", "--port", str(self.port), *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "TALK_KEY": KEY}, start_new_session=True
            )

    def wait(self):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}/health", timeout=5).read()
                return self
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def client(self, **how):
        how = {"api_key": "none", "max_retries": 0, "timeout": 60, **how}
        self.clients.append(openai.OpenAI(base_url=f"{self.url}/v1", **how))
        return self.clients[-1]

    def get(self, path, **headers):
        """Status and text."""
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", headers=headers)) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self):
        """Ends it as a supervisor would; returns the exit code."""
        for each in self.clients:
            each.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def running(folder, *arguments):
    server = Server(folder, *arguments)
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint(lambda messages: f"echo of {messages[-1]['content']}", key=None) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(endpoint, tmp_path_factory):
    """One that the tests of a module share; each sets the faults that it needs."""
    with running(write_project(tmp_path_factory.mktemp("talk") / "talk", endpoint, timeout="3s")) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_faults(request):
    if "endpoint" in request.fixturenames:
        endpoint = request.getfixturevalue("endpoint")
        endpoint.set_faults(())
        endpoint.requests.clear()


def hello(text="hello there"):
    return [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
