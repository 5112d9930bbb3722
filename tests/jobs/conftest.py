import json
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.core.state import State
from headrace.jobs.ledger import Ledger


@pytest.fixture
def url(state_url):
    return state_url


@pytest.fixture
def state(url):
    opened = State(url)
    yield opened
    opened.close()


@pytest.fixture
def ledger(state):
    return Ledger(state)


@pytest.fixture(scope="session")
def crashing():
    """Runs a program of steps in a process of its own; gives its exit status."""
    program = Path(__file__).with_name("crashing.py")
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def run(folder, steps, *, failpoint=None, params=None):
            what = {
                "folder": str(folder),
                "url": f"sqlite:///{folder}/state.db",
                "steps": steps,
                "failpoint": failpoint,
                "params": params or {},
            }
            server.stdin.write(json.dumps(what) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield run
        server.stdin.close()
