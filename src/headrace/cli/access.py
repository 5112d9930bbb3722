"""`headrace access me|list|bootstrap|grant|revoke|token`."""

from __future__ import annotations

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, json_option, put, say, table


@click.group(name="access", cls=Commands)
def command() -> None:
    """Who may do what in an environment."""


@command.command()
@env_option
@json_option
def me(env: str | None, as_json: bool) -> None:
    """Who you are here, and the roles that you hold."""
    from headrace.operations.access import current_caller
    from headrace.operations.operation import At

    caller = current_caller(At(env=env))
    shown = caller.to_json()
    if as_json:
        emit(caller)
    else:
        facts(shown if caller.simulated else {name: shown[name] for name in ("name", "roles")})


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Every role that was granted."""
    from headrace.operations.access import list_grants
    from headrace.operations.operation import At

    grants = list_grants(At(env=env))
    if as_json:
        emit(grants)
    else:
        shown = [{**vars(grant), "name": grant.label} for grant in grants]
        table(shown, ("name", "role", "by", "at"), empty="nobody was granted a role yet: you are alone, and admin.")


@command.command()
@click.option("--simulated", is_flag=True, help="Whom it enrols is labelled as no real person, for demonstrations.")
@env_option
def bootstrap(simulated: bool, env: str | None) -> None:
    """Make the identity that enrols people, once, before anybody was granted a role; its token is printed once."""
    from headrace.operations import access
    from headrace.operations.operation import At

    put(access.bootstrap(At(env=env), simulated=simulated).token)
    say("Shown once. Who has it enrols people and does nothing else: export HEADRACE_TOKEN=…, then for each of them")
    say(f"{bold('headrace access grant NAME ROLE')} and {bold('headrace access token NAME')}")


@command.command()
@click.argument("name")
@click.argument("role")
@env_option
def grant(name: str, role: str, env: str | None) -> None:
    """Give somebody a role, such as governance, ml_engineer or admin."""
    from headrace.operations.access import grant_role
    from headrace.operations.operation import At

    granted = grant_role(At(env=env), name, role)
    if granted.doubt:
        say(granted.doubt)
    next_step = bold(f"headrace access token {granted.name} --env {granted.env}")
    say(f"{granted.name} holds {granted.role} in {granted.env}. Next: {next_step}")


@command.command()
@click.argument("name")
@click.argument("role", required=False)
@click.option("--tokens", is_flag=True, help="End every token of this person.")
@env_option
def revoke(name: str, role: str | None, tokens: bool, env: str | None) -> None:
    """Take a role away, or end somebody's tokens."""
    from headrace.operations.access import revoke_access
    from headrace.operations.operation import At

    if not role and not tokens:
        raise click.UsageError("Name a role, or --tokens.")
    revoked = revoke_access(At(env=env), name, role or None, tokens=tokens)
    if revoked.role is not None:
        say(f"{revoked.name} does not hold {revoked.role} any more.")
    if revoked.tokens is not None:
        say(f"{revoked.tokens} tokens of {revoked.name} are ended.")


@command.command()
@click.argument("name")
@env_option
def token(name: str, env: str | None) -> None:
    """Make a token by which somebody is known, printed once; it goes into HEADRACE_TOKEN."""
    from headrace.operations.access import create_access_token
    from headrace.operations.operation import At

    created = create_access_token(At(env=env), name)
    put(created.token)
    say(f"Shown once. {name} types: export HEADRACE_TOKEN=…")
    if created.bars_approval:
        say(f"{created.by} made it, so neither of {created.by} and {name} can approve what the other one requests.")
