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

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from headrace.core import credentials
from headrace.core.errors import ConfigError
from headrace.core.ids import new_id
from headrace.core.system import let_spark_be_imported
from headrace.tracking import store_relocation
from headrace.tracking.empty_store import keep_empty, read_empty

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from headrace.core.ownership import Owner

VARIABLE = "MLFLOW_TRACKING_URI"
OWNER = "headrace.state"  # a tag
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # that MLflow opens by itself
DEFAULT = store_relocation.DEFAULT
OPENING = 7_305_612_209  # any number that nobody else takes for an advisory lock
UNFINISHED = "being-made"  # ends the name of an embedded store that has not all of its tables yet
BESIDE = ("-journal", "-wal", "-shm")  # files of SQLite that belong to a database
PATIENCE = 300.0  # seconds that a process waits for others to make or look at MLflow's tables


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
        with suppress(ImportError):  # in a notebook it warns of what it lacks for bars, which are switched off
            import_module("tqdm.auto")
        loaded = import_module(module)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return loaded


@contextmanager
def requirements_uncompared() -> Generator[None]:
    """MLflow does not compare requirements with what is installed, meanwhile.

    It reads the files of every installed package for that, which takes a second, and logs a warning that is not shown: what
    was just installed is what is logged.
    """
    places = [load(name) for name in ("mlflow.pyfunc", "mlflow.utils.environment")]
    before = [place.warn_dependency_requirement_mismatches for place in places]
    for place in places:
        place.warn_dependency_requirement_mismatches = lambda _: None
    try:
        yield
    finally:
        for place, compare in zip(places, before, strict=True):
            place.warn_dependency_requirement_mismatches = compare


def is_database(url: str) -> bool:
    """Whether a store is a database that MLflow opens in this process; otherwise a server has it."""
    return url.partition(":")[0].partition("+")[0] in DATABASES


def connect(url: str, artifacts: str | None, *, project: Path | None = None) -> Any:
    """A client on the tracking and registry store at this URL; the tables of a database are made where there are none.

    Args:
        url: of the store.
        artifacts: folder or URL under which what runs log is kept; None where a server decides.
        project: the folder of the project that it belongs to.

    Raises:
        ConfigError: there is no such store, or it is not MLflow's, or another version's.
    """
    mlflow = load()
    try:
        with _alone(url):
            _make(url)
            client = mlflow.MlflowClient(tracking_uri=url, registry_uri=url)
            client.search_experiments(max_results=1)  # makes the tables, which two processes must not do together
            store_relocation.settle(url, project=project, artifacts=artifacts)
            if artifacts is not None and is_database(url):
                _settle_default(client, artifacts)
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, ImportError) as error:
        raise ConfigError(
            f"MLflow's store cannot be opened: {credentials.without(str(error).strip().splitlines()[0], url)}",
            hint="tracking = in headrace.toml is sqlite:///…, postgresql+psycopg://…, or the address of a server.",
        ) from error
    return client


def _make(url: str) -> None:
    """Makes an embedded store that is not there yet, under another name until it is whole.

    MLflow makes its tables and migrates them one after the other, and never opens a store again in which that was cut off.
    What a process that was killed left under the other name is removed; the caller has the lock. The migrations take
    seconds, so the second store that a user makes is a copy of the first one as it was when it was new.
    """
    path = store_relocation.file_of(url)
    if path is None or path.exists():
        return
    whole, question, options = url.partition("?")
    unfinished = path.with_name(f"{path.name}.{UNFINISHED}")
    _remove(unfinished)
    if (empty := read_empty()) is not None:
        unfinished.write_bytes(empty)
        _remove(path)
        unfinished.replace(path)
        return
    utils = load("mlflow.store.db.utils")
    engine = utils.create_sqlalchemy_engine_with_retry(f"{whole}.{UNFINISHED}{question}{options}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own tables
            utils._initialize_tables(engine)  # noqa: SLF001
    finally:
        engine.dispose()
    keep_empty(unfinished.read_bytes())
    _remove(path)  # a journal of a store that was there once would be taken for one of this
    unfinished.replace(path)


def _remove(database: Path) -> None:
    for each in (database, *(database.with_name(f"{database.name}{ending}") for ending in BESIDE)):
        each.unlink(missing_ok=True)


def _settle_default(client: Any, artifacts: str) -> None:
    """Experiments that a user makes, and MLflow's own first one, keep artifacts with the others.

    MLflow would have them in `mlruns`, below wherever the process that made the tables happened to be.
    """
    kept = client._tracking_client.store  # noqa: SLF001
    kept.artifact_root_uri = artifacts
    usual = f"{artifacts}/Default"
    with kept.engine.connect() as connection:
        unused = connection.execute(
            text(
                """
                select artifact_location from experiments
                where experiment_id = :default
                    and not exists (select 1 from runs where runs.experiment_id = experiments.experiment_id)
                """
            ),
            {"default": int(DEFAULT)},
        ).scalar()
    if unused not in (None, usual):
        with suppress(SQLAlchemyError):  # who may only read leaves it
            move_experiment(client, DEFAULT, usual)


def move_experiment(client: Any, experiment: str, location: str) -> None:
    """The next runs of an experiment in a database keep artifacts there; those that are there stay where they are."""
    with client._tracking_client.store.engine.begin() as connection:  # noqa: SLF001
        moved = text("update experiments set artifact_location = :location where experiment_id = :experiment")
        connection.execute(moved, {"location": location, "experiment": int(experiment)})


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Which state database an environment's runs and versions here belong to.

    It is a tag of an experiment that holds nothing else: a server knows no other place that is made once. Environments
    and projects may share a server, and each has a mark of its own there; an embedded store has one owner.

    Attributes:
        client: of the store.
        whose: the project and the environment.
        artifacts: folder or URL under which what runs log is kept; None where a server decides.
        embedded: whether the store is a file, which has one owner.
    """

    client: Any
    whose: Owner
    artifacts: str | None
    embedded: bool

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

    def shared(self) -> bool:
        """Whether another environment keeps its runs here, too."""
        names = [each.name for each in self.client.search_experiments() if OWNER in each.tags]
        return any(name != self._name for name in names)

    @property
    def _name(self) -> str:
        if self.embedded:
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
    """Lets one process at a time open a database: by a file beside that of SQLite, by an advisory lock of PostgreSQL.

    Does nothing for a server, and for other databases.
    """
    path = store_relocation.file_of(url)
    if path is not None:
        with _locked(path):
            yield
    elif url.startswith("postgresql"):
        with _advisory_lock(url):
            yield
    else:
        yield


@contextmanager
def _locked(path: Path) -> Generator[None]:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory_lock(url: str) -> Generator[None]:
    """A lock of a transaction, which a connection pooler keeps on one session; it ends with the process."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"set local lock_timeout = {round(PATIENCE * 1000)}"))
        connection.execute(text("set local idle_in_transaction_session_timeout = 0"))  # MLflow's tables take their time
        connection.execute(text(f"select pg_advisory_xact_lock({OPENING})"))
        yield
