"""`headrace status`: what needs a person first, then what is there."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, say, table


@click.command(name="status")
@env_option
@json_option
def command(env: str | None, as_json: bool) -> None:
    """What needs a person, and where tables, models and runs stand."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        ledger = workspace.ledger
        ledger.sweep()
        runs = ledger.runs(limit=200)
        latest = {run.job: run for run in reversed(runs)}
        needs = [
            {"what": f"{run.job} {run.status}", "since": run.ended or run.started, "why": (run.error or "its process died").splitlines()[0],
             "next": f"headrace job logs {run.id} --env {workspace.environment.name}"}
            for run in latest.values() if run.status in ("failed", "interrupted")
        ]  # fmt: skip
        jobs = [
            {"job": run.job, "status": run.status, "started": run.started, "code": run.code} for run in latest.values()
        ]
        tables = [name for name in workspace.lakehouse.names() if name.env == workspace.environment.name]
        versions = workspace.registry.versions()
        models = [{"model": v.model, "version": v.version, "stage": v.stage, "created": v.created} for v in versions]
    found = {
        "env": workspace.environment.name,
        "needs_a_person": needs,
        "jobs": jobs,
        "tables": len(tables),
        "models": models,
    }
    if as_json:
        emit(found)
        return
    say(f"{workspace.config.name} in {workspace.environment.name}: {len(tables)} tables, {len(models)} model versions")
    if needs:
        say("Needs a person")
        table(needs)
        say()
    table(jobs, empty="No runs yet. Next: headrace run refresh")
    if models:
        say()
        table(models)
