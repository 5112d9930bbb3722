"""`headrace run refresh|publish|train|tune|deploy|score|stream|ingest-log|monitor|retrain|parity-check|backtest`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from headrace.cli.commands import Commands
from headrace.cli.output import (
    bold,
    emit,
    env_option,
    json_option,
    log_format_option,
    log_level_option,
    say,
    table,
    wrong,
)
from headrace.cli.pipeline_story import PipelineStory, release_option
from headrace.core import logs
from headrace.core.clock import instant
from headrace.core.errors import ConfigError
from headrace.operations.operation import At
from headrace.operations.record import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.operations.alerts import AlertReport
    from headrace.operations.deploy import DeployReport
    from headrace.operations.job import RunReport
    from headrace.operations.score import Into


def numbered_or_then(text: str) -> int | Literal["then"]:
    """A version's number, or `then`."""
    if text == "then":
        return "then"
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ConfigError(f"{text!r} is not a version.", hint="Write its number, or then.")
    return int(text)


def destination(text: str) -> Into:
    """Where predictions go, as it is typed."""
    from headrace.operations import score

    return score.destination(text)


model_option = click.option("--model", default=None, help="Which model, when the project has several.")
as_of_option = click.option(
    "--as-of",
    type=instant,
    default=None,
    help="What is known by then counts; default: the project's as_of or the present.",
)
EXITS = {"in production": 0, "on a rollout": 0, "waits for approval": 3, "rejected": 3}
dry_option = click.option("--dry-run", is_flag=True, help="Print the plan, do nothing.")


@click.group(name="run", cls=Commands)
def command() -> None:
    """Run a pipeline in an environment, as a job that continues where it was stopped."""


@command.command()
@env_option
@release_option
@click.option("--index", default=None, help="Only bring this vector index up to date; the default is everything.")
@dry_option
@json_option
def refresh(env: str | None, release: str | None, index: str | None, dry_run: bool, as_json: bool) -> None:
    """Load sources and bring every table, feature table and vector index up to date."""
    from headrace.operations import refresh

    at = At(env=env, release=release)
    if dry_run:
        _plan(refresh.plan_refresh(at, index=index), as_json=as_json)
        return
    story = PipelineStory("refresh", as_json=as_json)
    done = refresh.refresh(at, index=index, listen=story.tell, begin=story.announce)
    _end(done, as_json=as_json, following="headrace run train")


@command.command()
@env_option
@release_option
@as_of_option
@json_option
def publish(env: str | None, release: str | None, as_of: datetime | None, as_json: bool) -> None:
    """Publish feature tables that are declared online, as of a moment, for serving."""
    from headrace.operations import publish

    story = PipelineStory("publish", as_json=as_json)
    done = publish.publish(At(env=env, release=release), as_of=as_of, listen=story.tell, begin=story.announce)
    _end(done, as_json=as_json, following="headrace serve")


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
    from headrace.operations import train

    at = At(env=env, release=release)
    if dry_run:
        _plan(train.plan_train(at, model), as_json=as_json)
        return
    story = PipelineStory("train", as_json=as_json)
    done = train.train(at, model, as_of=as_of, listen=story.tell, begin=story.announce)
    if not as_json and as_of is None and done.as_of and done.hidden:
        # a project that replays the past does not see what is newer, which may surprise whoever has forgotten it
        say(f"as_of = {done.as_of:%Y-%m-%d} in headrace.toml hides {done.hidden:,} newer decisions.")
    following = (
        f"headrace run deploy{f' --model {done.model}' if model else ''}" if done.deployed else "headrace model list"
    )
    _end(done, as_json=as_json, following=following)


@command.command()
@env_option
@release_option
@model_option
@dry_option
@json_option
def tune(env: str | None, release: str | None, model: str | None, dry_run: bool, as_json: bool) -> None:
    """Search for better instructions of a model's prompts; what is better is registered as a version."""
    from headrace.operations import tune

    at = At(env=env, release=release)
    if dry_run:
        _plan(tune.plan_tune(at, model), as_json=as_json)
        return
    story = PipelineStory("tune", as_json=as_json)
    done = tune.tune(at, model, listen=story.tell, begin=story.announce)
    following = (
        "headrace model list"
        if done.version is None
        else f"headrace run deploy{f' --model {done.model}' if model else ''}"
    )
    _end(done, as_json=as_json, following=following)


