"""`headrace run refresh|train|deploy|score|stream|monitor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from headrace.cli.commands import Commands
from headrace.cli.output import Story, bold, emit, env_option, json_option, say, table, wrong
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, DeclarationError

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.inference.declarations import Into
    from headrace.jobs.run import Run
    from headrace.pipelines.deploy import DeploymentResult
    from headrace.workspace.workspace import Workspace


def numbered_or_then(text: str) -> int | Literal["then"]:
    """A version's number, or `then`."""
    if text == "then":
        return "then"
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ConfigError(f"{text!r} is not a version.", hint="Write its number, or then.")
    return int(text)


def destination(text: str) -> Into:
    """Where predictions go, as it is typed."""
    from headrace.core import credentials
    from headrace.inference.declarations import Database, Files
    from headrace.lakehouse.declarations import check_name

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


model_option = click.option("--model", default=None, help="Which model, when the project has several.")
release_option = click.option(
    "--release", default=None, metavar="TAG", help="The release whose code runs, where only releases may."
)
as_of_option = click.option(
    "--as-of",
    type=instant,
    default=None,
    help="What is known by then counts; the project's as_of or the present unless said.",
)
EXITS = {"in production": 0, "on a rollout": 0, "waits for approval": 3, "rejected": 3}
dry_option = click.option("--dry-run", is_flag=True, help="Print the plan, do nothing.")


@click.group(name="run", cls=Commands)
def command() -> None:
    """Run a pipeline in an environment, as a job that continues where it was stopped."""


@command.command()
@env_option
@release_option
@dry_option
@json_option
def refresh(env: str | None, release: str | None, dry_run: bool, as_json: bool) -> None:
    """Load sources and bring every table and feature table up to date."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        if dry_run:
            from headrace.pipelines.refresh import outline

            _plan(outline(workspace.project, workspace.lakehouse), as_json=as_json)
            return
        story = _story(workspace, "refresh", as_json=as_json)
        run = start.refresh(workspace, listen=story.tell)
        _end(workspace, run.id, as_json=as_json, following="headrace run train")


@command.command()
@env_option
@release_option
@as_of_option
@json_option
def publish(env: str | None, release: str | None, as_of: datetime | None, as_json: bool) -> None:
    """Publish feature tables that are declared online, as of a moment, for serving."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        story = _story(workspace, "publish", as_json=as_json)
        run = start.publish(workspace, as_of=as_of, listen=story.tell)
        _end(workspace, run.id, as_json=as_json, following="headrace serve")


