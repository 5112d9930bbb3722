"""`headrace request list|show|approve|reject|reopen`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.following import bring_along, tell_people
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.core.text import percent

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.registry.records import Decision, TransitionRequest
    from headrace.workspace.workspace import Workspace


@click.group(name="request", cls=Commands)
def command() -> None:
    """Requests to move a version to a stage: who asks, on what evidence, what was decided."""


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that were decided, too.")
@env_option
@json_option
def list_(everything: bool, env: str | None, as_json: bool) -> None:
    """Open requests, the latest first."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows = [_row(each) for each in workspace.registry.requests.list(status=None if everything else "open")]
        simulated = workspace.access.simulated()
    if as_json:
        emit(rows)
        return
    rows = [_labelled(row, simulated) for row in rows]
    columns = ("request", "model", "version", "to", "status", "by", "missing", "expires")
    table(rows, columns, empty="no open request. `headrace request list --all` shows those that were decided.")


@command.command()
@click.argument("request", type=click.IntRange(1))
@env_option
@json_option
def show(request: int, env: str | None, as_json: bool) -> None:
    """One request with its evidence, comments and signatures."""
    from headrace.access.people import label
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = workspace.registry.requests.get(request)
        decision = workspace.registry.requests.decision(request)
        said = workspace.registry.requests.rejections(found.model, found.version)
        earlier = [vars(each) for each in said if each.request < request]
        simulated = workspace.access.simulated()
        advice = workspace.access.advice(found.missing[0], asked_by=found.by) if found.missing else ""
    decided = (
        {}
        if decision is None
        else {name: getattr(decision, name) for name in ("approved", "by", "reason", "at", "spent", "code")}
    )
    if as_json:
        signed = [vars(each) for each in found.approvals]
        named = {found.by, *(each.by for each in found.approvals), *(decision.by if decision else ())}
        emit(
            {
                **_row(found),
                "evidence": found.evidence,
                "approvals": signed,
                "decision": decided or None,
                "rejected_before": earlier,
                "simulated": sorted(named & simulated),
            }
        )
        return
    facts(_labelled(_row(found), simulated))
    for each in found.approvals:
        put(f"signed by {label(each.by, simulated)} as {each.role}")
    evidence = cast("dict[str, Any]", found.evidence)
    if evidence.get("findings"):
        put()
        heading("Evidence")
        for finding in evidence["findings"]:
            put(f"  {finding['gate']} {finding['result']}: {finding['reason']}")
            _show(finding.get("evidence") or {})
    if evidence.get("gates"):
        put(f"  gates: {', '.join(evidence['gates'])}")
    if evidence.get("rollout"):
        put(f"  rollout: {', '.join(percent(each) for each in evidence['rollout']['steps'])}")
    if evidence.get("waived"):
        put(f"  {evidence['waived']}")
    if earlier:
        put()
        heading("Rejected before")
        table([_labelled(each, simulated) for each in earlier])
    if decided:
        put()
        heading("Decision")
        facts(_labelled(decided, simulated))
    elif found.status == "replaced":
        again = f"headrace run deploy --model {found.model} --version {found.version}"
        say(f"It was replaced. To ask again: {bold(again)}")
    elif found.missing and found.status == "open":
        say(f"Next, as somebody with the role {found.missing[0]}: {bold(f'headrace request approve {request}')}")
        if advice:
            say(advice)


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", default="", help="Kept with the decision.")
@env_option
@json_option
def approve(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Sign a request that somebody else made. With the last signature the version moves, or begins its rollout."""
    from headrace.operations.policies import declare_for
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        me = workspace.access.me()
        asked = workspace.registry.requests.check(request, me)
        if asked.status == "open":
            declare_for(workspace, asked.model, by=me.name)  # an approval is one of the gates of now
        decision = workspace.registry.requests.approve(request, me, reason=reason)
        found = workspace.registry.requests.get(request)
        on_rollout = decision is not None and _bring(workspace, decision, me.name)
        if as_json:
            emit({**_row(found), "decided": decision is not None, "on_rollout": on_rollout})
        elif decision is None:
            say(f"signed. Missing: {', '.join(found.missing)}.")
        else:
            model, where = found.model, "on its rollout" if on_rollout else f"in {found.to}"
            look = f"headrace traffic show {model}" if on_rollout else f"headrace model history {model}"
            if found.to == "Staging":
                look = f"headrace run deploy --model {model} --version {found.version}"
            say(f"{model} version {found.version} is {where}. Next: {bold(look)}")
        tell_people(workspace)


def _bring(workspace: Workspace, decision: Decision, by: str) -> bool:
    """Moves a version by a decision, or begins the rollout that it was approved with; gives whether it was that."""
    from headrace.deployment import rollouts

    registry = workspace.registry
    version, plan = registry.get(decision.model, decision.version), registry.traffic.plan(decision)
    if plan is None:
        registry.move(version, decision.to, expect=version.stage, decision=decision, by=by)
    else:
        home, reason = workspace.home(version.model), f"request {decision.request} approved"
        rollouts.begin(registry, version, decision, plan, home=home, by=by, reason=reason)
    bring_along(workspace)
    return plan is not None


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", required=True, help="Told to whoever asked.")
@env_option
@json_option
def reject(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Reject a request; the version stays where it is."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        workspace.registry.requests.reject(request, workspace.access.me(), reason=reason)
        found = workspace.registry.requests.get(request)
        bring_along(workspace)
        if as_json:
            emit(_row(found))
        else:
            say(f"request {request} is rejected; {found.model} version {found.version} stays where it is.")
        tell_people(workspace)


@command.command()
@click.argument("request", type=click.IntRange(1))
@click.option("--reason", required=True, help="What speaks for it now; shown to whoever decides next.")
@env_option
@json_option
def reopen(request: int, reason: str, env: str | None, as_json: bool) -> None:
    """Let a rejected request be asked again on the same evidence."""
    from headrace.access.rights import roles
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        me, requests = workspace.access.me(), workspace.registry.requests
        found = requests.get(request)
        me.require(*roles("request reopen"), *found.roles, to=f"re-open request {request}")
        made = requests.reopen(request, me, reason=reason)
        bring_along(workspace)
        if as_json:
            emit(vars(made))
        else:
            again = f"headrace run deploy --model {found.model} --version {found.version}"
            say(f"request {request} can be asked again. Next: {bold(again)}")
        tell_people(workspace)


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


def _labelled(row: dict[str, object], simulated: Collection[str]) -> dict[str, object]:
    """For people: who is simulated is shown so."""
    from headrace.access.people import label

    by = cast("str | tuple[str, ...]", row["by"])
    return {**row, "by": label(by, simulated) if isinstance(by, str) else [label(each, simulated) for each in by]}


def _row(request: TransitionRequest) -> dict[str, object]:
    return {
        "request": request.id,
        "model": request.model,
        "version": request.version,
        "to": request.to,
        "status": request.status,
        "by": request.by,
        "at": request.at,
        "comment": request.comment,
        "against": request.against,
        "roles": list(request.roles),
        "missing": list(request.missing) if request.status == "open" else [],
        "expires": request.expires,
        "seal": request.seal,
        "code": request.code,
        "policy_hash": request.policy_hash,
        "evidence_hash": request.evidence_hash,
    }