@command.command()
@env_option
@release_option
@model_option
@click.option(
    "--version",
    type=numbered_or_then,
    default=None,
    metavar="N|then",
    help="The version that scores; then: the one in Production at each decision's moment; default: Production.",
)
@click.option("--since", type=instant, default=None, help="First moment; default: the version's training moment.")
@click.option("--until", type=instant, default=None, help="First moment left out; default: --as-of.")
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
    help="schema.table, parquet:FOLDER, csv:FOLDER or NAME:TABLE of a database; default: as declared.",
)
@click.option("--processes", type=click.IntRange(1), default=None, help="That predict; default: one a core.")
@click.option(
    "--engine",
    type=click.Choice(["local", "spark"]),
    default="local",
    show_default=True,
    help="Where the model predicts: on this machine, or on the Spark of the environment.",
)
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
    from headrace.operations import score

    _check_score(since=since, until=until, source=source, query=query, latest=latest, version=version)
    at = At(env=env, release=release)
    if dry_run:
        _plan(score.plan_score(at, model), as_json=as_json)
        return
    story = PipelineStory("score", as_json=as_json)
    try:
        done = score.score(
            at,
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
            begin=story.announce,
            progress=lambda progress: story.progress(str(progress)),
        )
    finally:
        story.settle()
    _end(done, as_json=as_json, following="headrace status")
    for folder, format in done.folders.items() if not as_json else ():  # noqa: A001
        say(f"The {format} files are in {folder}")


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
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Default: this machine only.")
@click.option("--parent", type=int, default=None, hidden=True, help="The process that started this one.")
@log_format_option
@log_level_option
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
    log_format: logs.Format,
    log_level: logs.Level,
    as_json: bool,
) -> None:
    """Score decisions as they come in, from Kafka or a change feed, until Ctrl-C; several workers share the partitions.

    The version in Production predicts; a new one takes over between two micro-batches.
    """
    import os
    import threading

    from headrace.core.shutdown import on_stop
    from headrace.operations import stream

    logs.configure(log_format, log_level)
    log = logging.getLogger("headrace.stream")
    stopped = threading.Event()
    with on_stop(stopped.set):
        done = stream.run_stream(
            At(env=env, release=release),
            model,
            stop=lambda: stopped.is_set() or (parent is not None and os.getppid() != parent),
            say=log.info,
            once=once,
            accept_loss=accept_loss,
            partitions=partitions or None,
            metrics=None if metrics_port is None else (metrics_host, metrics_port),
        )
    if as_json:
        emit(done)
    else:
        dead = f", {done.dead_letters:,} dead letters" if done.dead_letters else ""
        log.info("%s", f"{done.messages:,} messages: {done.predictions:,} predictions{dead}; {done.lag:,} wait")


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

    story = PipelineStory("parity-check", as_json=as_json)
    done = parity_check.check_parity(
        At(env=env, release=release),
        model,
        since=since,
        until=until,
        rows=rows,
        listen=story.tell,
        begin=story.announce,
    )
    _end(done, as_json=as_json, following="headrace serve")


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
    from headrace.operations import backtest

    if since >= until:
        raise click.UsageError(f"--since {since:%Y-%m-%dT%H:%M} is not before --until {until:%Y-%m-%dT%H:%M}.")
    story = PipelineStory("backtest", as_json=as_json)
    done = backtest.backtest(
        At(env=env, release=release),
        model,
        since=since,
        until=until,
        as_of=as_of,
        listen=story.tell,
        begin=story.announce,
    )
    _end(done, as_json=as_json, following="headrace model list")


@command.command()
@env_option
@release_option
@model_option
@click.option("--version", type=click.IntRange(1), default=None, help="Default: the newest that is not archived.")
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
    from headrace.operations import deploy

    at = At(env=env, release=release)
    if dry_run:
        _plan(deploy.plan_deploy(at, model, version=version), as_json=as_json)
        return
    story = PipelineStory("deploy", as_json=as_json)
    done = deploy.deploy(
        at,
        model,
        version=version,
        as_of=as_of,
        listen=story.tell,
        begin=story.announce,
    )
    if as_json:
        emit(done)
    else:
        _deployed(done)
    sys.exit(EXITS.get(done.ending, 1))


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
    from headrace.operations import ingest_log

    story = PipelineStory("ingest-log", as_json=as_json)
    done = ingest_log.ingest_log(At(env=env, release=release), model, places, listen=story.tell, begin=story.announce)
    _end(done, as_json=as_json, following="headrace run monitor")


