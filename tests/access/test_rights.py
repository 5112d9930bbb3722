"""The table of rights holds the commands, all of them and nothing else, and the page tells the same."""

import re
from pathlib import Path

import click
import pytest

from headrace.access.rights import OPERATIONS, ROLES, roles
from headrace.cli.commands import Commands
from headrace.cli.guard import guarded
from headrace.cli.main import cli
from headrace.cli.output import env_option, wrong

PAGE = Path(__file__).parent.parent.parent / "docs" / "access.md"


@click.command()
@env_option
def refuse(env):
    """Says as errors do."""
    wrong(f"eve may not `headrace run refresh` in {env}")
    wrong("`headrace request list` shows the open ones.")


def leaves(group, words=()):
    """Every command below a group, by its words."""
    assert isinstance(group, Commands), words
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        if isinstance(found, click.Group):
            yield from leaves(found, (*words, name))
        else:
            yield " ".join((*words, name)), found


def test_every_command_has_its_right_and_every_right_its_command():
    commands = dict(leaves(cli))
    for operation in OPERATIONS:
        name = next(each for each in commands if operation == each or operation.startswith(f"{each} "))
        rest = operation.removeprefix(name).split()
        known = {opt for each in commands[name].params for opt in (*each.opts, each.human_readable_name)}
        assert not rest or rest[0] in known, operation

    assert set(commands) <= set(OPERATIONS)


def test_a_command_without_a_right_does_not_run():
    @click.command(name="forgotten")
    def forgotten():
        pytest.fail("it ran")

    group = Commands("headrace", commands={"forgotten": forgotten})
    with pytest.raises(Exception, match="its right is not declared"):
        group.main(["forgotten"], standalone_mode=False)
    assert guarded(forgotten).callback is not forgotten.callback


def test_only_a_group_that_guards_lets_a_command_run():
    ctx = click.Context(cli, info_name="headrace")
    _, status, _ = cli.resolve_command(ctx, ["status"])
    assert status.callback is not cli.get_command(ctx, "status").callback


def test_in_the_lowest_environment_an_operation_takes_more_roles():
    assert set(roles("run score --version N", lowest=True)) - set(roles("run score --version N")) == {"data_scientist"}


def test_a_refusal_names_the_operation_as_it_is_and_a_next_step_with_its_environment(capsys):
    refuse.main(["--env", "prod"], standalone_mode=False)
    told = capsys.readouterr().err
    assert "may not `headrace run refresh` in prod" in told
    assert "`headrace request list --env prod` shows" in told


def test_the_page_says_who_may_do_what():
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", PAGE.read_text(), re.MULTILINE))
    assert set(told) == set(ROLES)
    for role in set(ROLES) - {"admin"}:
        listed, _, lowest = told[role].partition("; in the lowest environment: ")
        assert re.findall(r"`(.+?)`", listed) == [name for name, right in OPERATIONS.items() if role in right.roles]
        assert re.findall(r"`(.+?)`", lowest) == [name for name, right in OPERATIONS.items() if role in right.lowest]
    assert [name for name, right in OPERATIONS.items() if right.roles and "admin" not in right.roles] == []