@command.command()
@env_option
@release_option
@model_option
@as_of_option
@dry_option
@json_option
def train(
    env: str | None, release: str | None, model: str | None, as_of: datetime | None, dry_run: bool, as_json: bool
) -> None:
    """Build a training set, tune, fit, evaluate, register a version."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        if dry_run:
            from headrace.pipelines.train import outline

            _plan(outline(start.one_model(workspace.project, model)), as_json=as_json)
            return
        story = _story(workspace, "train", as_json=as_json)
        run = start.train(workspace, model, as_of=as_of, listen=story.tell)
        if not as_json and as_of is None:
            _hidden(workspace, run)
        _end(workspace, run.id, as_json=as_json, following=_after_training(workspace, model))


@command.command()
@env_option
@release_option
@model_option
@click.option(
    "--version",
    type=numbered_or_then,
    default=None,
    metavar="N|then",
    help="The version that scores; then: the one in Production at each decision's moment; Production unless said.",
)
@click.option("--since", type=instant, default=None, help="First moment; the version's training moment unless said.")
@click.option("--until", type=instant, default=None, help="First moment left out; --as-of unless said.")
@click.option(
    "--source",
    default=None,
    metavar="TABLE|FILE",
    help="Score these rows instead of the spine: a table, or a .parquet, .csv or .json file. (A moment: --since.)",
)
@click.option("--query", default=None, metavar="SQL", help="Score the rows of a SELECT instead of the spine.")
@click.option("--latest", is_flag=True, help="Features as of --as-of, not of each decision's own moment.")
@click.option(
    "--into",
    type=destination,
    multiple=True,
    metavar="WHERE",
    help="schema.table, parquet:FOLDER, csv:FOLDER or NAME:TABLE of a database; as declared unless said.",
)
@click.option("--processes", type=click.IntRange(1), default=None, help="That predict; one a core unless said.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True)
@as_of_option
@dry_option
@json_option
def score(
    env: str | None,
    release: str | None,
    model: str | None,
    version: int | Literal["then"] | None,
    since: datetime | None,
    until: datetime | None,
    source: str | None,
    query: str | None,
    latest: bool,
    into: tuple[Into, ...],
    processes: int | None,
    engine: Literal["local", "spark"],
    as_of: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score decisions in batch, and measure months whose labels are known."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    _check_score(since=since, until=until, source=source, query=query, latest=latest, version=version)
    with open_workspace(env, release=release) as workspace:
        if dry_run:
            from headrace.pipelines.score import outline

            _plan(outline(start.one_deployment(workspace.project, model)), as_json=as_json)
            return
        story = _story(workspace, "score", as_json=as_json)
        try:
            run = start.score(
                workspace,
                model,
                version=version,
                since=since,
                until=until,
                source=source,
                query=query,
                latest=latest,
                into=into or None,
                processes=processes,
                engine=engine,
                as_of=as_of,
                listen=story.tell,
                progress=lambda progress: story.progress(str(progress)),
            )
        finally:
            story.settle()
        _end(workspace, run.id, as_json=as_json, following="headrace status")
    from headrace.inference.declarations import Files

    for each in into if not as_json else ():
        if isinstance(each, Files):
            say(f"The {each.format} files are in {each.path}")


def _check_score(
    *,
    since: datetime | None,
    until: datetime | None,
    source: str | None,
    query: str | None,
    latest: bool,
    version: int | Literal["then"] | None,
) -> None:
    if since and until and since >= until:
        raise click.UsageError(f"--since {since:%Y-%m-%dT%H:%M} is not before --until {until:%Y-%m-%dT%H:%M}.")
    if source is not None and query is not None:
        raise click.UsageError("--source and --query both say which rows to score: give one.")
    if latest and (since or until or version == "then"):
        raise click.UsageError(
            "--latest takes one moment for every row: --since, --until and --version then do not go with it."
        )


@command.command()
@env_option
@release_option
@model_option
@click.option("--once", is_flag=True, help="What is there now, then end.")
@click.option("--accept-loss", is_flag=True, help="Go on where messages were deleted before they were read.")
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(0),
    multiple=True,
    help="Only this one; can be given again. Else a share.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=None, help="Answer GET /metrics; 0: a free one.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="This machine only, unless said.")
@click.option("--parent", type=int, default=None, hidden=True, help="The process that started this one.")
@json_option
def stream(
    env: str | None,
    release: str | None,
    model: str | None,
    once: bool,
    accept_loss: bool,
    partitions: tuple[int, ...],
    metrics_port: int | None,
    metrics_host: str,
    parent: int | None,
    as_json: bool,
) -> None:
    """Score decisions as they come in, from Kafka or a change feed, until Ctrl-C; several workers share the partitions.

    The version in Production predicts; a new one takes over between two micro-batches.
    """
    import os
    import threading

    from headrace.core.shutdown import on_stop
    from headrace.operations import stream
    from headrace.workspace.workspace import open_workspace

    stopped = threading.Event()
    with on_stop(stopped.set), open_workspace(env, release=release) as workspace:
        found = stream.run_stream(
            workspace,
            model,
            stop=lambda: stopped.is_set() or (parent is not None and os.getppid() != parent),
            say=say,
            once=once,
            accept_loss=accept_loss,
            partitions=partitions or None,
            metrics=None if metrics_port is None else (metrics_host, metrics_port),
        )
    if as_json:
        emit(found)
    else:
        dead = f", {found['dead_letters']:,} dead letters" if found["dead_letters"] else ""
        say(f"{found['messages']:,} messages: {found['predictions']:,} predictions{dead}; {found['lag']:,} wait")


@command.command()
@env_option
@release_option
@model_option
@click.option("--since", type=instant, required=True, help="First moment to ask for.")
@click.option("--until", type=instant, required=True, help="First moment left out.")
@click.option(
    "--rows", type=click.IntRange(1), default=1000, show_default=True, help="Ask for at least so many decisions."
)
@json_option
def parity_check(
    env: str | None, release: str | None, model: str | None, since: datetime, until: datetime, rows: int, as_json: bool
) -> None:
    """Ask a real server what batch scoring has answered, with the lakehouse renamed away; exit 1 when an answer differs."""
    from headrace.operations import parity_check
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        story = _story(workspace, "serve", as_json=as_json)
        run, told = parity_check.rehearse(workspace, model, since=since, until=until, rows=rows, listen=story.tell)
        if as_json:
            emit({"run": run.id, **told})
        else:
            _end(workspace, run.id, as_json=False, following="headrace serve")


@command.command()
@env_option
@release_option
@model_option
@click.option("--since", type=instant, required=True, help="Beginning of the first month.")
@click.option("--until", type=instant, required=True, help="First moment left out.")
@as_of_option
@json_option
def backtest(
    env: str | None,
    release: str | None,
    model: str | None,
    since: datetime,
    until: datetime,
    as_of: datetime | None,
    as_json: bool,
) -> None:
    """What retraining at the beginning of each month would have given."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    if since >= until:
        raise click.UsageError(f"--since {since:%Y-%m-%dT%H:%M} is not before --until {until:%Y-%m-%dT%H:%M}.")
    with open_workspace(env, release=release) as workspace:
        story = _story(workspace, "backtest", as_json=as_json)
        run = start.backtest(workspace, model, since=since, until=until, as_of=as_of, listen=story.tell)
        _end(workspace, run.id, as_json=as_json, following="headrace model list")


