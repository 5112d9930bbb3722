"""A pipeline as a job: opened for an environment, at its moment, for one model; and the result of its run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.clock import instant, now
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.deployment.declarations import Deployment
from headrace.jobs.run import StepOutcome
from headrace.jobs.step_output import StepOutput
from headrace.lakehouse.declarations import Source, Table
from headrace.operations import release_history
from headrace.operations.in_use import at_work
from headrace.operations.record import Record
from headrace.training.declarations import Model
from headrace.workspace import runtime

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.jobs.run import Run
    from headrace.workspace.workspace import Workspace

Listener = Callable[[StepOutcome[Any]], None]
Announcer = Callable[["Announcement"], None]


@dataclass(frozen=True, kw_only=True)
class Announcement(Record):
    """What begins.

    Attributes:
        env: the environment.
        code: that runs.
        uncommitted: whether the working tree has changes that do not run here.
        steps: how many steps it will have; None where that is not known before.
    """

    env: str
    code: str
    uncommitted: bool
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepReport(Record):
    """A step of a run.

    Attributes:
        name: of the step.
        status: `done`, `failed`, `running` or `interrupted`.
        output: what it left in the ledger; None where it has not ended.
        summary: the same in one line for people.
    """

    name: str
    status: str
    output: object
    summary: str | None


@dataclass(frozen=True, kw_only=True)
class RunReport(Record):
    """What a pipeline did.

    Attributes:
        run: the id of its run.
        env: the environment.
        steps: in the order in which they were begun.
    """

    run: str
    env: str
    steps: tuple[StepReport, ...]


@dataclass(frozen=True, kw_only=True)
class RunMoment(StepOutput):
    """The moment of a run that was asked for none.

    Attributes:
        as_of: the present when the run began, ISO 8601.
    """

    as_of: str

    def summary(self) -> str:
        """The moment."""
        return f"{instant(self.as_of):%Y-%m-%d %H:%M:%S} UTC"


def steps(workspace: Workspace, run: str) -> tuple[StepReport, ...]:
    """The steps of a run, in the order in which they were begun."""
    return tuple(
        StepReport(name=each.name, status=each.status, output=each.output, summary=each.summary)
        for each in workspace.ledger.steps(run)
    )


def report(workspace: Workspace, run: Run) -> RunReport:
    """What a run did."""
    return RunReport(run=run.id, env=workspace.environment.name, steps=steps(workspace, run.id))


def announce(workspace: Workspace, to: Announcer | None, *, steps: int | None = None) -> None:
    """Says what begins, before anything is done."""
    if to is not None:
        code = workspace.code
        to(
            Announcement(
                env=workspace.environment.name,
                code=str(code),
                uncommitted=code.dirty and code.kind != "worktree",
                steps=steps,
            )
        )


@contextmanager
def open_job(workspace: Workspace, job: str, params: dict[str, Json], listen: Listener | None) -> Generator[Run]:
    """Opens a run of a job, or takes over one that was cut off; nothing of the environment is taken away meanwhile."""
    with at_work(workspace), begin_job(workspace, job, params, listen) as run:
        yield run


def begin_job(workspace: Workspace, job: str, params: dict[str, Json], listen: Listener | None) -> Run:
    """The same for whoever has the environment alone."""
    code = workspace.code
    workspace.check_runtime()
    release_history.check(workspace)
    runtime.remember(workspace.state)
    run = workspace.ledger.open(job, params, code=str(code), by=workspace.access.me().name)
    if listen:
        run.listen(listen)
    return run


def moment(run: Run) -> datetime:
    """The run's moment: as asked for, otherwise the present when the run began, kept when it is taken over."""
    asked = run.params.get("as_of")
    if asked:
        return instant(str(asked))
    kept = run.step("moment", {"run": run.id}, lambda _: RunMoment(as_of=now().isoformat()), output=RunMoment)
    return instant(kept.output.as_of)


def one_model(project: Project, name: str | None) -> Model:
    """The model of that name, or the only one."""
    _check_name(name)
    models = project.all(Model)
    if name is None and len(models) == 1:
        return models[0]
    if name is None:
        raise _which("model", [model.name for model in models])
    return project.find(Model, name)


def one_deployment(project: Project, name: str | None) -> Deployment:
    """The deployment of the model of that name, or the only one."""
    _check_name(name)
    deployments = {deployment.name: deployment for deployment in project.all(Deployment)}
    if name is None and len(deployments) != 1:
        raise _which("deployment", list(deployments))
    name = name or next(iter(deployments))
    if name not in deployments:
        raise NotFoundError(
            "deployment", name, deployments, hint="Declare one: hr.Deployment(model, score=hr.Score(into=…))."
        )
    declared = {each.name: each for each in (*project.all(Source), *project.all(Table))}
    for into in deployments[name].score.tables:
        if into not in declared:
            continue
        raise DeclarationError(
            f"{deployments[name].where}: predictions of {name!r} would go into {into!r}, which is declared as a table.",
            findings=[str(declared[into].where)],
            hint="Give score=hr.Score(into=…) a name of its own.",
        )
    return deployments[name]


def _which(kind: str, names: list[str]) -> DeclarationError:
    if not names:
        example = "hr.Model(…)" if kind == "model" else "hr.Deployment(model, score=hr.Score(into=…))"
        return DeclarationError(f"the project declares no {kind}.", hint=f"Declare one: {example}.")
    return DeclarationError(
        f"the project has {len(names)} models: which one?", hint=f"Add --model {' or --model '.join(names)}."
    )


def _check_name(name: object) -> None:
    """Whether it is a name at all: in a notebook, a model itself is at hand as well.

    Raises:
        DeclarationError: it is none.
    """
    if name is not None and not isinstance(name, str):
        known = getattr(name, "name", None)
        example = known if isinstance(known, str) else "arrival_delay"
        raise DeclarationError(
            f"{type(name).__name__} is no name of a model.",
            hint=f"Write its name, {example!r}: runs take models from the project's code.",
        )


def present(workspace: Workspace, given: datetime | None) -> datetime:
    """The moment that a question is for: what was asked for, the project's, or the present."""
    return given or workspace.project.as_of or now()


def as_of_text(workspace: Workspace, given: datetime | None) -> str | None:
    """The moment that a run is for: what was asked for, or the project's; None for the present."""
    known = given or workspace.project.as_of
    return known.isoformat() if known else None
