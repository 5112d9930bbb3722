"""Starts a pipeline as a job, with the boxes of a workspace: what the CLI, the demo and a scheduler call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.access.rights import roles
from headrace.core.clock import instant, now
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.deployment.declarations import Deployment
from headrace.deployment.retraining import RetrainDecision
from headrace.lakehouse.declarations import Source, Table
from headrace.operations import releases
from headrace.operations.in_use import at_work
from headrace.operations.left_running import close_left_running
from headrace.scoring.columns import check_predictions
from headrace.training.declarations import Model, Params

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.inference.declarations import Into
    from headrace.inference.progress import Progress
    from headrace.jobs.run import Run, StepContext, StepOutcome
    from headrace.lakehouse.declarations import Source as FileSource
    from headrace.monitoring.alerts import Alert
    from headrace.pipelines.deploy import DeploymentResult
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

Listener = Callable[["StepOutcome"], None]


def refresh(workspace: Workspace, *, listen: Listener | None = None) -> Run:
    """Runs the refresh pipeline."""
    from headrace.pipelines import refresh as pipeline

    project = workspace.project
    with open_job(workspace, "refresh", {}, listen) as run:
        pipeline.refresh(project, workspace.lakehouse, run, folder=workspace.config.folder)
    return run


def train(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    params: Params | None = None,
    alert: int | None = None,
    listen: Listener | None = None,
) -> Run:
    """Runs the training pipeline of one model.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one.
        as_of: the training moment: only decisions and labels up to it exist. The project's, or the present, unless said.
        params: to fit with; searched for unless given.
        alert: that asks for it: the version must help then.
        listen: told of each step.
    """
    from headrace.pipelines import train as pipeline

    model = one_model(workspace.project, name)
    asked: dict[str, Json] = {"as_of": _text(workspace, as_of)}
    if params is not None:
        asked["params"] = dict(params)
    if alert is not None:
        asked["alert"] = alert
    with open_job(workspace, f"train {model.name}", asked, listen) as run:
        close_left_running(workspace)
        pipeline.train(
            workspace.project,
            workspace.lakehouse,
            workspace.tracking,
            workspace.registry,
            run,
            model,
            as_of=moment(run),
            by=workspace.access.me().name,
            params=params,
            alert=alert,
            sample=workspace.environment.sample,
        )
    return run


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
    progress: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Runs the scoring pipeline of one model.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        version: its version; `"then"`: the one that was in Production at each decision's moment; the one in Production
            unless said, or, where no gates hold, the newest while none is.
        since: first moment to score; the version's training moment unless said.
        until: first moment that is left out; `as_of` unless said.
        source: a table or a file with rows to score instead of the spine.
        query: a SELECT that gives them.
        latest: features as of now instead of each decision's own moment.
        into: where predictions go; as declared unless said.
        processes: that predict; as declared unless said.
        engine: what predicts.
        as_of: labels known by then count; the project's, or the present, unless said.
        listen: told of each step.
        progress: told now and then how far it is.
    """
    from headrace.operations import scoring_rules as scoring
    from headrace.pipelines import score as pipeline

    project = workspace.project
    deployment = one_deployment(project, name)
    gated = scoring.check(
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
        like=_spine_sources(workspace, deployment) if source is not None else (),
    )
    params: dict[str, Json] = {
        "version": version,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "as_of": _text(workspace, as_of),
    }
    job = f"score {deployment.name}"
    if not asked.of_spine:
        job = f"{job} from {'a query' if query else source or 'now'}"
        params |= {"source": source, "query": query, "latest": latest}
    if into is not None:
        params["into"] = [str(each) for each in into]
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
    return run


def _spine_sources(workspace: Workspace, deployment: Deployment) -> tuple[FileSource, ...]:
    """The sources of files that a model's spine comes from, as they are declared now."""
    from headrace.lakehouse import graph
    from headrace.lakehouse.declarations import Source, Table

    project = workspace.project
    spine = deployment.model.spine.table.name
    elsewhere = [name.name for name in workspace.lakehouse.names()]
    found = graph.sources([*project.all(Source), *project.all(Table)], spine, elsewhere=elsewhere)
    return tuple(each for each in found if each.files)


