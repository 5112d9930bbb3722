"""A process that has imported what commands need and forks one child for each command.

Starting Python and importing MLflow, pandas and scikit-learn takes seconds; tests that run the command line hundreds of
times, and kill it, fork instead. The parent only imports: it opens no file, no database, and has one thread, since a lock that
another thread holds in the moment of a fork would stay held in the child for ever.
"""

import faulthandler
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

IMPORTS = (
    "alembic.command",
    "duckdb",
    "deltalake",
    "git",
    "lightgbm",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.utils.requirements_utils",
    "optuna",
    "pandas",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyspark.sql.connect.session",  # MLflow asks whether a session of Spark is active
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sqlalchemy",
    "sqlglot.dialects.duckdb",
)
ONE_THREAD = {  # of what is imported: no worker of BLAS, no thread that tidies the allocators of Arrow and delta-rs
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}
SECONDS = 400  # that a command may take, before it shows where it hangs and ends


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
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD},
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
    for name in IMPORTS:
        import_module(name)
    for each in walk_packages(import_module("headrace").__path__, "headrace."):
        if "examples" not in each.name and not each.name.endswith("__main__"):
            import_module(each.name)
    know_what_is_installed()
    assert threads() == 1
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            work(asked)
        print(os.waitpid(child, 0)[1], flush=True)


def threads():
    """Those of this process that the operating system knows; 1 where it does not tell."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


def know_what_is_installed():
    """Which distribution holds which module, which each fit looks up; MLflow and Headrace keep it."""
    import_module("headrace.training.distributions").owners()
    import_module("mlflow.utils.requirements_utils")._init_modules_to_packages_map()


def work(asked):
    os.chdir(asked["folder"])
    os.environ.update(asked["env"])
    for descriptor, place in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=2)
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
