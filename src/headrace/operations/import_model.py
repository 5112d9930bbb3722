"""Imports a model that was fitted elsewhere: read, held against the declared model, evaluated, a version in the registry."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import credentials
from headrace.core.errors import DataError, UnavailableError
from headrace.deployment.declarations import Deployment
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_model, open_job, steps
from headrace.operations.left_running import close_left_running
from headrace.operations.operation import operation
from headrace.pipelines import import_model as pipeline
from headrace.pipelines.model_inputs import feature_plan
from headrace.tracking.foreign import foreign
from headrace.training import imported as reading
from headrace.training.imported import Checked, ImportedModel

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.core.ids import Json
    from headrace.jobs.run import Run
    from headrace.operations.job import Announcer, Listener
    from headrace.registry.records import Version
    from headrace.tracking.tracking import Tracking
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace

SCHEMES = ("models:/", "runs:/")


@dataclass(frozen=True, kw_only=True)
class ImportReport(RunReport):
    """What an import did.

    Attributes:
        model: its name.
        version: that was registered, or that had been registered of the same files before.
        source: where it came from.
        digest: of what was read there.
        checked: whether its inputs were compared with the model's features by name and order (`names`), by their number
            (`number`), or not at all, because it says neither (`nothing`).
        known: whether it had been imported before; then nothing was registered.
        deployed: whether the project says how the model is deployed.
    """

    model: str
    version: int
    source: str
    digest: str
    checked: Checked
    known: bool
    deployed: bool


@operation("model import", of="name", publishes_catalog=True)
def import_model(
    workspace: Workspace,
    name: str,
    source: object,
    *,
    tracking_uri: str | None = None,
    force: bool = False,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> ImportReport:
    """Makes a version, with stage None, of a model that was fitted elsewhere.

    A pickle, and an MLflow model of most flavours, is code: reading it runs it with the rights of whoever calls this.

    Args:
        workspace: where.
        name: the model, as the project declares it.
        source: `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/ID/PATH`; the path of a folder with an `MLmodel` file,
            of a `.joblib` or `.pkl` file, or of an `.onnx` file; or a fitted estimator.
        tracking_uri: the MLflow store that knows a `models:/` or `runs:/` source; None: the environment's own.
        force: take an estimator that was pickled by another version of scikit-learn.
        listen: called with each step that ends.
        begin: called once before the first step.

    Returns:
        The number of the version, and where it came from. What was imported before, by the same code of the project, is not
        registered again.

    Raises:
        NotFoundError: there is no such model, file, folder or store.
        DataError: what is there is no model, cannot be read, or needs what is not installed here.
        DeclarationError: it takes other features than the model has, in another order, or predicts something else.
        UserCodeError: it has no `predict`, is not fitted, or would not predict elsewhere.
    """
    model = one_model(workspace.project, name)
    announce(workspace, begin)
    given = _asked(source)
    asked: dict[str, Json] = {"as_of": as_of_text(workspace, None), "source": given.source, "force": force}
    if tracking_uri is not None:
        asked["tracking_uri"] = credentials.shown(tracking_uri)
    if isinstance(given, ImportedModel):
        asked["digest"] = given.digest
    with open_job(workspace, f"import {model.name}", asked, listen) as run:
        close_left_running(workspace)
        imported = given if isinstance(given, ImportedModel) else _read(workspace, given, tracking_uri, force=force)
        plan = feature_plan(workspace.project, workspace.lakehouse, model)
        checked = reading.check(imported, model, plan)
        before = _before(workspace, model, imported)
        version = before.version if before else _register(workspace, run, model, imported)
    return ImportReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        model=model.name,
        version=version,
        source=imported.source,
        digest=imported.digest,
        checked=checked,
        known=before is not None,
        deployed=any(each.name == model.name for each in workspace.project.all(Deployment)),
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a model is."""

    source: str


def _asked(source: object) -> ImportedModel | _Place:
    """A place that was named, or an estimator.

    Raises:
        DataError: a URI of another kind.
    """
    if not isinstance(source, str | Path):
        return reading.of_object(source)
    text = str(source)
    if "://" in text or (text.startswith(("file:", "mlflow-artifacts:")) and not Path(text).exists()):
        raise DataError(
            f"{credentials.shown(text)} is no source of a model.",
            hint=f"Download it first: SOURCE is {reading.POSSIBLE}.",
        )
    return _Place(source=text)


def _read(workspace: Workspace, place: _Place, tracking_uri: str | None, *, force: bool) -> ImportedModel:
    source = place.source
    if not source.startswith(SCHEMES):
        if tracking_uri is not None:
            raise DataError(
                f"{source} is a path, which no MLflow store is asked for.",
                hint="Leave --tracking-uri out, or name models:/… or runs:/….",
            )
        return reading.read(Path(source), source=source, force=force)
    if tracking_uri is None:
        workspace.tracking.runs(limit=1)  # MLflow's tables are made by one process alone, where there are none
        with _downloaded(workspace.tracking, source, "the environment's MLflow store") as folder:
            return reading.read(folder, source=source, force=force)
    shown = credentials.shown(tracking_uri)
    with foreign(tracking_uri) as tracking, _downloaded(tracking, source, shown) as folder:
        return reading.read(folder, source=f"{source} of {shown}", force=force)


@contextmanager
def _downloaded(tracking: Tracking, uri: str, where: str) -> Generator[Path]:
    with ExitStack() as held:
        try:
            folder = held.enter_context(tracking.download(uri))
        except UnavailableError:
            raise
        except DataError as error:
            raise DataError(
                f"{where}: {error.what}",
                hint="Write models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH; --tracking-uri names another store.",
            ) from error
        yield folder


def _before(workspace: Workspace, model: Model, imported: ImportedModel) -> Version | None:
    """The version that was made of the same files by the same code."""
    registry, code = workspace.registry, workspace.project.code
    if model.name not in registry.models():
        return None
    same = (
        each
        for each in registry.versions(model.name)
        if each.imported is not None
        and each.stage != "Archived"
        and each.imported["digest"] == imported.digest
        and each.code == code.identity
    )
    return next(same, None)


def _register(workspace: Workspace, run: Run, model: Model, imported: ImportedModel) -> int:
    return pipeline.import_model(
        workspace.project,
        workspace.lakehouse,
        workspace.tracking,
        workspace.registry,
        run,
        model,
        imported,
        as_of=moment(run),
        by=workspace.access.me().name,
        sample=workspace.environment.sample,
    )
