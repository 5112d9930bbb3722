"""`headrace model list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.output import emit, env_option, json_option, say, table

if TYPE_CHECKING:
    from headrace.registry.records import Version


@click.group(name="model")
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
    emit(rows) if as_json else table(
        rows,
        ("model", "version", "stage", "metrics", "fit_from", "fit_to", "code", "created"),
        empty="no versions yet. Next: headrace run train",
    )


@command.command()
@click.argument("name")
@click.option("--version", type=int, default=None, help="The newest unless said.")
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
    if as_json:
        emit({**_row(record), "stages": stages})
        return
    for key, value in _row(record).items():
        say(f"{key.replace('_', ' ')}: {value}")
    table(stages)


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
