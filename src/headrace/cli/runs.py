"""`headrace runs list|show|logs|acknowledge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli import output
from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, json_option, put, say, table

if TYPE_CHECKING:
    from headrace.jobs.records import RunRecord


@click.group(name="runs", cls=Commands)
def command() -> None:
    """Runs of pipelines."""


@command.command(name="list")
@env_option
@json_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def list_(env: str | None, as_json: bool, limit: int) -> None:
    """The latest runs, newest first."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        workspace.ledger.sweep()
        rows = [_row(run) for run in workspace.ledger.runs(limit=limit)]
    if as_json:
        emit(rows)
        return
    table(
        [{**row, "seconds": _seconds(row["seconds"])} for row in rows],
        ("run", "job", "status", "started", "seconds", "error"),
        empty=f"no runs yet. Next: headrace run refresh --env {workspace.environment.name}",
    )


@command.command()
@click.argument("run")
@env_option
@json_option
def show(run: str, env: str | None, as_json: bool) -> None:
    """One run and its steps; RUN may be the beginning of an id."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        record = workspace.ledger.run(run)
        steps = [
            {
                "step": step.name,
                "status": step.status,
                "seconds": (step.ended - step.started).total_seconds() if step.ended else None,
                "says": (step.output or {}).get("says") or step.error,
                "output": step.output,
            }
            for step in workspace.ledger.steps(record.id)
        ]
    if as_json:
        emit({**_row(record), "steps": steps})
        return
    facts({**_row(record), "seconds": _seconds(_row(record)["seconds"])})
    put()
    table(
        [{**step, "seconds": _seconds(step["seconds"])} for step in steps],
        ("step", "status", "seconds", "says"),
        empty="no steps",
    )


@command.command()
@click.argument("run")
@env_option
@json_option
def logs(run: str, env: str | None, as_json: bool) -> None:
    """All that the steps of a run had to say, and what was printed meanwhile: each line whole."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        record = workspace.ledger.run(run)
        rows = [{"at": line.at, "step": line.step, "line": line.line} for line in workspace.ledger.logs(record.id)]
    if as_json:
        emit(rows)
        return
    if not rows:
        say("no log lines")
    room = max((len(str(row["step"])) for row in rows), default=0)
    for row in rows:
        put(f"{output.show(row['at'])}  {row['step']:<{room}}  {row['line']}".rstrip())
    if record.status in ("failed", "interrupted") and record.acknowledged_by is None:
        where = f" --env {env}" if env else ""
        say(f"Mended, or nothing left to do? {bold(f'headrace runs acknowledge {record.id} --reason …{where}')}")


@command.command()
@click.argument("run")
@click.option("--reason", required=True, help="Why nothing is left to do; kept in the audit record.")
@env_option
@json_option
def acknowledge(run: str, reason: str, env: str | None, as_json: bool) -> None:
    """You have seen that a run failed, and nothing is left to do: `headrace status` does not tell of it any more."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = workspace.ledger.acknowledge(run, by=workspace.access.me().name, reason=reason)
    if as_json:
        emit(_row(found))
    else:
        say(
            f"run {found.id} of {found.job} is acknowledged by {found.acknowledged_by}. Next: {bold('headrace status')}"
        )


def _seconds(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else "-"


def _row(run: RunRecord) -> dict[str, object]:
    return {
        "run": run.id,
        "job": run.job,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "seconds": (run.ended - run.started).total_seconds() if run.ended else None,
        "attempt": run.attempt,
        "code": run.code,
        "owner": run.owner,
        "by": run.by,
        "params": run.params,
        "error": run.error,
        "acknowledged_by": run.acknowledged_by,
        "reason": run.reason,
    }
