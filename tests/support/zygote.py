"""A process that has imported what commands need and forks one child for each command.

Starting Python and importing MLflow, pandas and scikit-learn takes seconds; tests that run the command line hundreds of
times, and kill it, fork instead. The parent only imports: it opens no file, no database and starts no thread pool.
"""

import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

IMPORTS = (
    "duckdb",
    "deltalake",
    "lightgbm",
    "matplotlib.figure",
    "mlflow",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "optuna",
    "pandas",
    "pyarrow.csv",
    "pyarrow.parquet",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sqlalchemy",
    "sqlglot",
    "headrace.cli.main",
)


@dataclass(frozen=True)
class Done:
    """A command that ended. `signal` is the one that killed it, or 0."""

    code: int
    signal: int
    stdout: str
    stderr: str

    def json(self):
        return json.loads(self.stdout)


class Zygote:
    """Runs `headrace` commands in forks of a warm process."""

    def __init__(self, scratch: Path):
        self.scratch = scratch
        self.count = 0
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, folder, *arguments, failpoint=None, env=None) -> Done:
        """Runs one command in `folder` and waits for it."""
        self.count += 1
        out, err = (self.scratch / f"{self.count}.{kind}" for kind in ("out", "err"))
        asked = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "env": {**(env or {}), **({"HEADRACE_FAILPOINT": failpoint} if failpoint else {})},
            "out": str(out),
            "err": str(err),
        }
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -signalled
        return Done(code, signalled, out.read_text(), err.read_text())

    def close(self):
        self.process.communicate()


def serve():
    from importlib import import_module

    for name in IMPORTS:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            work(asked)
        print(os.waitpid(child, 0)[1], flush=True)


def work(asked):
    os.chdir(asked["folder"])
    os.environ.update(asked["env"])
    for descriptor, place in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from headrace.cli.main import main

    code = 70
    try:
        main(asked["arguments"])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except BaseException:  # noqa: BLE001  # what a process would print
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_WAIT_POLICY": "PASSIVE"}
    serve()