@command.command()
@env_option
@release_option
@model_option
@click.option("--version", type=click.IntRange(1), default=None, help="The newest that is not archived unless said.")
@as_of_option
@dry_option
@json_option
def deploy(
    env: str | None,
    release: str | None,
    model: str | None,
    version: int | None,
    as_of: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring a version through its gates to Staging and Production. Exit 1: refused by a gate; 3: waits for a person, or one rejected it."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        if dry_run:
            from headrace.operations.policies import hash_of, needed
            from headrace.pipelines.deploy import outline

            declared = start.one_deployment(workspace.project, model)
            plan = outline(
                declared,
                workspace.registry,
                version=version,
                roles=needed(workspace, declared),
                policy=hash_of(workspace, declared),
            )
            _plan(plan, as_json=as_json)
            return
        story = _story(workspace, "deploy", as_json=as_json)
        run, found = start.deploy(
            workspace, model, version=version, as_of=as_of, revive=version is not None, listen=story.tell
        )
        name = start.one_deployment(workspace.project, model).name
        if as_json:
            emit({"run": run.id, "model": name, **vars(found), "steps": _steps(workspace, run.id)})
        else:
            _told(workspace, name, found)
    sys.exit(EXITS.get(found.ending, 1))


@command.command()
@click.argument("places", nargs=-1, type=click.Path(path_type=Path))
@env_option
@release_option
@model_option
@json_option
def ingest_log(
    places: tuple[Path, ...], env: str | None, release: str | None, model: str | None, as_json: bool
) -> None:
    """Take over what servers have answered; and PLACES: spools of other machines, files with a JSON record a line."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        story = _story(workspace, "log", as_json=as_json)
        run = start.import_logs(workspace, model, places, listen=story.tell)
        _end(workspace, run.id, as_json=as_json, following="headrace run monitor")


@command.command()
@env_option
@release_option
@model_option
@as_of_option
@dry_option
@json_option
def monitor(
    env: str | None, release: str | None, model: str | None, as_of: datetime | None, dry_run: bool, as_json: bool
) -> None:
    """Profile, drift, quality and alerts of what was predicted. Exit 1 when an alert holds."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        if dry_run:
            from headrace.pipelines.monitor import outline

            _plan(outline(start.one_deployment(workspace.project, model)), as_json=as_json)
            return
        story = _story(workspace, "monitor", as_json=as_json)
        run, holding = start.monitor(workspace, model, as_of=as_of, listen=story.tell)
        if as_json:
            emit({"run": run.id, "alerts": [vars(alert) for alert in holding], "steps": _steps(workspace, run.id)})
        elif holding:
            for alert in holding:
                wrong(f"alert {alert.id}: {alert.model} version {alert.version}: {alert.rule}")
            say(f"Next: {bold(f'headrace alert list --env {workspace.environment.name}')}")
        else:
            _end(workspace, run.id, as_json=False, following="headrace status")
    if holding:
        sys.exit(1)


@command.command()
@env_option
@release_option
@model_option
@as_of_option
@click.option("--force", is_flag=True, help="Train without an alert, whatever the cool-down says.")
@json_option
def retrain(
    env: str | None, release: str | None, model: str | None, as_of: datetime | None, force: bool, as_json: bool
) -> None:
    """Train again when an alert or the schedule asks for it and no guard stands in the way; then the same gates."""
    from headrace.operations import start
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, release=release) as workspace:
        story = _story(workspace, "retrain", as_json=as_json)
        verdict, found = start.retrain(workspace, model, as_of=as_of, force=force, listen=story.tell)
        name = start.one_deployment(workspace.project, model).name
        if as_json:
            emit({"model": name, **vars(verdict), "delivered": vars(found) if found else None})
        elif found is not None:
            _told(workspace, name, found)
        else:
            say(f"{name} is not trained again: {'; '.join(verdict.against) or 'nothing asks for it'}.")
    if found is not None:
        sys.exit(EXITS.get(found.ending, 1))
    if verdict.against:
        sys.exit(3)


