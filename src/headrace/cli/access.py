"""`headrace access me|list|bootstrap|grant|revoke|token`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, json_option, put, say, table
from headrace.core.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


@click.group(name="access", cls=Commands)
def command() -> None:
    """Who may do what in an environment."""


@command.command()
@env_option
@json_option
def me(env: str | None, as_json: bool) -> None:
    """Who you are here, and the roles that you hold."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = workspace.access.me(enrolling=True)
    shown = {"name": found.name, "roles": sorted(found.roles), "simulated": found.simulated}
    if as_json:
        emit(shown)
    else:
        facts(shown if found.simulated else {name: shown[name] for name in ("name", "roles")})


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Every role that was granted."""
    from headrace.access.people import label
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows = [vars(grant) for grant in workspace.access.grants()]
    if as_json:
        emit(rows)
    else:
        shown = [{**row, "name": label(row["name"], [row["name"]] if row["simulated"] else [])} for row in rows]
        table(shown, ("name", "role", "by", "at"), empty="nobody was granted a role yet: you are alone, and admin.")


@command.command()
@click.option("--simulated", is_flag=True, help="Whom it enrols is labelled as no real person, for demonstrations.")
@env_option
def bootstrap(simulated: bool, env: str | None) -> None:
    """Make the identity that enrols people, once, before anybody was granted a role; its token is printed once."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        made = workspace.access.bootstrap(simulated=simulated)
    put(made)
    say("Shown once. Who has it enrols people and does nothing else: export HEADRACE_TOKEN=…, then for each of them")
    say(f"{bold('headrace access grant NAME ROLE')} and {bold('headrace access token NAME')}")


@command.command()
@click.argument("name")
@click.argument("role")
@env_option
def grant(name: str, role: str, env: str | None) -> None:
    """Give somebody a role, such as governance, ml_engineer or admin."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        workspace.access.grant(name, role)
        where = workspace.configured.name
        doubt = _doubt(workspace, role)
    if doubt:
        say(doubt)
    say(f"{name} holds {role} in {where}. Next: {bold(f'headrace access token {name} --env {where}')}")


@command.command()
@click.argument("name")
@click.argument("role", required=False)
@click.option("--tokens", is_flag=True, help="End every token of this person.")
@env_option
def revoke(name: str, role: str | None, tokens: bool, env: str | None) -> None:
    """Take a role away, or end somebody's tokens."""
    from headrace.workspace.workspace import open_workspace

    if not role and not tokens:
        raise click.UsageError("Name a role, or --tokens.")
    with open_workspace(env) as workspace:
        if role:
            workspace.access.revoke(name, role)
            say(f"{name} does not hold {role} any more.")
        if tokens:
            say(f"{workspace.access.revoke_tokens(name)} tokens of {name} are ended.")


@command.command()
@click.argument("name")
@env_option
def token(name: str, env: str | None) -> None:
    """Make a token by which somebody is known, printed once; it goes into HEADRACE_TOKEN."""
    from headrace.access.names import BOOTSTRAP
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        made = workspace.access.token(name)
        me = workspace.access.me(enrolling=True).name
    put(made)
    say(f"Shown once. {name} types: export HEADRACE_TOKEN=…")
    if me not in (BOOTSTRAP, name):
        say(f"{me} made it, so neither of {me} and {name} can approve what the other one asks for.")


def _doubt(workspace: Workspace, role: str) -> str:
    """What is odd about a role: no gate of the project asks for it, and Headrace does not know it itself."""
    from headrace.access.rights import ROLES
    from headrace.deployment.declarations import Deployment

    try:
        deployments = workspace.project.all(Deployment)
    except HeadraceError:  # a program that cannot be loaded asks for nothing that can be known
        return ""
    asked = {role for each in deployments for gate in each.gates for role in gate.roles}
    known = sorted({*ROLES, *asked})
    if role in known:
        return ""
    near = difflib.get_close_matches(role, known, n=1)
    said = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(map(repr, known))}."
    env = workspace.configured.name
    return (
        f"No gate of the project asks for the role {role!r}: {said} "
        f"To take it back: headrace access revoke NAME {role} --env {env}"
    )