@command.command()
@env_option
@release_option
@model_option
@as_of_option
@click.option("--queries", is_flag=True, help="Only evaluate the rules on saved queries, whether they are due or not.")
@click.option("--due", is_flag=True, help="With --queries: only those that are due.")
@dry_option
@json_option
def monitor(
    env: str | None,
    release: str | None,
    model: str | None,
    as_of: datetime | None,
    queries: bool,
    due: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Profile, drift, quality and alerts of what was predicted; rules on saved queries. Exit 1 when an alert holds."""
    from headrace.operations import monitor, query_alerts

    at = At(env=env, release=release)
    if due and not queries:
        raise click.UsageError("--due goes with --queries.")
    if queries and (model or as_of or dry_run):
        raise click.UsageError("--queries takes neither --model, --as-of nor --dry-run.")
    if dry_run:
        _plan(monitor.plan_monitor(at, model), as_json=as_json)
        return
    story = PipelineStory("monitor", as_json=as_json)
    if queries:
        judged = query_alerts.monitor_queries(at, due=due, listen=story.tell, begin=story.announce)
        _tell_alerts(judged, judged.alerts, as_json=as_json, following="headrace query list")
        return
    done = monitor.monitor(at, model, as_of=as_of, listen=story.tell, begin=story.announce)
    if done.missing_table and not as_json:
        say(f"Nothing was scored into {done.missing_table} yet, so neither drift nor quality is measured.")
    following = "headrace run score" if done.missing_table else "headrace status"
    _tell_alerts(done, done.alerts, as_json=as_json, following=following)


def _tell_alerts(done: RunReport, alerts: Sequence[AlertReport], *, as_json: bool, following: str) -> None:
    """The alerts that hold, and exit 1; where there is none, the next command."""
    if as_json:
        emit(done)
    elif alerts:
        for alert in alerts:
            wrong(f"alert {alert.alert}: {alert.about}: {alert.rule}")
        say(f"Next: {bold(f'headrace alert list --env {done.env}')}")
    else:
        _end(done, as_json=False, following=following)
    if alerts:
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
    from headrace.operations import retrain

    story = PipelineStory("retrain", as_json=as_json)
    done = retrain.retrain(
        At(env=env, release=release),
        model,
        as_of=as_of,
        force=force,
        listen=story.tell,
        begin=story.announce,
    )
    if as_json:
        emit(done)
    elif done.delivered is not None:
        _deployed(done.delivered)
    else:
        say(f"{done.model} is not trained again: {'; '.join(done.against) or 'nothing asks for it'}.")
    if done.delivered is not None:
        sys.exit(EXITS.get(done.delivered.ending, 1))
    if done.against:
        sys.exit(3)


def _deployed(done: DeployReport) -> None:
    env = done.env
    version = f"{done.model} version {done.version}"
    if done.ending == "in production":
        say(f"{version} is in Production. Next: {bold(f'headrace serve {done.model} --env {env}')}")
        if done.previous is not None:
            back = f"headrace model rollback {done.model} --to {done.previous} --reason … --env {env}"
            say(f"Back to version {done.previous}: {bold(back)}")
    elif done.ending == "waits for approval":
        say(f"{version} waits for approval by {', '.join(done.missing)}; whoever asked cannot give it.")
        say(f"Next, as somebody else: {bold(f'headrace request approve {done.request} --env {env}')}")
        if done.advice:
            say(done.advice)
    elif done.ending == "on a rollout":
        say(f"{version} is on its rollout. Next: {bold(f'headrace traffic show {done.model} --env {env}')}")
    elif done.ending == "rollout stopped":
        again = f"headrace run deploy --model {done.model} --version {done.version} --env {env}"
        wrong(f"the rollout of {version} was stopped; it begins again by {bold(again)}:")
    elif done.ending == "rejected":
        wrong(f"{version} stays where it is:")
    elif done.ending == "no decision":
        say(f"{version} stays in Staging, no decision:")
    else:
        wrong(f"{version} was refused and archived:")
    for line in done.findings:
        say(f"  {line}")
    if done.ending == "refused":
        again = f"headrace run deploy --model {done.model} --version {done.version} --env {env}"
        say(f"Where a gate was mended: {bold(again)}")
    if done.ending == "rejected":
        reopen = f"headrace request reopen {done.request} --reason … --env {env}"
        say(f"Where something else speaks for it: {bold(reopen)}")


def _plan(steps: Sequence[object], *, as_json: bool) -> None:
    if as_json:
        emit([plain(step) for step in steps])
    else:
        rows = [vars(step) for step in steps]
        told = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
        if all(row["runs"] == "yes" for row in rows):
            told = [name for name in told if name != "runs"]
        table([{name: row[name] for name in told} for row in rows])
        say("Nothing was done: this was a dry run.")


def _end(done: RunReport, *, as_json: bool, following: str) -> None:
    if as_json:
        emit(done)
    else:
        say(f"run {done.run} done. Next: {bold(f'{following} --env {done.env}')}")
