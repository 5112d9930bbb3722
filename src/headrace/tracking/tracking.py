"""MLflow runs: one for each training step, found again by the step's key, never left RUNNING."""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import unquote

import yaml
from sqlalchemy.exc import SQLAlchemyError

from headrace.core import credentials
from headrace.core.errors import ConfigError, DataError, NotFoundError, UnavailableError
from headrace.core.folders import folder_digest
from headrace.core.ids import digest
from headrace.tracking import artifact_store, store, store_relocation, traces
from headrace.tracking.artifact_store import COPY, ArtifactStore
from headrace.tracking.autolog import autologging
from headrace.tracking.records import LoggedVersion, RunStatus, RunSummary, SignatureColumn
from headrace.tracking.store import Mark

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from headrace.core.ids import Json
    from headrace.core.ownership import Marked, Owner
    from headrace.tracking.records import Dataset
    from headrace.tracking.traces import Trace

STEP = "headrace.step"
MLFLOWS_NOTES = "registered_model_meta"  # left in the folder when a model is registered; no part of a copy
MODEL_URI = "headrace.model_uri"
MLMODEL = "MLmodel"
BATCH = 90  # parameters in one request; MLflow takes 100


class Tracking:
    """The runs and versions of one environment.

    Args:
        url: of the store: `sqlite:////path/mlflow.db`, or of an MLflow server of the same minor version.
        artifacts: folder or URL under which a database's runs keep what they log. A server decides by itself, unless
            it is `declared`.
        declared: whether the environment says itself where artifacts are.
        options: gives the options of the object store with the artifacts, secrets in clear.
        project: the folder of the project that an embedded store belongs to and is moved with.
        owner: the state database that it belongs to.
        check: whether it does, by its mark, when it is first asked.

    Raises, when it is first asked:
        RefusedError: the store belongs to another state database.
    """

    def __init__(
        self,
        url: str,
        artifacts: str,
        *,
        declared: bool = False,
        options: Callable[[], Mapping[str, str]] | None = None,
        project: Path | None = None,
        owner: Owner | None = None,
        check: Callable[[Marked], None] | None = None,
    ) -> None:
        self.url, self.artifacts, self._project = url, artifacts.rstrip("/"), project
        self._owner, self._check = owner, check
        self._connected: Any = None
        self._kept = self.artifacts if declared or store.is_database(url) else None  # None: the server decides
        is_remote = self._kept is None or "://" in self._kept
        self._store = ArtifactStore(self._kept or "the place that the server names", options if is_remote else None)

    @property
    def _client(self) -> Any:
        if self._connected is None:
            client = store.connect(self.url, self._kept, project=self._project)
            if self._owner is not None and self._check is not None:
                self._check(self._mark(client, self._owner))
            self._connected = client
        return self._connected

    def mark(self, owner: Owner) -> Mark:
        """Where the store carries the mark of an environment's state, whichever state that is."""
        return self._mark(store.connect(self.url, self._kept, project=self._project), owner)

    def _mark(self, client: Any, owner: Owner) -> Mark:
        embedded = store_relocation.file_of(self.url) is not None
        return Mark(client=client, whose=owner, artifacts=self._kept, embedded=embedded)

    def open_run(
        self,
        model: str,
        key: str,
        *,
        name: str = "",
        tags: Mapping[str, str] | None = None,
        holds: Callable[[TrackedRun], bool] = lambda _: True,
    ) -> TrackedRun:
        """The run of a step: a finished one if there is one that holds (`done`), otherwise a new one.

        A run of this key that was left RUNNING belongs to a process that died; it is closed as KILLED first. The caller
        holds the step, so nobody else can be at work on it.

        Args:
            model: experiments are named after models.
            key: of the step; the tag `headrace.step`.
            name: shown in MLflow.
            tags: further tags.
            holds: whether what a finished one logged still stands.
        """
        experiment = self._experiment(model)
        self.close_orphans([key])
        done = self._search([experiment], f"tags.`{STEP}` = '{key}' and attributes.status = 'FINISHED'")
        for found in done:
            if holds(earlier := TrackedRun(self, found.info.run_id, done=True)):
                return earlier
        made = self._client.create_run(experiment, run_name=name or None, tags={**(tags or {}), STEP: key})
        return TrackedRun(self, made.info.run_id, done=False)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Logs what was measured of a run that has ended. MLflow takes no @ in a name: `recall@5` is `test_recall_at_5`."""
        named = {f"test_{name.replace('@', '_at_')}": value for name, value in metrics.items()}
        TrackedRun(self, run_id, done=True).log_metrics(named)

    def log_traces(self, model: str, given: Sequence[Trace]) -> None:
        """Writes traces of answers into the experiment of a model; those that are there are replaced.

        Raises:
            UnavailableError: the store does not take them now. Some of them may be there.
        """
        if not given:
            return
        store.load()
        from mlflow.exceptions import MlflowException

        try:
            traces.log(self._client, self._experiment(model), given)
        except (MlflowException, SQLAlchemyError, NotImplementedError, OSError) as error:
            raise UnavailableError(
                f"MLflow does not take traces: {credentials.without(str(error).strip().splitlines()[0], self.url)}",
                hint="They are written the next time.",
            ) from error

    def running(self) -> dict[str, str]:
        """The runs of steps that are RUNNING, by id, and the key of each one's step; other people's runs are not among them."""
        file = store_relocation.file_of(self.url)
        if file is not None and not file.exists():
            return {}
        everywhere = [experiment.experiment_id for experiment in self._client.search_experiments()]
        found = self._search(everywhere, "attributes.status = 'RUNNING'")
        return {run.info.run_id: run.data.tags[STEP] for run in found if STEP in run.data.tags}

    def close_orphans(self, keys: Collection[str] | None = None, *, among: Collection[str] | None = None) -> list[str]:
        """Closes runs that are RUNNING as KILLED: those of these steps, or of every step. Gives their ids.

        To be called when it is known that no live process works on these steps.

        Args:
            keys: of the steps; default: every one.
            among: ids of the only runs to close: a step may have been taken up again since they were looked at.
        """
        orphans = [
            run_id
            for run_id, key in self.running().items()
            if (keys is None or key in keys) and (among is None or run_id in among)
        ]
        for run_id in orphans:
            self._client.set_terminated(run_id, status="KILLED")
        return orphans

    def run(self, run_id: str) -> RunSummary:
        """One run.

        Raises:
            NotFoundError: there is none of this id.
        """
        store.load()
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException:
            raise NotFoundError("MLflow run", run_id, (run.id for run in self.runs())) from None
        return self._summary(found)

    def runs(self, model: str | None = None, *, limit: int = 100) -> list[RunSummary]:
        """The latest runs, of one model or of all, newest first."""
        experiments = [
            experiment.experiment_id
            for experiment in self._client.search_experiments()
            if model is None or experiment.name == model
        ]
        return [self._summary(run) for run in self._search(experiments, "", limit=limit)]

    @contextmanager
    def download(self, uri: str) -> Generator[Path]:
        """The local folder of a logged model, not to be written to: where it is, or a copy that goes at the end.

        Raises:
            DataError: it is gone, or cannot be reached.
        """
        with ExitStack() as held:
            yield self._downloaded(uri, held)

    def digest(self, uri: str) -> str:
        """A digest of all files of a logged model, MLflow's own among them: what says which code loads it is there.

        Raises:
            DataError: it is gone.
        """
        with self.download(uri) as folder:
            try:
                return folder_digest(folder, without=(MLFLOWS_NOTES,))
            except OSError as error:
                raise _unreadable(uri, str(folder), error) from error

    @contextmanager
    def logged_folder(self, uri: str) -> Generator[Path]:
        """The folder that `TrackedRun.log_model` was given, as `download` gives it.

        Raises:
            DataError: it is gone, or holds no model that Headrace logged.
        """
        with self.download(uri) as logged:
            yield package_folder(logged, uri)

    def copy(self, uri: str, into: Path) -> Path:
        """Copies the files of a logged model into an empty folder, without MLflow's notes; nothing is written where they are.

        Returns:
            The folder with them, in `into`.

        Raises:
            DataError: they are gone, or cannot be reached.
        """
        with ExitStack() as held:
            files = self._downloaded(uri, held, into=into)
        (files / MLFLOWS_NOTES).unlink(missing_ok=True)
        return files

    def _downloaded(self, uri: str, held: ExitStack, *, into: Path | None = None) -> Path:
        """A local folder with a logged model, in `into` where it is given; another copy is taken away with what is held."""
        store.load()
        from mlflow.exceptions import MlflowException

        place = uri
        try:
            with self.reached(), store.current(self.url) as mlflow:
                kept = artifact_store.repository(uri, self.url)
                place = str(kept.artifact_uri)
                is_here = artifact_store.is_here(kept)
                if into is None and not is_here:
                    into = Path(held.enter_context(TemporaryDirectory(prefix=COPY)))
                folder = Path(
                    mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=None if into is None else str(into))
                )
        except (OSError, MlflowException) as error:
            raise _unreadable(uri, place, error) from error
        if into is not None and not any(
            each.is_file() for each in folder.rglob("*")
        ):  # a folder that is gone is empty there
            raise _unreadable(uri, place, "nothing is there")
        return folder

    def reached(self) -> AbstractContextManager[None]:
        """See ArtifactStore."""
        return self._store.reached()

    def aliases(self, model: str) -> dict[str, int]:
        """The aliases of a model's versions in MLflow's registry; empty for a model that it does not know."""
        if not self._client.search_registered_models(f"name = '{model}'"):
            return {}
        found = self._client.get_registered_model(model)  # a search leaves aliases out
        return {alias: int(version) for alias, version in found.aliases.items()}

    def set_alias(self, model: str, alias: str, version: int | None) -> None:
        """Points an alias at a version, or removes it."""
        if version is None:
            self._client.delete_registered_model_alias(model, alias)
        else:
            self._client.set_registered_model_alias(model, alias, str(version))

    def versions(self, model: str) -> list[LoggedVersion]:
        """The versions of a model that MLflow's registry has, oldest first."""
        found = self._client.search_model_versions(f"name = '{model}'")
        return sorted((_version(version) for version in found), key=lambda version: version.version)

    def register(
        self, model: str, *, key: str, uri: str, run_id: str, tags: Mapping[str, str], description: str = ""
    ) -> LoggedVersion:
        """Makes a version of a logged model, once for each key: called again it gives the same one.

        MLflow itself makes another version whenever it is asked, so the tag is looked up first. It takes any URI for a
        version, so what was logged is read back first.

        Raises:
            DataError: what was logged cannot be read from where it was written.
        """
        for version in self.versions(model):
            if version.key == key:
                return version
        self._check_readable(uri)
        self._registered(model)
        with store.current(self.url):  # MLflow looks a models:/ source up in the store of its fluent calls
            made = self._client.create_model_version(
                model,
                source=uri,
                run_id=run_id,
                tags={**tags, STEP: key},
                description=description or None,
                model_id=uri.removeprefix("models:/") if uri.startswith("models:/m-") else None,
            )
        return _version(made)

    def describe(self, model: str, *, description: str, tags: Mapping[str, str]) -> None:
        """Sets the description and tags of a registered model."""
        self._registered(model)
        self._client.update_registered_model(model, description=description)
        for name, value in tags.items():
            self._client.set_registered_model_tag(model, name, value)

    def tag_version(self, model: str, version: int, name: str, value: str) -> None:
        """Sets one tag of a version in MLflow's registry."""
        self._client.set_model_version_tag(model, str(version), name, value)

    def _registered(self, model: str) -> None:
        if not self._client.search_registered_models(f"name = '{model}'"):
            self._client.create_registered_model(model)

    def _check_readable(self, uri: str) -> None:
        """Lists what was logged, and reads what says what it is, as somebody would who loads it.

        Raises:
            DataError: it is not there, or a folder of a flavour is missing.
        """
        store.load()
        from mlflow.exceptions import MlflowException

        place = uri
        try:
            with self.reached(), store.current(self.url), TemporaryDirectory(prefix=COPY) as scratch:
                kept = artifact_store.repository(uri, self.url)
                place = str(kept.artifact_uri)
                there = {each.path.rpartition("/")[2] for each in kept.list_artifacts()}
                if MLMODEL not in there:
                    raise _unreadable(uri, place, f"there is no {MLMODEL} among {sorted(there)}")
                kept.download_artifacts(MLMODEL, dst_path=scratch)
                flavors = _described(Path(scratch))["flavors"].values()
        except (OSError, MlflowException, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise _unreadable(uri, place, error) from error
        needed = {str(flavor["data"]).partition("/")[0] for flavor in flavors if flavor.get("data")}
        if missing := sorted(needed - there):
            raise _unreadable(uri, place, f"{MLMODEL} names {missing[0]!r}, and there is {sorted(there)}")

    def _experiment(self, model: str) -> str:
        location = None if self._kept is None else f"{self._kept}/{model}"
        artifact_store.check_client(location or "")
        found = self._client.get_experiment_by_name(model)
        if found is None:
            return cast("str", self._client.create_experiment(model, artifact_location=location))
        there = _as_path(found.artifact_location)
        if location is not None and there != _as_path(location):
            self._move(found, location)
        return cast("str", found.experiment_id)

    def _move(self, experiment: Any, location: str) -> None:
        """New runs log where the environment keeps artifacts now, and not where it, or another process, once did.

        Raises:
            ConfigError: a server, or another environment, has a say.
        """
        there, name = credentials.shown(experiment.artifact_location), experiment.name
        if not store.is_database(self.url):
            raise ConfigError(
                f"artifacts = {self.artifacts!r}, but the server keeps those of experiment {name!r} at {there!r}.",
                hint="Take `artifacts` out of headrace.toml, or give the experiment on the server another name.",
            )
        if self._owner is not None and self._mark(self._client, self._owner).shared():
            raise ConfigError(
                f"artifacts = {self.artifacts!r}, but those of experiment {name!r} are at {there!r}, and another "
                "environment keeps its runs in the same database.",
                hint="Give each environment a database of its own: tracking = in headrace.toml.",
            )
        store.move_experiment(self._client, experiment.experiment_id, location)

    def _search(self, experiments: Sequence[str], where: str, *, limit: int = 1000) -> list[Any]:
        return list(self._client.search_runs(list(experiments), where, max_results=limit)) if experiments else []

    def _summary(self, run: Any) -> RunSummary:
        return RunSummary(
            id=run.info.run_id,
            model=self._client.get_experiment(run.info.experiment_id).name,
            key=run.data.tags.get(STEP, ""),
            status=cast("RunStatus", run.info.status),
            started=_instant(run.info.start_time),
            ended=None if run.info.end_time is None else _instant(run.info.end_time),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
        )


class TrackedRun:
    """A run to log on, as a context: FINISHED at its end, FAILED on an error, KILLED when it is interrupted.

    Inside, it is MLflow's active run, so that what a user's own `mlflow.log_…` writes lands here too.

    Attributes:
        id: MLflow's id of the run.
        done: it was finished before; nothing is left to log.
    """

    def __init__(self, tracking: Tracking, run_id: str, *, done: bool) -> None:
        self.id, self.done = run_id, done
        self._tracking = tracking
        self._stack = ExitStack()

    @property
    def _client(self) -> Any:
        return self._tracking._client  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def __enter__(self) -> Self:
        if not self.done:
            mlflow = self._stack.enter_context(store.current(self._tracking.url))
            mlflow.start_run(run_id=self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.done:
            return
        status = "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        with self._stack:
            if error is not None:
                self._client.set_tag(self.id, "headrace.error", f"{type(error).__name__}: {error}"[:5000])
            store.load().end_run(status)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs parameters; a value that was logged before stays."""
        from mlflow.entities import Param

        there = self._client.get_run(self.id).data.params
        new = [Param(str(name), str(value)) for name, value in params.items() if str(name) not in there]
        for start in range(0, len(new), BATCH):
            self._client.log_batch(self.id, params=new[start : start + BATCH])

    def log_metrics(self, metrics: Mapping[str, float | None], *, step: int = 0) -> None:
        """Logs numbers; a metric without a value is left out."""
        from mlflow.entities import Metric

        at = int(time.time() * 1000)
        known = [Metric(name, float(value), at, step) for name, value in metrics.items() if value is not None]
        self._client.log_batch(self.id, metrics=known)

    def log_dict(self, value: Mapping[str, Json] | Sequence[Json], path: str) -> None:
        """Logs JSON as an artifact."""
        with self._tracking.reached():
            self._client.log_dict(self.id, value, path)

    def log_text(self, text: str, path: str) -> None:
        """Logs a text as an artifact."""
        with self._tracking.reached():
            self._client.log_text(self.id, text, path)

    def log_inputs(self, datasets: Iterable[Dataset]) -> None:
        """Logs tables at their versions as MLflow's dataset inputs; once each, however often it is asked."""
        from mlflow import entities
        from mlflow.data.delta_dataset_source import DeltaDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        given: list[Any] = []
        for each in datasets:
            source = DeltaDatasetSource(path=each.path, delta_table_version=each.version)
            made = MetaDataset(source, name=each.name, digest=digest(each.content)[:8])
            tag = entities.InputTag(MLFLOW_DATASET_CONTEXT, each.context)
            kept: Any = entities.Dataset.from_dictionary(made.to_dict())
            given.append(entities.DatasetInput(kept, [tag]))
        if not self.done:
            self._client.log_inputs(self.id, datasets=given)

    def log_figure(self, figure: object, path: str) -> None:
        """Logs a matplotlib figure as an artifact."""
        with self._tracking.reached():
            self._client.log_figure(self.id, figure, path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        for name, value in tags.items():
            self._client.set_tag(self.id, name, value)

    @property
    def summary(self) -> RunSummary:
        """What the run holds so far."""
        return self._tracking.run(self.id)

    @property
    def model_uri(self) -> str | None:
        """Where the model is that was logged on this run; None when none was."""
        return self.summary.tags.get(MODEL_URI)

    def autologging(self) -> AbstractContextManager[None]:
        """What libraries tell while they fit inside lands on this run, which must have been entered."""
        return autologging()

    def log_model(
        self,
        folder: Path,
        *,
        loader: str,
        inputs: Sequence[SignatureColumn],
        outputs: Sequence[SignatureColumn],
        requirements: Sequence[str],
        example: object = None,
    ) -> str:
        """Logs a folder as a pyfunc model on this run, which must have been entered. Gives the model's URI.

        Args:
            folder: what the loader reads.
            loader: the module with `_load_pyfunc(path)`.
            inputs: the signature; columns of type `any` are optional.
            outputs: what it gives.
            requirements: for pip, pinned.
            example: some rows to keep beside the model.
        """
        signature = store.load("mlflow.models").ModelSignature(inputs=_schema(inputs), outputs=_schema(outputs))
        with self._tracking.reached(), store.requirements_uncompared(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*An input example was not provided")  # where there is none
            logged = store.load("mlflow.pyfunc").log_model(
                name="model",
                loader_module=loader,
                data_path=str(folder),
                signature=signature,
                pip_requirements=list(requirements),
                input_example=example,
            )
        self.set_tags({MODEL_URI: logged.model_uri})
        return cast("str", logged.model_uri)

    def log_copy(self, logged: Path) -> str:
        """Logs a copy of a logged model's folder, file by file as it is, on this run. Gives the copy's URI."""
        with self._tracking.reached():
            experiment = self._client.get_run(self.id).info.experiment_id
            made = self._client.create_logged_model(experiment, name="model", source_run_id=self.id)
            self._client.log_model_artifacts(made.model_id, str(logged))
            self._client.finalize_logged_model(made.model_id, "READY")
        uri = f"models:/{made.model_id}"
        self.set_tags({MODEL_URI: uri})
        return uri


def package_folder(logged: Path, uri: str) -> Path:
    """The folder that `TrackedRun.log_model` was given, in that of a logged model.

    Args:
        logged: the files of the logged model.
        uri: what it is called in messages.

    Raises:
        DataError: it holds no model that Headrace logged.
    """
    try:
        folder = logged / _described(logged)["flavors"]["python_function"]["data"]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise _unreadable(uri, str(logged), error) from error
    if not folder.is_dir():
        raise DataError(f"{uri} holds no model that Headrace logged: {str(folder)!r} is not there.")
    return folder


def _described(folder: Path) -> Any:
    """What the MLmodel file of a folder says. LibYAML, where it was compiled in, reads one in a tenth of the time."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((folder / MLMODEL).read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  # both are safe


def _unreadable(uri: str, place: str, reason: object) -> DataError:
    at = "" if place == uri else f" at {credentials.shown(place)}"
    return DataError(f"{uri} cannot be read{at}: {reason}", hint="Restore the artifacts from a backup, or train again.")


def _as_path(location: str) -> str:
    """A place of artifacts, written in one way."""
    return (
        unquote(location.removeprefix("file://")).rstrip("/") if location.startswith("file:") else location.rstrip("/")
    )


def _schema(columns: Sequence[SignatureColumn]) -> Any:
    from mlflow.types.schema import AnyType, ColSpec, Schema

    return Schema([ColSpec(AnyType() if each.type == "any" else each.type, each.name) for each in columns])


def _version(found: Any) -> LoggedVersion:
    return LoggedVersion(
        model=found.name,
        version=int(found.version),
        key=(found.tags or {}).get(STEP, ""),
        uri=found.source,
        run_id=found.run_id,
        tags=dict(found.tags or {}),
    )


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
