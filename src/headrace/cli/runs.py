"""`headrace runs list|show|logs|acknowledge`."""

from __future__ import annotations

import click

from headrace.cli import output
from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, json_option, put, say, table


@click.group(name="runs", cls=Commands)
def command() -> None:
    """Runs of pipelines."""


@command.command(name="list")
@env_option
@json_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many runs.")
def list_(env: str | None, as_json: bool, limit: int) -> None:
    """The latest runs, newest first."""
    from headrace.operations.operation import At
    from headrace.operations.runs import list_runs

    listing = list_runs(At(env=env), limit=limit)
    if as_json:
        emit(listing.runs)
        return
    table(
        [{**vars(run), "seconds": _seconds(run.seconds)} for run in listing.runs],
        ("run", "job", "status", "started", "seconds", "error"),
        empty=f"no runs yet. Next: headrace run refresh --env {listing.env}",
    )


@command.command()
@click.argument("run")
@env_option
@json_option
def show(run: str, env: str | None, as_json: bool) -> None:
    """One run and its steps; RUN may be the beginning of an id."""
    from headrace.operations.operation import At
    from headrace.operations.runs import show_run

    details = show_run(At(env=env), run)
    if as_json:
        emit(details)
        return
    attributes = {name: value for name, value in vars(details).items() if name != "steps"}
    facts({**attributes, "seconds": _seconds(details.seconds)})
    put()
    table(
        [{**vars(step), "seconds": _seconds(step.seconds)} for step in details.steps],
        ("step", "status", "seconds", "summary"),
        empty="no steps",
    )


@command.command()
@click.argument("run")
@env_option
@json_option
def logs(run: str, env: str | None, as_json: bool) -> None:
    """All that the steps of a run had to say, and what was printed meanwhile: each line whole."""
    from headrace.operations.operation import At
    from headrace.operations.runs import show_run_log

    log = show_run_log(At(env=env), run)
    if as_json:
        emit(log.lines)
        return
    if not log.lines:
        say("no log lines")
    room = max((len(line.step) for line in log.lines), default=0)
    for line in log.lines:
        put(f"{output.show(line.at)}  {line.step:<{room}}  {line.line}".rstrip())
    if log.run.needs_a_person:
        where = f" --env {env}" if env else ""
        say(f"Mended, or nothing left to do? {bold(f'headrace runs acknowledge {log.run.run} --reason …{where}')}")


@command.command()
@click.argument("run")
@click.option("--reason", required=True, help="Why nothing is left to do; kept in the audit record.")
@env_option
@json_option
def acknowledge(run: str, reason: str, env: str | None, as_json: bool) -> None:
    """You have seen that a run failed, and nothing is left to do: `headrace status` does not show it any more."""
    from headrace.operations.operation import At
    from headrace.operations.runs import acknowledge_run

    report = acknowledge_run(At(env=env), run, reason=reason)
    if as_json:
        emit(report)
    else:
        say(
            f"run {report.run} of {report.job} is acknowledged by {report.acknowledged_by}. "
            f"Next: {bold('headrace status')}"
        )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