def _told(workspace: Workspace, model: str, found: DeploymentResult) -> None:
    from headrace.deployment.rollback import before

    env = workspace.environment.name
    said = f"{model} version {found.version}"
    if found.ending == "in production":
        say(f"{said} is in Production. Next: {bold(f'headrace serve {model} --env {env}')}")
        if (earlier := before(workspace.registry, model)) is not None:
            back = f"headrace model rollback {model} --to {earlier} --reason … --env {env}"
            say(f"Back to version {earlier}: {bold(back)}")
    elif found.ending == "waits for approval":
        say(f"{said} waits for approval by {', '.join(found.missing)}; whoever asked cannot give it.")
        say(f"Next, as somebody else: {bold(f'headrace request approve {found.request} --env {env}')}")
        if advice := workspace.access.advice(found.missing[0], asked_by=workspace.access.me().name):
            say(advice)
    elif found.ending == "on a rollout":
        say(f"{said} is on its rollout. Next: {bold(f'headrace traffic show {model} --env {env}')}")
    elif found.ending == "rollout stopped":
        again = f"headrace run deploy --model {model} --version {found.version} --env {env}"
        wrong(f"the rollout of {said} was stopped; it begins again by {bold(again)}:")
    elif found.ending == "rejected":
        wrong(f"{said} stays where it is:")
    elif found.ending == "no decision":
        say(f"{said} stays in Staging, no decision:")
    else:
        wrong(f"{said} was refused and archived:")
    for line in found.findings:
        say(f"  {line}")
    if found.ending == "rejected":
        say(
            f"Where something else speaks for it: {bold(f'headrace request reopen {found.request} --reason … --env {env}')}"
        )


def _hidden(workspace: Workspace, run: Run) -> None:
    """A project that replays the past does not see what is newer, which may surprise whoever has forgotten it."""
    moment = workspace.project.as_of
    newer = sum(each["counts"]["after"] for each in run.outputs(prefix="training set"))
    if moment and newer:
        say(f"as_of = {moment:%Y-%m-%d} in headrace.toml hides {newer:,} newer decisions.")


def _after_training(workspace: Workspace, name: str | None) -> str:
    """A version that was trained goes through its gates, where the project says how."""
    from headrace.deployment.declarations import Deployment
    from headrace.operations import start

    model = start.one_model(workspace.project, name)
    if not any(each.name == model.name for each in workspace.project.all(Deployment)):
        return "headrace model list"
    return f"headrace run deploy{f' --model {model.name}' if name else ''}"


def _steps(workspace: Workspace, run_id: str) -> list[dict[str, object]]:
    return [{"name": s.name, "status": s.status, "output": s.output} for s in workspace.ledger.steps(run_id)]


def _story(workspace: Workspace, pipeline: str, *, as_json: bool) -> Story:
    code = workspace.code
    story = Story(quiet=as_json)
    story.begin(f"{pipeline} in {workspace.environment.name}, from {code}")
    if code.dirty and code.kind != "worktree":
        say(f"  Uncommitted changes do not run here; {code} does.")
    return story


def _plan(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        emit(rows)
    else:
        table(rows)
        say("Nothing was done: this was a dry run.")


def _end(workspace: Workspace, run_id: str, *, as_json: bool, following: str) -> None:
    if as_json:
        emit({"run": run_id, "steps": _steps(workspace, run_id)})
    else:
        say(f"run {run_id} done. Next: {bold(f'{following} --env {workspace.environment.name}')}")
