"""An embedded store that is being made when its process is killed: the next one makes it, and opens it."""

import os
import signal
import subprocess
import sys

import pytest

from headrace.tracking.tracking import Tracking

KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from headrace.tracking.tracking import Tracking

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if sys.argv[3] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

Tracking(sys.argv[1], sys.argv[2]).runs()
"""


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO alembic_version", "INSERT INTO experiments"],
    ids=["in the middle of the migrations", "whole, and empty"],
)
def test_a_store_whose_maker_was_killed_is_made_by_the_next_one(tmp_path, statement):
    url, artifacts = f"sqlite:///{tmp_path}/a store/mlflow.db", f"{tmp_path}/artifacts"
    died = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, url, artifacts, statement],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},  # in which there is no store to copy
    )
    assert died.returncode == -signal.SIGKILL, died.stderr

    with Tracking(url, artifacts).open_run("late", "step-1") as run:
        run.log_params({"depth": 3})
    assert Tracking(url, artifacts).run(run.id).status == "FINISHED"
    assert {each.name for each in (tmp_path / "a store").iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_that_is_there_is_not_made_again(tmp_path):
    url, artifacts = f"sqlite:///{tmp_path}/mlflow.db", f"{tmp_path}/artifacts"
    with Tracking(url, artifacts).open_run("late", "step-1") as run:
        pass
    made = (tmp_path / "mlflow.db").stat().st_ino

    assert Tracking(url, artifacts).run(run.id).status == "FINISHED"
    assert (tmp_path / "mlflow.db").stat().st_ino == made
