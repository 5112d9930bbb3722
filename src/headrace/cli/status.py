"""`headrace status`: what needs a person first, then what is there."""

from __future__ import annotations

import sys

import click

from headrace.cli.output import emit, env_option, heading, json_option, put, show, table
from headrace.core.text import percent


@click.command(name="status")
@env_option
@json_option
def command(env: str | None, as_json: bool) -> None:
    """What needs a person, and where tables, runs and models stand. Exit 1 when something needs a person."""
    from headrace.operations.status import overview
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = overview(workspace)
    name = workspace.environment.name
    if as_json:
        emit({"project": workspace.config.name, "env": name, **found})
    else:
        _show(found, workspace.config.name, name)
    if found["needs_a_person"]:
        sys.exit(1)


def _needs(number: int) -> str:
    return {0: "nothing needs a person", 1: "1 thing needs a person"}.get(number, f"{number} things need a person")


def _show(found: dict[str, list[dict[str, object]]], project: str, name: str) -> None:
    needs = found["needs_a_person"]
    heading(f"{project} in {name}: {_needs(len(needs))}")
    for need in needs:
        put(f"  {need['what']}, {show(need['since'])}: {need['reason']}")
        put(f"    {need['next']}")
    for event in found["lately"]:
        put(f"  lately: {event['what']}, {show(event['at'])}")
    for part in found["traffic"]:
        share = percent(float(str(part["share"])))
        put(f"  {part['model']} version {part['version']} is {part['role']} with {share}: {part['reason']}")
    put()
    table(found["tables"], empty=f"no tables yet. Next: headrace run refresh --env {name}")
    for part in ("jobs", "streams", "models"):
        if found[part]:
            put()
            table(found[part])
