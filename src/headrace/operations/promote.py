"""Brings a version up from a lower environment, as it is: the deployment patterns `models` and `hybrid`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.chains.routes import changes
from headrace.core.errors import DataError, HeadraceError, NotFoundError, RefusedError, UnavailableError
from headrace.core.folders import folder_digest
from headrace.core.ownership import only_reading
from headrace.environments import ancestry
from headrace.operations import release_history
from headrace.operations.deployment_pattern import pattern_of
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_deployment, open_job, steps
from headrace.operations.left_running import close_left_running
from headrace.operations.operation import operation
from headrace.operations.train import chain_training
from headrace.pipelines.model_inputs import feature_plan
from headrace.pipelines.promote_model import promote_model as pipeline
from headrace.pipelines.promoted_version import PromotedVersion
from headrace.pipelines.train import Training
from headrace.training.training_set import FittedRows, fitted_rows
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.core.ids import Json
    from headrace.jobs.run import Run
    from headrace.operations.job import Announcer, Listener
    from headrace.registry.records import Version
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class PromotionReport(RunReport):
    """A version that came up.

    Attributes:
        model: its name.
        version: its number here.
        source: the environment from which it came, and its number there: `dev/3`.
        origin: the environment in which it was trained, and its number there.
        artifact_hash: of its package, the same in both.
        known: whether it was here before; then nothing was registered.
    """

    model: str
    version: int
    source: str
    origin: str
    artifact_hash: str
    known: bool


@operation("model promote", of="name", publishes_catalog=True)
def promote_model(
    workspace: Workspace,
    name: str | None = None,
    *,
    source: str | None = None,
    version: int | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> PromotionReport:
    """Copies a version of a lower environment into this one's registry, file by file, with stage None; its gates follow.

    It is measured on the held-out rows of the tables here. Its hashes, its parameters and what it was fitted on stay as they
    are, and where it was trained is kept with it. Nothing is written there.

    Args:
        workspace: the environment that it comes into.
        name: the model; may be left out when there is only one that has a deployment.
        source: the environment from which it comes; None: the one just below.
        version: its number there; None: the one in Production there.
        listen: called with each step that ends.
        begin: called once before the first step.

    Returns:
        Its number here. What was promoted before is not registered again.

    Raises:
        RefusedError: the deployment's pattern is `code`; there is no environment below; the version was made by code that may
            not run here, or takes other features than the code here declares.
        NotFoundError: no such environment or version.
        DataError: what is logged there is not what was registered.
    """
    deployment = one_deployment(workspace.project, name)
    model = deployment.model
    release_history.check_newest(workspace, to=f"promote {model.name}")
    _check_pattern(workspace, model)
    below = source_of(workspace, source)
    announce(workspace, begin)
    with TemporaryDirectory(prefix="headrace-promotion-") as scratch:
        promoted, known = _taken(workspace, model, below, version, Path(scratch))
        params: dict[str, Json] = {
            "as_of": as_of_text(workspace, None),
            "from": promoted.name,
            "artifact": promoted.version.artifact_hash,
        }
        with open_job(workspace, f"promote {model.name}", params, listen) as run:
            close_left_running(workspace)
            number = known.version if known else pipeline(_training(workspace, run, model, promoted), promoted)
    return PromotionReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        model=model.name,
        version=number,
        source=promoted.name,
        origin=promoted.origin["origin"],
        artifact_hash=promoted.version.artifact_hash,
        known=known is not None,
    )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The version that would come up now.

    Attributes:
        name: the environment below, and its number there: `dev/3`.
        refused: why it cannot come up; empty where it can.
        known: whether it is here already.
    """

    name: str
    refused: str
    known: bool = False


def candidate_below(workspace: Workspace, model: str) -> Candidate:
    """The version in Production in the environment below, and whether it would come up now; nothing is done.

    Raises:
        RefusedError: there is no environment below.
    """
    below = source_of(workspace)
    try:
        with _opened(workspace, below) as lower:
            version = _chosen(lower, model, None)
    except (HeadraceError, SQLAlchemyError) as error:
        return Candidate(name=below, refused=error.what if isinstance(error, HeadraceError) else type(error).__name__)
    name = f"{below}/{version.version}"
    try:
        _check_code(workspace, name, version)
    except RefusedError as error:
        return Candidate(name=name, refused=error.what)
    return Candidate(name=name, refused="", known=_here(workspace, version) is not None)


def source_of(workspace: Workspace, name: str | None = None) -> str:
    """The lower environment of that name; without one the one just below.

    Raises:
        RefusedError: there is none below, or it is not below.
        NotFoundError: there is no such environment.
    """
    order, own = workspace.ruling.policy.order, workspace.configured.name
    below = order[: order.index(own)]
    if name is not None and name not in order:
        raise NotFoundError("environment", name, order)
    if not below:
        raise RefusedError(f"{own} is the lowest environment: nothing comes up to it.", hint="headrace run train")
    if name is not None and name not in below:
        raise RefusedError(f"{name} is not below {own}: versions come up only.", hint=f"--from {below[-1]}")
    return name or below[-1]