def publish(workspace: Workspace, *, as_of: datetime | None = None, listen: Listener | None = None) -> Run:
    """Publishes the feature tables that are declared online.

    Args:
        workspace: the environment.
        as_of: only rows that had become available by then; the project's moment, or the present, unless said.
        listen: told of each step.
    """
    from headrace.pipelines import publish as pipeline

    tables = pipeline.online_tables(workspace.project)
    with open_job(workspace, "publish", {"as_of": _text(workspace, as_of)}, listen) as run:
        pipeline.publish(workspace.lakehouse, workspace.online, run, tables, as_of=moment(run))
    return run


def import_logs(
    workspace: Workspace, name: str | None, places: Sequence[Path], *, listen: Listener | None = None
) -> Run:
    """Takes over what servers here have answered, and then what is in these folders and files.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        places: spools of other machines, files of records.
        listen: told of each step.
    """
    from headrace.access.audit import record
    from headrace.pipelines import log as pipeline

    deployment = one_deployment(workspace.project, name)
    me = workspace.access.me()
    if places:
        me.require(*roles("run ingest-log PLACES"), to=f"import logs of {deployment.name}")

    def tell(place: Path, content: pipeline.LogContent) -> None:
        details: dict[str, Json] = {"place": str(place), **asdict(content)}
        with workspace.state.begin() as connection:
            record(connection, me.name, "log.imported", deployment.name, details)

    asked: dict[str, Json] = {"places": [str(place) for place in places]}
    with open_job(workspace, f"log {deployment.name}", asked, listen) as run:
        spool = workspace.environment.root / "spool" / deployment.name
        pipeline.collect_log(workspace.lakehouse, run, deployment.name, spool)
        pipeline.import_logs(workspace.lakehouse, run, deployment.name, places, tell=tell)
    return run


def backtest(
    workspace: Workspace,
    name: str | None = None,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime | None = None,
    listen: Listener | None = None,
) -> Run:
    """Retrains for each month between two moments, with the parameters of the version in Production or the newest one.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one.
        since: beginning of the first month.
        until: the first moment that is left out.
        as_of: labels known by then judge; the project's, or the present, unless said.
        listen: told of each step.
    """
    from headrace.pipelines import backtest as pipeline

    model = one_model(workspace.project, name)
    registry = workspace.registry
    version = registry.current(model.name, "Production") or registry.versions(model.name)[-1]
    asked: dict[str, Json] = {
        "as_of": _text(workspace, as_of),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "params": dict(version.params),
    }
    with open_job(workspace, f"backtest {model.name}", asked, listen) as run:
        pipeline.backtest(
            workspace.project,
            workspace.lakehouse,
            run,
            model,
            version.params,
            since=since,
            until=until,
            as_of=moment(run),
        )
    return run


def deploy(
    workspace: Workspace,
    name: str | None = None,
    *,
    version: int | None = None,
    as_of: datetime | None = None,
    revive: bool = False,
    listen: Listener | None = None,
) -> tuple[Run, DeploymentResult]:
    """Runs the deployment pipeline of one model.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        version: its version; the newest that is not archived unless said.
        as_of: labels known by then count; the project's, or the present, unless said.
        revive: whether a version that was archived begins again at the first gate.
        listen: told of each step.
    """
    deployment = one_deployment(workspace.project, name)
    me = workspace.access.me()
    me.require(*roles("run deploy"), to=f"deploy {deployment.name}")
    releases.check_newest(workspace, to=f"deploy {deployment.name}")
    return _deploy(workspace, deployment, version=version, as_of=as_of, revive=revive, listen=listen)


