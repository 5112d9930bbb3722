"""MLflow, imported late and kept quiet, on a store that two processes may open at the same time."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headrace.core import credentials
from headrace.core.errors import ConfigError
from headrace.core.ids import new_id
from headrace.core.system import let_spark_be_imported
from headrace.tracking import store_relocation

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from headrace.core.ownership import Owner

VARIABLE = "MLFLOW_TRACKING_URI"
OWNER = "headrace.state"  # a tag


def load(module: str = "mlflow") -> Any:
    """MLflow, or a module of it: no telemetry, errors only on stderr.

    The import costs one to four seconds, so it is late; it warns about MLflow's own code, which is not our user's affair.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    let_spark_be_imported()
    warnings.filterwarnings("ignore", message="PySpark does not yet")  # MLflow imports it, early or late, where it is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = import_module(module)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return loaded


def connect(url: str, artifacts: str, *, project: Path | None = None) -> Any:
    """A client on the tracking and registry store at this URL; an embedded store is made where there is none.

    Args:
        url: of the store.
        artifacts: folder or URL under which an embedded store keeps what runs log.
        project: the folder of the project that it belongs to.

    Raises:
        ConfigError: there is no such store, or it is not MLflow's, or another version's.
    """
    from sqlalchemy.exc import SQLAlchemyError

    mlflow = load()
    try:
        with _alone(url):
            client = mlflow.MlflowClient(tracking_uri=url, registry_uri=url)
            client.search_experiments(max_results=1)  # makes the tables, which two processes must not do together
            store_relocation.settle(url, project=project, artifacts=artifacts)
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, ImportError) as error:
        raise ConfigError(
            f"MLflow's store cannot be opened: {credentials.without(str(error).strip().splitlines()[0], url)}",
            hint="tracking = in headrace.toml is sqlite:///…, postgresql+psycopg://…, or the address of a server.",
        ) from error
    return client


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Which state database an environment's runs and versions here belong to.

    It is a tag of an experiment that holds nothing else: a server knows no other place that is made once. Environments
    and projects may share a server, and each has a mark of its own there; an embedded store has one owner.

    Attributes:
        client: of the store.
        whose: the project and the environment.
        artifacts: folder or URL of an embedded store; None for a server.
    """

    client: Any
    whose: Owner
    artifacts: str | None

    def owner(self) -> str | None:
        """The mark; None where there is none."""
        found = self.client.get_experiment_by_name(self._name)
        return None if found is None else found.tags.get(OWNER)

    def claim(self, mark: str) -> str | None:
        """Marks the store unless it is marked; gives the mark, None where none can be."""
        from mlflow.exceptions import MlflowException

        location = None if self.artifacts is None else f"{self.artifacts}/{quote(self._name)}"
        with suppress(MlflowException):  # it is there, somebody was faster, or it is not to be written
            if self.owner() is None:
                self.client.create_experiment(self._name, artifact_location=location, tags={OWNER: mark})
        return self.owner()

    def disclaim(self) -> None:
        """Takes the mark away: the state database that opens the store next is its owner."""
        found = self.client.get_experiment_by_name(self._name)
        if found is not None:
            # a name stays taken by a deleted experiment; a new name frees it
            self.client.rename_experiment(found.experiment_id, f"{found.name} until {new_id()}")
            self.client.delete_experiment(found.experiment_id)

    @property
    def _name(self) -> str:
        if self.artifacts is not None:
            return "headrace state"
        return f"headrace state of {self.whose.project} {self.whose.environment}"


@contextmanager
def current(url: str) -> Generator[Any]:
    """The `mlflow` module with this store as the one of its fluent calls; the previous one comes back afterwards."""
    mlflow = load()
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    said = os.environ.get(VARIABLE)
    _set(mlflow, url, said)
    try:
        yield mlflow
    finally:
        _set(mlflow, before, said)


def _set(mlflow: Any, url: str | None, said: str | None) -> None:
    """MLflow writes the URL, which may have a password, into the environment, where code of a model would read it."""
    mlflow.set_tracking_uri(url)
    if said is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = said


@contextmanager
def _alone(url: str) -> Generator[None]:
    """Holds a lock file beside an embedded store while it is opened; does nothing for a server."""
    path = store_relocation.file_of(url)
    if path is None:
        yield
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
