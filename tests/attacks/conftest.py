"""Attacks: each tries to break a promise of docs/security.md, embedded and on PostgreSQL. A test that fails is an attack that succeeded."""

import json
import shutil
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.support.servers import postgres

from headrace.core.ids import digest
from headrace.core.locks import hold

from .world import World, build

counted = {"passed": 0, "failed": 0}


def pytest_runtest_logreport(report):
    """Counts attacks, on the process that prints the summary."""
    if report.nodeid.startswith("tests/attacks/") and (report.when == "call" or report.failed):
        counted["failed" if report.failed else "passed"] += 1


def pytest_terminal_summary(terminalreporter):
    """The line that `make attacks` ends with."""
    if sum(counted.values()):
        terminalreporter.write_line(f"{sum(counted.values())} attacks, {counted['failed']} succeeded")


@pytest.fixture(scope="session")
def shared(tmp_path_factory, request):
    """A folder that the workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "attacks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(shared):
    """The URL of a PostgreSQL."""
    with hold(shared / "pg.lock", wait=True):
        opened = postgres(shared / "pg")
        url = opened.__enter__()
    yield url
    opened.__exit__(None, None, None)


@pytest.fixture(scope="session", params=["embedded", "postgresql"])
def prepared(request, headrace, shared):
    """The project that attacks begin with, made once a database by the worker that comes first."""
    url = request.getfixturevalue("server") if request.param == "postgresql" else None
    kept = shared / f"{request.param}.json"
    with hold(shared / f"{request.param}.lock", wait=True):
        if not kept.exists():
            variables = {}
            if url:
                _statement(url, "create database prepared")
                variables = {"HEADRACE_ENV__prod__state": _named(url, "prepared")}
            world = build(headrace, shared / request.param / "shop", variables)
            kept.write_text(json.dumps({"variables": variables, "tokens": world.tokens}))
    return World(headrace, shared / request.param / "shop", **json.loads(kept.read_text()))


@pytest.fixture
def world(prepared, tmp_path, request):
    """A copy of it, with a database of its own."""
    folder = shutil.copytree(prepared.folder, tmp_path / "shop", symlinks=True)
    variables = dict(prepared.variables)
    if variables:
        server, name = request.getfixturevalue("server"), f"attack_{digest(request.node.nodeid)}"
        with hold(request.getfixturevalue("shared") / "pg.lock", wait=True):  # nobody else may use the template then
            _statement(server, f"create database {name} template prepared")
        variables["HEADRACE_ENV__prod__state"] = _named(server, name)
    return replace(prepared, folder=folder, variables=variables, tokens=dict(prepared.tokens))


def _named(server, name):
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _statement(server, statement):
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
