"""The table of rights holds the commands, all of them and nothing else, and the page tells the same."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

import headrace.operations
from headrace.access.rights import OPERATIONS, ROLES, roles
from headrace.cli.commands import Commands
from headrace.cli.main import cli
from headrace.cli.output import env_option, wrong
from headrace.core.errors import RefusedError
from headrace.operations.operation import At, operation

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
            if found.invoke_without_command:  # a command of its own, too
                yield " ".join((*words, name)), found
        else:
            yield " ".join((*words, name)), found


def test_every_command_has_its_right_and_every_right_its_command():
    commands = dict(leaves(cli))
    for right in OPERATIONS:
        name = next(each for each in commands if right == each or right.startswith(f"{each} "))
        rest = right.removeprefix(name).split()
        known = {opt for each in commands[name].params for opt in (*each.opts, each.human_readable_name)}
        assert not rest or rest[0] in known, right

    assert set(commands) <= set(OPERATIONS)


def operations():
    """Every function of every module of operations that is called as one, by the name of its right."""
    named = {}
    home = Path(headrace.operations.__file__).parent
    for path in sorted(home.rglob("*.py")):
        inside = path.relative_to(home).with_suffix("").parts
        module = import_module(".".join(("headrace.operations", *(part for part in inside if part != "__init__"))))
        for function in vars(module).values():
            if isinstance(name := getattr(function, "operation", None), str):
                named.setdefault(name, set()).add(function.__module__)
    return named


def test_every_right_that_touches_an_environment_has_its_operation_and_every_operation_its_right():
    named = operations()
    missing = {
        name for name, right in OPERATIONS.items() if right.does != "local" and not named.keys() & prefixes(name)
    }

    assert missing == set()
    assert named.keys() - OPERATIONS.keys() == set()


def prefixes(name):
    """`run retrain --force` is a right of the operation `run retrain`."""
    words = name.split()
    return {" ".join(words[:count]) for count in range(1, len(words) + 1)}


def test_an_operation_without_a_right_does_not_run(tmp_path, monkeypatch):
    @operation("forgotten")
    def forgotten(workspace):
        pytest.fail("it ran")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match="its right is not declared"):
        forgotten(At())


def test_in_the_lowest_environment_an_operation_takes_more_roles():
    assert set(roles("run score --version N", lowest=True)) - set(roles("run score --version N")) == {"data_scientist"}


def test_who_may_not_end_an_alert_may_not_take_its_rule():
    for lowest in (True, False):
        assert roles("query alert", lowest=lowest) == roles("alert resolve", lowest=lowest)
    assert not OPERATIONS["query alert"].any_role


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
