"""Not a test: a small process that runs programs of steps in children which are killed where a test says.

It reads one JSON document a line: what to run, and `failpoint`, the place where the child dies. It answers with the
child's exit status. Starting a child of this process takes milliseconds where a new interpreter takes a second.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from headrace.core.failpoints import VARIABLE, reach
from headrace.core.state import State
from headrace.jobs.ledger import Ledger
from headrace.jobs.step_output import StepOutput


@dataclass(frozen=True, kw_only=True)
class Written(StepOutput):
    version: int

    def summary(self):
        return f"version {self.version}"


class Store:
    """Where steps write: a value a name, with a version, and each write counts once by its id (as in the lakehouse)."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def load(self, name):
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else {"value": None, "version": 0, "ids": {}}

    def write(self, name, write_id, value):
        stored = self.load(name)
        if write_id in stored["ids"]:
            return stored["ids"][write_id]
        reach(f"store.computed:{name}")
        version = stored["version"] + 1
        stored = {"value": value, "version": version, "ids": {**stored["ids"], write_id: version}}
        temporary = self.folder / f"{name}.tmp"
        temporary.write_text(json.dumps(stored))
        temporary.replace(self.folder / f"{name}.json")
        reach(f"store.committed:{name}")
        return version

    def note(self, name):
        with (self.folder / "executed").open("a") as file:
            file.write(f"{name}\n")

    def executed(self):
        file = self.folder / "executed"
        return file.read_text().split() if file.exists() else []


def execute(what):
    """Opens the job and takes its steps, in order; each writes its key into the store."""
    store = Store(what["folder"])
    state = State(what["url"])
    with Ledger(state).open("refresh", what["params"], code="here") as run:
        for name, key in what["steps"]:

            def do(step, name=name, key=key):
                store.note(name)
                step.log(f"writes {key}")
                return Written(version=store.write(name, step.key, key))

            def stands(was, name=name):
                return store.load(name)["version"] == was.version

            run.step(name, {"key": key}, do, output=Written, holds=stands)
    state.close()


def serve():
    for line in sys.stdin:
        what = json.loads(line)
        child = os.fork()
        if child == 0:
            if what["failpoint"]:
                os.environ[VARIABLE] = what["failpoint"]
            code = 1
            try:
                execute(what)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
