"""One key, one version, whatever happens between the two stores."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.states import keep_state

from headrace.core.errors import NotFoundError
from headrace.core.state import State
from headrace.registry.registry import Registry
from headrace.tracking.tracking import Tracking

WHAT = {
    "run_id": "r",
    "artifact_hash": "h",
    "logged_hash": "l",
    "code": "c",
    "inputs": {"s.t": 3},
    "training_set": 0,
    "params": {"depth": 3},
    "by": "ada",
    "fit_from": "2024-01-01",
    "fit_to": "2024-02-01",
    "as_of": "2024-03-01",
    "metrics": {"rmse": 1.5, "r2": None},
}
REGISTER = """
import sys
from pathlib import Path
from headrace.core.state import State
from headrace.registry.registry import Registry
from headrace.tracking.tracking import Tracking
from tests.registry.test_registry import WHAT, uri
from tests.support.states import state_of
root, key = sys.argv[1:]
tracking = Tracking(f"sqlite:///{root}/mlflow.db", f"{root}/artifacts")
version = Registry(State(state_of(Path(root))), tracking).register("days", step_key=key, model_uri=uri(root), **WHAT)
print(version.version)
"""


def uri(root):
    return f"{root}/artifacts/model"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "artifacts" / "model").mkdir(parents=True)
    (tmp_path / "artifacts" / "model" / "MLmodel").write_text("flavors: {}\n")  # what is registered can be read
    return tmp_path


@pytest.fixture
def registry(state_server, root):
    tracking = Tracking(f"sqlite:///{root}/mlflow.db", f"{root}/artifacts")
    state = State(keep_state(state_server, root))
    yield Registry(state, tracking)
    state.close()


def test_one_key_is_one_version_and_starts_with_stage_none(registry, root):
    first = registry.register("days", step_key="k1", model_uri=uri(root), **WHAT)
    again = registry.register("days", step_key="k1", model_uri=uri(root), **WHAT)
    second = registry.register("days", step_key="k2", model_uri=uri(root), **WHAT)

    assert first == again
    assert (first.version, second.version, first.stage) == (1, 2, "None")
    assert first.metrics == {"rmse": 1.5, "r2": None}
    assert [change.stage for change in registry.history("days", 1)] == ["None"]
    assert registry.current("days", "Production") is None
    assert registry.current("days", "None").version == 2


def test_a_version_that_only_mlflow_knows_is_taken_up(registry, root):
    registry.tracking.register("days", key="k1", uri=uri(root), run_id=None, tags={})
    version = registry.register("days", step_key="k1", model_uri=uri(root), **WHAT)

    assert version.version == 1
    assert [each.version for each in registry.tracking.versions("days")] == [1]


def test_two_processes_that_register_the_same_step_make_one_version(registry, root):
    def process(_):
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", REGISTER, str(root), "k1"],
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(process, range(2)))

    assert [each.returncode for each in done] == [0, 0], done
    assert len({each.stdout for each in done}) == 1
    assert [each.version for each in registry.versions("days")] == [1]


def test_what_is_not_there_is_told_with_what_is(registry, root):
    registry.register("days", step_key="k1", model_uri=uri(root), **WHAT)
    with pytest.raises(NotFoundError, match="did you mean 'days'"):
        registry.versions("day")
    with pytest.raises(NotFoundError, match="no version of days '7'"):
        registry.get("days", 7)


def test_killed_between_the_two_stores_the_next_attempt_makes_no_second_version(registry, root):
    killing = REGISTER.replace(
        "version = Registry",
        "import os, signal\nState.begin = lambda self: os.kill(os.getpid(), signal.SIGKILL)\nversion = Registry",
    )
    registry.models()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", killing, str(root), "k1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [each.version for each in registry.tracking.versions("days")] == [1]

    assert registry.register("days", step_key="k1", model_uri=uri(root), **WHAT).version == 1
    assert [each.version for each in registry.tracking.versions("days")] == [1]
