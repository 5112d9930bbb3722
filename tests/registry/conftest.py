"""A registry with three versions of a model."""

import shutil

import pytest
from tests.registry.test_move import logged, open_registry
from tests.registry.test_registry import WHAT
from tests.support.states import keep_state

from headrace.core.folders import folder_digest
from headrace.tracking.tracking import Tracking


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """MLflow's own tables, which take a second to make."""
    root = tmp_path_factory.mktemp("store")
    Tracking(f"sqlite:///{root}/mlflow.db", f"{root}/artifacts").runs()
    return root / "mlflow.db"


@pytest.fixture
def registry(state_server, tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    keep_state(state_server, tmp_path)
    made = open_registry(tmp_path)
    for number in (1, 2, 3):
        folder = logged(tmp_path, number)
        hashes = {"artifact_hash": folder_digest(folder / "data" / "package"), "logged_hash": folder_digest(folder)}
        made.register("days", step_key=f"k{number}", model_uri=str(folder), **{**WHAT, **hashes})
    yield made
    made.state.close()
