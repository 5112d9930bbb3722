"""`headrace request list|show|approve|reject|reopen`."""

from __future__ import annotations

from typing import Any

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.core.text import percent
from headrace.operations.operation import At


@click.group(name="request", cls=Commands)
def command() -> None:
    """Requests to move a version to a stage: who asks, on what evidence, what was decided."""


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that were decided, too.")
@env_option
@json_option
def list_(everything: bool, env: str | None, as_json: bool) -> None:
    """Open requests, the latest first."""
    from headrace.operations import requests

    listed = requests.list_requests(At(env=env), decided=everything)
    if as_json:
        emit(listed)
        return
    columns = ("request", "model", "version", "to", "status", "by", "missing", "expires")
    rows = [{**vars(each), "by": each.shown(each.by)} for each in listed]
    table(rows, columns, empty="no open request. `headrace request list --all` shows those that were decided.")


@command.command()
@click.argument("request", type=click.IntRange(1))
@env_option
@json_option
def show(request: int, env: str | None, as_json: bool) -> None:
    """One request with its evidence, comments and signatures."""
    from headrace.operations import requests

    made = requests.show_request(At(env=env), request)
    if as_json:
        emit(made)
        return
    hidden = ("evidence", "approvals", "decision", "rejected_before", "advice", "simulated")
    facts({name: value for name, value in {**vars(made), "by": made.shown(made.by)}.items() if name not in hidden})
    for signature in made.approvals:
        put(f"signed by {made.shown(signature.by)} as {signature.role}")
    evidence = made.evidence
    if evidence.get("findings"):
        put()
        heading("Evidence")
        for finding in evidence["findings"]:
            put(f"  {finding['gate']} {finding['result']}: {finding['reason']}")
            _show(finding.get("evidence") or {})
    if evidence.get("gates"):
        put(f"  gates: {', '.join(evidence['gates'])}")
    if evidence.get("rollout"):
        put(f"  rollout: {', '.join(percent(share) for share in evidence['rollout']['steps'])}")
    if evidence.get("waived"):
        put(f"  {evidence['waived']}")
    if made.rejected_before:
        put()
        heading("Rejected before")
        table([{**each, "by": made.shown(str(each["by"]))} for each in made.rejected_before])
    if made.decision is not None:
        put()
        heading("Decision")
        facts({**vars(made.decision), "by": [made.shown(name) for name in made.decision.by]})
    elif made.status == "replaced":
        again = f"headrace run deploy --model {made.model} --version {made.version}"
        say(f"It was replaced. To ask again: {bold(again)}")
    elif made.missing:
        say(f"Next, as somebody with the role {made.missing[0]}: {bold(f'headrace request approve {request}')}")
        if made.advice:
            say(made.advice)


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", default="", help="Kept with the decision.")
@env_option
@json_option
def approve(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Sign a request that somebody else made. With the last signature the version moves, or begins its rollout."""
    from headrace.operations import requests

    signed = requests.approve_request(At(env=env), request, reason=reason)
    if as_json:
        emit(signed)
    elif not signed.decided:
        say(f"signed. Missing: {', '.join(signed.missing)}.")
    else:
        model, where = signed.model, "on its rollout" if signed.on_rollout else f"in {signed.to}"
        look = f"headrace traffic show {model}" if signed.on_rollout else f"headrace model history {model}"
        if signed.to == "Staging":
            look = f"headrace run deploy --model {model} --version {signed.version}"
        say(f"{model} version {signed.version} is {where}. Next: {bold(look)}")


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", required=True, help="For whoever asked.")
@env_option
@json_option
def reject(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Reject a request; the version stays where it is."""
    from headrace.operations import requests

    rejected = requests.reject_request(At(env=env), request, reason=reason)
    if as_json:
        emit(rejected)
    else:
        say(f"request {request} is rejected; {rejected.model} version {rejected.version} stays where it is.")


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", required=True, help="What speaks for it now; shown to whoever decides next.")
@env_option
@json_option
def reopen(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Let a rejected request be asked again on the same evidence."""
    from headrace.operations import requests

    reopened = requests.reopen_request(At(env=env), request, reason=reason)
    if as_json:
        emit(reopened)
    else:
        again = f"headrace run deploy --model {reopened.model} --version {reopened.version}"
        say(f"request {request} can be asked again. Next: {bold(again)}")


def _show(evidence: dict[str, Any]) -> None:
    """Numbers and tables that a gate of the project's own shows; of pictures their names, and what was not kept."""
    for name, value in evidence.get("numbers", {}).items():
        put(f"    {name}: {value:g}")
    for name, kept in evidence.get("tables", {}).items():
        put(f"    {name}:")
        rows = [dict(zip(kept["columns"], row, strict=True)) for row in kept["rows"]]
        table(rows, kept["columns"], empty="no rows.")
    if evidence.get("pictures"):
        put(f"    pictures, as data: URLs in --json: {', '.join(evidence['pictures'])}")
    if evidence.get("cut"):
        put(f"    not kept: {'; '.join(evidence['cut'])}")
