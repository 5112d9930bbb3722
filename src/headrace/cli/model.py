"""`headrace model list|show|history|compare|rollback|export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.following import bring_along, tell_people
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.core.errors import NotFoundError

if TYPE_CHECKING:
    from headrace.registry.records import Rejection, Version
    from headrace.workspace.workspace import Workspace


@click.group(name="model", cls=Commands)
def command() -> None:
    """Models and their versions."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Every version of every model: stage, main metric, code."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows = [_row(version) for version in workspace.registry.versions()]
    if as_json:
        emit(rows)
        return
    table(
        [{**row, "fitted_on": f"{str(row['fit_from'])[:10]} to {str(row['fit_to'])[:10]}"} for row in rows],
        ("model", "version", "stage", "metrics", "fitted_on", "created"),
        empty=f"no versions yet. Next: headrace run train --env {workspace.environment.name}",
    )


@command.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), default=None, help="The newest unless said.")
@env_option
@json_option
def show(name: str, version: int | None, env: str | None, as_json: bool) -> None:
    """One version: stage and its history, metrics, slices, code and data it came from."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        registry = workspace.registry
        versions = registry.versions(name)
        record = registry.get(name, version or versions[-1].version)
        stages = [
            {"at": entry.at, "stage": entry.stage, "by": entry.by, "reason": entry.reason}
            for entry in registry.history(name, record.version)
        ]
        rejected = [vars(each) for each in registry.requests.rejections(name, record.version)]
        slices = _slices(workspace, record)
    if as_json:
        emit({**_row(record), "stages": stages, "rejected": rejected, "slices": slices})
        return
    facts(_row(record))
    if slices:
        put()
        heading("Slices of the test rows")
        table(slices)
    put()
    table(stages)
    if rejected:
        put()
        heading("Rejected")
        table(rejected)


@command.command()
@click.argument("name")
@env_option
@json_option
def history(name: str, env: str | None, as_json: bool) -> None:
    """Every stage that a version of this model came to, and what was rejected: when, by whom, why, by which decision."""
    from headrace.access.people import label
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        workspace.registry.versions(name)  # says which models there are when this is none
        rows = [{**vars(change), "rejected": None} for change in workspace.registry.history(name)]
        rows += [_rejected(each) for each in workspace.registry.requests.rejections(name)]
        simulated = workspace.access.simulated()
        decided = {
            each: workspace.registry.requests.decided(each).by
            for each in {row["decision"] for row in rows}
            if each is not None
        }
    rows.sort(key=lambda row: str(row["at"]))
    if as_json:
        emit(rows)
        return
    shown = [
        {
            **row,
            "stage": row["stage"] or f"not {row['rejected']}",
            "by": [label(each, simulated) for each in str(row["by"]).split(", ")],
            "decided by": [label(each, simulated) for each in decided.get(row["decision"], ())],
        }
        for row in rows
    ]
    table(shown, ("at", "version", "stage", "by", "reason", "decision", "decided by"))


def _rejected(told: Rejection) -> dict[str, object]:
    """A rejection as a line of the history: the version came to no stage."""
    reason = f"request {told.request} rejected: {told.reason}"
    if told.reopened_by:
        reason += f"; re-opened by {told.reopened_by}: {told.because}"
    line = {"at": told.at, "version": told.version, "stage": None, "by": told.by, "reason": reason}
    return {**line, "decision": None, "rejected": told.to}


@command.command()
@click.argument("name")
@env_option
@json_option
def compare(name: str, env: str | None, as_json: bool) -> None:
    """What each version was compared with, on which decisions, and what came out."""
    from headrace.deployment.comparison import TABLE
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        workspace.registry.versions(name)
        there = workspace.lakehouse.exists(TABLE, own=True)
        kept = workspace.lakehouse.snapshot(TABLE).to_arrow().to_pylist() if there else []
        rows = sorted((row for row in kept if row["model"] == name), key=lambda row: row["version"])
        rows = [{key: value for key, value in row.items() if key != "comparison_id"} for row in rows]
    if as_json:
        emit(rows)
        return
    columns = (
        "version",
        "champion",
        "metric",
        "challenger_value",
        "champion_value",
        "value",
        "low",
        "high",
        "rows",
        "result",
    )
    table(rows, columns, empty=f"no comparison yet. Next: headrace run deploy --model {name}")


@command.command()
@click.argument("name")
@click.option(
    "--to", type=click.IntRange(1), default=None, help="The version that was in Production before, unless said."
)
@click.option("--reason", required=True, help="Kept with the decision.")
@env_option
@json_option
def rollback(name: str, to: int | None, reason: str, env: str | None, as_json: bool) -> None:
    """Bring back a version that has been in Production: one command, recorded."""
    from headrace.deployment.rollback import before, roll_back
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        was = workspace.registry.current(name, "Production")
        change = roll_back(
            workspace.registry,
            name,
            home=workspace.home(name),
            to=to,
            reason=reason,
            identity=workspace.access.me(),
        )
        bring_along(workspace)
        earlier = before(workspace.registry, name)
        if as_json:
            emit(vars(change))
        else:
            say(f"{name} version {change.version} is in Production. Next: {bold(f'headrace model history {name}')}")
            if was is not None:
                say(f"Forth again: {bold(f'headrace model rollback {name} --to {was.version} --reason …')}")
            if earlier is not None:
                say(f"Once more goes back to version {earlier}.")
        tell_people(workspace)


@command.command()
@click.argument("name")
@click.option(
    "--to", type=click.Choice(["container", "kubernetes", "sagemaker"]), required=True, help="What it is for."
)
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A folder of its own; made, or made anew.")
@click.option("--version", type=click.IntRange(1), default=None, help="The one in Production unless said.")
@env_option
@json_option
def export(name: str, to: str, into: Path, version: int | None, env: str | None, as_json: bool) -> None:
    """What is needed to serve a version without this project: a container file and the model, and manifests."""
    from headrace.deployment.targets import container, kubernetes, sagemaker, tree
    from headrace.operations.export import check_export
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        registry = workspace.registry
        registry.versions(name)  # says which models there are when this is none
        chosen = registry.get(name, version) if version is not None else registry.current(name, "Production")
        if chosen is None:
            raise NotFoundError("version in Production of model", name, (), hint="Name one with --version.")
        check_export(workspace, chosen, into)
        target = {"container": container, "kubernetes": kubernetes, "sagemaker": sagemaker}[to].TARGET
        online = workspace.environment.online_address
        done = tree.export(chosen, workspace.home(name), into, online=online, said=target.texts(chosen))
    steps = target.steps(chosen, into)
    if as_json:
        told = {"model": chosen.model, "version": chosen.version, "to": to, "into": str(into)}
        emit({**told, "files": done.files, "steps": steps})
        return
    say(f"{chosen.name} for {to}: {len(done.files)} files in {into}")
    if done.features:
        say("its features are those of now: a container does not follow `headrace run publish`; a Redis does")
    say("Next:")
    for step in steps:
        say(f"  {bold(step)}")


def _slices(workspace: Workspace, version: Version) -> list[dict[str, object]]:
    """The metrics of each slice of the test rows, a line a slice."""
    from headrace.training.evaluation import TABLE

    if not workspace.lakehouse.exists(TABLE, own=True):
        return []
    kept = workspace.lakehouse.snapshot(TABLE).to_arrow().to_pylist()
    mine = [row for row in kept if row["run_id"] == version.run_id and row["slice_key"]]
    found: dict[tuple[str, str], dict[str, object]] = {}
    for row in mine:
        line = found.setdefault(
            (row["slice_key"], row["slice_value"]),
            {"slice": f"{row['slice_key']} {row['slice_value']}", "rows": row["rows"]},
        )
        line[row["metric"]] = row["value"]
    return list(found.values())


def _row(version: Version) -> dict[str, object]:
    return {
        "model": version.model,
        "version": version.version,
        "stage": version.stage,
        "metrics": version.metrics,
        "fit_from": version.fit_from,
        "fit_to": version.fit_to,
        "code": version.code,
        "inputs": version.inputs,
        "run_id": version.run_id,
        "model_uri": version.model_uri,
        "artifact_hash": version.artifact_hash,
        "created": version.created,
    }