def _taken(
    workspace: Workspace, model: Model, below: str, version: int | None, into: Path
) -> tuple[PromotedVersion, Version | None]:
    """What is promoted, taken out of the environment below, and the version that it is here already; None where it is not.

    The environment below is closed again before anything is done here: no call, no mark and no run goes there.
    """
    with _opened(workspace, below) as lower:
        chosen = _chosen(lower, model.name, version)
        name = f"{below}/{chosen.version}"
        _check_code(workspace, name, chosen)
        known = _here(workspace, chosen)
        files = into
        if known is None:
            files = lower.tracking.copy(chosen.model_uri, into)
            found = folder_digest(files)
            if found != chosen.logged_hash:
                raise DataError(
                    f"the artifact of {model.name} in {name} changed after it was registered: {found} is not {chosen.logged_hash}.",
                    hint="It is not promoted. Restore the files from a backup, or train again.",
                )
    promoted = PromotedVersion(environment=below, version=chosen, files=files, fitted=None)
    if known is None and model.predict is None and chosen.imported is None:
        promoted = replace(promoted, fitted=_fitted(workspace, model, promoted))
    return promoted, known


def _fitted(workspace: Workspace, model: Model, promoted: PromotedVersion) -> FittedRows:
    """The decisions that a version was fitted on, which must not test it here."""
    if model.split.by_time:
        return FittedRows(until=promoted.version.fitted[1])
    environment, _, number = promoted.origin["origin"].partition("/")
    with _opened(workspace, environment) as origin:
        trained = origin.registry.get(model.name, int(number))
        plan = feature_plan(workspace.project, workspace.lakehouse, model)
        return FittedRows(keys=fitted_rows(origin.lakehouse, model, plan, trained.training_set))


@contextmanager
def _opened(workspace: Workspace, environment: str) -> Generator[Workspace]:
    """Another environment of the same project, to read from."""
    with only_reading(), open_workspace(environment, folder=workspace.config.folder) as lower:
        yield lower


def _here(workspace: Workspace, version: Version) -> Version | None:
    """The version of this registry that is the same files, whole, and was evaluated with the language models of now."""
    if version.model not in workspace.registry.models():
        return None
    for each in workspace.registry.versions(version.model):
        if each.logged_hash == version.logged_hash and _stands(workspace, each):
            return each
    return None


def _stands(workspace: Workspace, version: Version) -> bool:
    try:
        whole = workspace.tracking.digest(version.model_uri) == version.logged_hash
    except UnavailableError:
        raise
    except DataError:
        return False
    return whole and not (version.routes and changes(version.routes, workspace.gateway))


def _check_code(workspace: Workspace, name: str, version: Version) -> None:
    """Refuses a version that was made by code that may not run here: its package carries some of it.

    Raises:
        RefusedError: by uncommitted code or, where only releases run, by code that the release does not contain.
    """
    environment, folder, made_by = workspace.environment, workspace.config.folder, version.code
    if environment.code == "any":
        return
    told = f"{version.model} of {name} was made by"
    if not ancestry.is_commit(folder, made_by):
        lowest = workspace.ruling.policy.order[0]
        raise RefusedError(
            f"{told} code that is in no commit of this repository, and {environment.name} runs committed code only.",
            hint=f"Commit it, then headrace run train --env {lowest}. Where it was committed elsewhere: git fetch.",
        )
    running = workspace.code.commit
    if environment.code == "release" and (running is None or not ancestry.contains(folder, running, made_by)):
        raise RefusedError(
            f"{told} {made_by[:8]}, which is not a part of {workspace.code}, and {environment.name} runs releases only.",
            hint="Release the code that it was made by, or train it again by code that is released.",
        )


def _check_pattern(workspace: Workspace, model: Model) -> None:
    if pattern_of(workspace, model.name) == "code":
        raise RefusedError(
            f"{model.name} is deployed as code: {workspace.configured.name} trains its own versions.",
            hint="headrace run train. To bring versions up instead: hr.Deployment(…, pattern='models').",
        )


def _chosen(lower: Workspace, model: str, version: int | None) -> Version:
    name = lower.configured.name
    if version is not None:
        chosen = lower.registry.get(model, version)
        if chosen.stage == "Archived":
            raise RefusedError(
                f"{model} of {name}/{version} is archived there: {lower.registry.history(model, version)[-1].reason}",
                hint=f"headrace run deploy --model {model} --version {version} --env {name} takes it through its gates again.",
            )
        return chosen
    found = lower.registry.current(model, "Production")
    if found is None:
        known = (
            [str(each.version) for each in lower.registry.versions(model)] if model in lower.registry.models() else []
        )
        raise NotFoundError(
            f"version in Production of {model} in",
            name,
            None,
            hint=f"headrace run deploy --env {name} brings one there; --version takes another: {', '.join(known) or 'there is none'}.",
        )
    return found


def _training(workspace: Workspace, run: Run, model: Model, promoted: PromotedVersion) -> Training:
    if model.predict is not None:
        return chain_training(workspace, run, model, promoted=promoted)
    return Training(
        workspace.project,
        workspace.lakehouse,
        workspace.tracking,
        workspace.registry,
        run,
        model,
        moment(run),
        workspace.access.me().name,
        sample=workspace.environment.sample,
        promoted=promoted,
    )