def _deploy(
    workspace: Workspace,
    deployment: Deployment,
    *,
    version: int | None,
    as_of: datetime | None,
    revive: bool = False,
    listen: Listener | None,
) -> tuple[Run, DeploymentResult]:
    """The same for whoever has the right to what this is a part of."""
    from headrace.operations import policies
    from headrace.operations.sync import follow, tell
    from headrace.pipelines import deploy as pipeline

    me = workspace.access.me()
    pipeline.candidate(workspace.registry, deployment.name, version)  # a version that is not there is no failed run
    params: dict[str, Json] = {"version": version, "as_of": _text(workspace, as_of)}
    with open_job(workspace, f"deploy {deployment.name}", params, listen) as run:
        delivered = pipeline.deploy(
            workspace.lakehouse,
            workspace.tracking,
            workspace.registry,
            run,
            deployment,
            version=version,
            as_of=moment(run),
            home=workspace.home(deployment.name),
            by=me.name,
            policy=policies.declare(workspace, deployment, by=me.name),
            hands=me.hands,
            revive=revive,
            follow=lambda: follow(workspace),
        )
    tell(workspace)
    return run, delivered


def monitor(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    listen: Listener | None = None,
) -> tuple[Run, list[Alert]]:
    """Runs the monitoring pipeline of one model, on every version that has predicted; gives the alerts that hold.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        as_of: nothing later exists; the project's moment, or the present, unless said.
        listen: told of each step.
    """
    from headrace.operations.sync import follow, tell
    from headrace.pipelines import monitor as pipeline

    deployment = one_deployment(workspace.project, name)
    versions = _predicted(workspace, deployment)
    with open_job(workspace, f"monitor {deployment.name}", {"as_of": _text(workspace, as_of)}, listen) as run:
        holding = pipeline.monitor(
            workspace.lakehouse,
            workspace.alerts,
            run,
            deployment,
            versions,
            spool=workspace.environment.root / "spool" / deployment.name,
            home=workspace.home(deployment.name),
            as_of=moment(run),
        )
    follow(workspace)
    tell(workspace)
    return run, holding


def retrain(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    force: bool = False,
    listen: Listener | None = None,
) -> tuple[RetrainDecision, DeploymentResult | None]:
    """Trains again when something asks for it and no guard stands in the way, then goes through the same gates.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        as_of: the training moment; the project's, or the present, unless said.
        force: a person asks: no alert is needed, cool-down and giving up do not bind.
        listen: told of each step.

    Returns:
        What the guards say, and how far the new version came; None when it was not trained.
    """
    from headrace.deployment.declarations import Retrain
    from headrace.pipelines.deploy import DeploymentResult

    deployment = one_deployment(workspace.project, name)
    me = workspace.access.me()
    me.require(*roles("run retrain --force" if force else "run retrain"), to=f"train {deployment.name} again")
    releases.check_newest(workspace, to=f"train {deployment.name} again")
    declared = deployment.retrain or Retrain()
    registry, model = workspace.registry, deployment.model
    asked: dict[str, Json] = {"as_of": _text(workspace, as_of), "force": force}
    with open_job(workspace, f"retrain {model.name}", asked, None) as run:
        at = moment(run)
        key: dict[str, Json] = {"run": run.id}

        def guard(step: StepContext) -> dict[str, Json]:
            found = decide_retraining(workspace, deployment, as_of=at, force=force)
            for line in found.against:
                step.log(line)
            current = registry.current(model.name, "Production")
            says = found.because if found.allowed else "; ".join(found.against) or "nothing asks for it"
            return {
                "because": found.because,
                "against": list(found.against),
                "alert": found.alert,
                "params": None if declared.tune or current is None else dict(current.params),
                "says": says,
            }

        def again(_: StepContext) -> dict[str, Json]:
            number = train(
                workspace, model.name, as_of=at, params=guards["params"], alert=guards["alert"], listen=listen
            ).outputs(prefix="register")[0]["version"]
            return {"version": number, "says": f"version {number}"}

        def bring(_: StepContext) -> dict[str, Json]:
            found = _deploy(workspace, deployment, version=trained["version"], as_of=at, listen=listen)[1]
            return {**asdict(found), "says": f"version {found.version}: {found.ending}"}

        # the trainings and deployments are runs of their own, told by themselves
        outcome = run.step("guards", key, guard)
        guards = cast("dict[str, Any]", outcome.output)
        if listen:
            listen(outcome)
        verdict = RetrainDecision(because=guards["because"], against=tuple(guards["against"]), alert=guards["alert"])
        if not verdict.allowed:
            return verdict, None
        trained = cast("dict[str, Any]", run.step("train", key, again).output)
        came = cast("dict[str, Any]", run.step("deploy", key, bring).output)
    return verdict, DeploymentResult(
        version=came["version"],
        ending=came["ending"],
        request=came["request"],
        missing=tuple(came["missing"]),
        findings=tuple(came["findings"]),
    )


