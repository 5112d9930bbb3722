"""`headrace model list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.output import Commands, emit, env_option, facts, heading, json_option, table

if TYPE_CHECKING:
    from headrace.registry.records import Version
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
            {"at": entry.at, "stage": entry.stage, "by": entry.by} for entry in registry.history(name, record.version)
        ]
        slices = _slices(workspace, record)
    if as_json:
        emit({**_row(record), "stages": stages, "slices": slices})
        return
    facts(_row(record))
    if slices:
        click.echo()
        heading("Slices of the test rows")
        table(slices)
    click.echo()
    table(stages)


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
