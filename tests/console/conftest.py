"""A project with a version that waits for an approval, and its console, asked as a browser asks."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urlencode, urlsplit

import pytest
from tests.cli import mini
from tests.operations import kpi_project, monitored_project

from headrace.console.app import create_app
from headrace.core import vault
from headrace.operations import access
from headrace.operations.deploy import deploy
from headrace.operations.operation import At
from headrace.operations.refresh import refresh
from headrace.operations.train import train

HOST = "127.0.0.1:8765"
DEPLOYED = 'serve=hr.Serve(), gates=[hr.signature(), hr.at_least("rmse", 9), hr.approval("governance")]'


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    text: str


class Browser:
    """Asks an application, keeps its cookies, and sends its forms. It runs no script: there is none."""

    def __init__(self, app):
        self.app, self.cookies = app, {}

    def get(self, path, *, host=HOST):
        return self.ask("GET", path, host=host)

    def post(self, path, **fields):
        """With what the page at hand put into its form, unless the fields say otherwise."""
        return self.ask("POST", path, body=urlencode(fields).encode())

    def form(self, path):
        """The hidden field of the forms of a page."""
        return self.get(path).text.partition('name="form" value="')[2].partition('"')[0]

    def ask(self, method, path, *, body=b"", host=HOST):
        parts, sent = urlsplit(path), []
        headers = {"host": host, "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": ("127.0.0.1", 8765),
            "client": ("127.0.0.1", 5),
        }

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        start, *rest = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        if "set-cookie" in found:
            name, _, value = found["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(start["status"], found, b"".join(each.get("body", b"") for each in rest).decode())


class Links(HTMLParser):
    """Where a page leads, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.tags.append(tag)
        if tag == "a":
            self.links.append(said["href"])
        elif said.get("src") or tag == "link":
            self.loads.append(said.get("src") or said["href"])


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The project, and the tokens of its people: `eng` deploys, `gov` approves, `ana` looks."""
    folder = mini.write(tmp_path_factory.mktemp("console") / "mini", deployment=DEPLOYED)
    at = At(folder=folder)
    tokens = {"admin": access.bootstrap(at).token}
    with vault.bearing(tokens["admin"]):
        for name, role in {"eng": "ml_engineer", "gov": "governance", "ana": "data_scientist"}.items():
            access.grant_role(at, name, role)
            tokens[name] = access.create_access_token(at, name).token
    with vault.bearing(tokens["eng"]):
        refresh(at)
        train(at, "days")
        assert deploy(at, "days").ending == "waits for approval"
    return folder, tokens


@pytest.fixture
def console(made, tmp_path):
    """A browser of a console of a copy of the project, and the tokens."""
    folder, tokens = made
    copy = shutil.copytree(folder, tmp_path / "mini", symlinks=True)
    return Browser(create_app(copy)), tokens


@contextmanager
def running(made, tmp_path, *options):
    """A console of a copy of the project as a process that acts as the one who approves: its address, and the process."""
    folder, tokens = made
    copy = shutil.copytree(folder, tmp_path / "mini", symlinks=True)
    command = [sys.executable, "-m", "headrace.cli", "console", "--port", "0", *options]
    env = {**os.environ, "HEADRACE_TOKEN": tokens["gov"]}
    with subprocess.Popen(command, cwd=copy, env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline())[0], server
        finally:
            server.terminate()
            assert server.wait(timeout=20) in (0, -15, -9, 130)


@pytest.fixture(scope="session")
def figured(headrace, tmp_path_factory):
    """A project with a business figure of two versions, to be read."""
    return kpi_project.build(headrace, tmp_path_factory.mktemp("figured") / "mini")


@pytest.fixture(scope="session")
def monitored(headrace, tmp_path_factory):
    """A project with two versions that were scored and monitored, to be read."""
    return monitored_project.build(headrace, tmp_path_factory.mktemp("monitored") / "mini")


@pytest.fixture(scope="session")
def answered(headrace, tmp_path_factory):
    """A project whose models were asked by people who said what they think of it, and the ids of the answers."""
    from tests.support import assistant

    from . import answers

    with assistant.endpoint(answers.reply) as endpoint:
        return answers.make(tmp_path_factory.mktemp("answered") / "mini", headrace, endpoint.url)


@pytest.fixture
def pages(answered):
    """A browser of its console, which only reads, and the ids of the answers."""
    folder, ids = answered
    return Browser(create_app(folder)), ids
