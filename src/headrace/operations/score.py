"""Scores decisions in batch."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core import credentials
from headrace.core.errors import ConfigError, DeclarationError
from headrace.inference.declarations import Database, Files
from headrace.lakehouse.declarations import check_name
from headrace.operations import scoring_rules
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_deployment, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.relation import sources_of
from headrace.pipelines import score as pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.inference.declarations import Into
    from headrace.inference.progress import Progress
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ScoreReport(RunReport):
    """What a scoring did.

    Attributes:
        folders: folder of files → their format, where predictions went into files that were named.
    """

    folders: dict[str, str]


@operation("run score", of="name")
def score(
    workspace: Workspace,
    name: str | None = None,
    *,
    version: int | Literal["then"] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
    query: str | None = None,
    latest: bool = False,
    into: tuple[Into, ...] | None = None,
    processes: int | None = None,
    engine: Literal["local", "spark"] = "local",
    as_of: datetime | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> ScoreReport:
    """Runs the scoring pipeline of one model.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        version: its version; `"then"`: the one that was in Production at each decision's moment; the one in Production
            unless said, or, where no gates hold, the newest while none is.
        since: first moment to score; default: the version's training moment.
        until: first moment that is left out; default: `as_of`.
        source: a table or a file with rows to score instead of the spine.
        query: a SELECT that gives them.
        latest: features as of now instead of each decision's own moment.
        into: where predictions go; default: as declared.
        processes: that predict; default: as declared.
        engine: what predicts.
        as_of: labels known by then count; default: the project's, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.
        progress: called now and then with how far it is.
    """
    if version is not None and version != "then":
        version = _number(version)
    if source is not None and query is not None:
        raise ConfigError("a source and a query both say which rows to score: give one.")
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"since {since:%Y-%m-%dT%H:%M} is not before until {until:%Y-%m-%dT%H:%M}.")
    project = workspace.project
    deployment = one_deployment(project, name)
    gated = scoring_rules.check(
        workspace, deployment, version=version, into=into, given=source is not None or query is not None
    )
    asked = pipeline.ScoringRequest(
        version=version,
        production=gated,
        since=since,
        until=until,
        source=source,
        query=query,
        latest=latest,
        into=into,
        processes=processes,
        engine=engine,
        like=sources_of(workspace, deployment.model.decisions.table.name) if source is not None else (),
    )
    params: dict[str, Json] = {
        "version": version,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "as_of": as_of_text(workspace, as_of),
    }
    job = f"score {deployment.name}"
    if not asked.of_spine:
        job = f"{job} from {'a query' if query else source or 'now'}"
        params |= {"source": source, "query": query, "latest": latest}
    if into is not None:
        params["into"] = [str(each) for each in into]
    announce(workspace, begin)
    with open_job(workspace, job, params, listen) as run:
        pipeline.score(
            workspace.lakehouse,
            workspace.tracking,
            workspace.registry,
            run,
            deployment,
            asked,
            environment=workspace.environment,
            as_of=moment(run),
            progress=progress,
        )
    folders = {each.path: each.format for each in into or () if isinstance(each, Files)}
    return ScoreReport(run=run.id, env=workspace.environment.name, steps=steps(workspace, run.id), folders=folders)


@operation("run score", of="name", reads=True)
def plan_score(workspace: Workspace, name: str | None = None) -> list[PlannedStep]:
    """What a scoring would do, a row a step."""
    return pipeline.outline(one_deployment(workspace.project, name))


def _number(version: object) -> int:
    """A version as a whole number: what is no such number has no right of its own, and so none at all.

    Raises:
        ConfigError: it is none.
    """
    try:
        number = operator.index(version)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = 0
    if isinstance(version, bool) or number < 1:
        raise ConfigError(f"{version!r} is not a version.", hint="Write its number, or then.")
    return number


def destination(text: str) -> Into:
    """Where predictions go, as it is written: `schema.table`, `parquet:FOLDER`, `csv:FOLDER` or `NAME:TABLE` of a database.

    Raises:
        DeclarationError: it is none of them, or holds a credential.
    """
    if credentials.is_in(text):
        raise DeclarationError(
            "--into holds a credential, which is not repeated.",
            hint="NAME:TABLE, with the URL of the database NAME in headrace.toml: [env.prod.databases].",
        )
    kind, colon, rest = text.partition(":")
    if not colon:
        return check_name(text)
    if kind in ("parquet", "csv"):
        local = rest and "://" not in rest
        return Files(os.path.abspath(rest) if local else rest, format=kind)  # noqa: PTH100  # without ..
    return Database(kind, table=rest)