def decide_retraining(
    workspace: Workspace, deployment: Deployment, *, as_of: datetime, force: bool = False
) -> RetrainDecision:
    """What the guards of a training say now; nothing is done."""
    from headrace.deployment.declarations import Retrain
    from headrace.deployment.retraining import may_retrain

    registry, model = workspace.registry, deployment.name
    return may_retrain(
        deployment.retrain or Retrain(),
        alerts=workspace.alerts.active(model),
        versions=registry.versions(model) if model in registry.models() else [],
        history=registry.history(model),
        refreshes=workspace.ledger.runs("refresh", limit=1),
        coverage=_coverage(workspace, deployment),
        as_of=as_of,
        force=force,
    )


def _coverage(workspace: Workspace, deployment: Deployment) -> float | None:
    """The share of the decisions of the last judged window whose label is known."""
    from headrace.monitoring import quality
    from headrace.monitoring.declarations import Monitor

    current = workspace.registry.current(deployment.name, "Production")
    if current is None:
        return None
    window = (deployment.monitor or Monitor()).window
    kept = quality.stored(workspace.lakehouse, deployment.name, current.version, window)
    mature = [each for each in kept if each.mature]
    return mature[-1].coverage if mature else None


def _predicted(workspace: Workspace, deployment: Deployment) -> list[Version]:
    """The versions that have predictions, the one in Production last."""
    from headrace.lakehouse.sql import quoted

    into = deployment.score.table
    if not workspace.lakehouse.exists(into, own=True):
        raise NotFoundError("table of predictions", into, (), hint="Score first: headrace run score")
    check_predictions(into, workspace.lakehouse.snapshot(into).schema.names)
    with workspace.lakehouse.connect({into: None}) as connection:
        found = connection.sql(
            f"select distinct model_version as v from {quoted(into)} where model = '{deployment.name}'"
        ).to_arrow_table()
    versions = [workspace.registry.get(deployment.name, number) for number in sorted(found.column("v").to_pylist())]
    return sorted(versions, key=lambda version: version.stage == "Production")


def moment(run: Run) -> datetime:
    """The run's moment: as asked for, otherwise the present when the run began, kept when it is taken over."""
    asked = run.params.get("as_of")
    if asked:
        return instant(str(asked))
    kept = run.step(
        "moment", {"run": run.id}, lambda _: {"as_of": now().isoformat(), "says": f"{now():%Y-%m-%d %H:%M:%S} UTC"}
    )
    return instant(str(kept.output["as_of"]))


def one_model(project: Project, name: str | None) -> Model:
    """The model of that name, or the only one."""
    models = project.all(Model)
    if name is None and len(models) == 1:
        return models[0]
    if name is None:
        raise _which("model", [model.name for model in models])
    return project.find(Model, name)


def one_deployment(project: Project, name: str | None) -> Deployment:
    """The deployment of the model of that name, or the only one."""
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


def _text(workspace: Workspace, given: datetime | None) -> str | None:
    known = given or workspace.project.as_of
    return known.isoformat() if known else None


@contextmanager
def open_job(workspace: Workspace, job: str, params: dict[str, Json], listen: Listener | None) -> Generator[Run]:
    """Opens a run of a job, or takes over one that was cut off; nothing of the environment is taken away meanwhile."""
    with at_work(workspace), begin_job(workspace, job, params, listen) as run:
        yield run


def begin_job(workspace: Workspace, job: str, params: dict[str, Json], listen: Listener | None) -> Run:
    """The same for whoever has the environment alone."""
    code = workspace.code
    releases.check(workspace)
    run = workspace.ledger.open(job, params, code=str(code), by=workspace.access.me().name)
    if listen:
        run.listen(listen)
    return run
