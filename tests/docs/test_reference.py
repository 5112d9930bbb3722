"""Everything that users meet has a description in the generated reference, and nothing else has one.

This folder has no `__init__.py`: with one, `docs` would be this folder, and the generator could not be imported.
"""

import re

import pytest
from docs.generate import columns, commands, events, layout, metrics, names, settings

from headrace.access.rights import OPERATIONS
from headrace.core.channels.registry import KINDS
from headrace.environments.keys import POLICY_KEYS

HR = names.hr_names()
PROTOCOLS = names.protocol_names()
SESSION = names.session_names()


@pytest.mark.parametrize("name", HR)
def test_a_public_name_says_what_it_takes_what_is_the_default_and_what_it_returns(name):
    assert list(names.undescribed(name, HR[name])) == []
    assert list(names.stale(name, HR[name])) == []
    assert "unless said" not in names.page(name, HR[name]).lower()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_name_of_the_protocols_says_what_it_takes(name):
    assert list(names.undescribed(name, PROTOCOLS[name])) == []
    assert list(names.stale(name, PROTOCOLS[name])) == []


@pytest.mark.parametrize("name", SESSION)
def test_a_class_of_the_session_describes_its_methods(name):
    assert list(names.undescribed(name, SESSION[name], constructed=False)) == []
    assert list(names.stale(name, SESSION[name])) == []


def test_every_setting_has_a_meaning_and_a_default():
    known = settings.settings()

    assert len(known) > 30
    assert [f"{each.section}.{each.key}" for each in known if not (each.meaning.strip() and each.default.strip())] == []
    assert {f'env.<env>.notify.<channel>, kind = "{kind}"' for kind in KINDS} <= {each.section for each in known}


def test_every_variable_of_headrace_is_described():
    described = {name for name in settings.VARIABLES if name.startswith("HEADRACE_") and "<" not in name}

    assert settings.own_variables() == described


def test_every_command_argument_and_option_has_help():
    assert commands.undescribed() == []
    assert commands.stale() == []


def test_a_command_shows_the_roles_that_its_options_and_arguments_take():
    pages = layout.reference()
    narrower = [
        (name, words)
        for words in OPERATIONS
        for name in OPERATIONS
        if words.startswith(f"{name} ") and OPERATIONS[words].roles
    ]
    assert len(narrower) >= 5
    for name, words in narrower:
        section = (
            pages[f"reference/commands/{name.split()[0]}.md"].partition(f"# headrace {name}\n")[2].partition("\n#")[0]
        )
        assert f"Roles with `{words.removeprefix(name).strip()}`: `{OPERATIONS[words].roles[0]}`" in section


def test_the_keys_that_are_called_the_policy_are_those():
    count = int(re.search(r"The first (\d+) keys are the \*policy\*", settings.page())[1])
    keys = [each.key for each in settings.settings() if each.section == "env.<env>"]
    assert keys[:count] == list(POLICY_KEYS)


@pytest.mark.parametrize("what", ["events", "audit"])
def test_every_event_and_every_audit_entry_is_described(what):
    assert len(events.names(what)) > 20
    assert events.undescribed(what) == []
    assert events.stale(what) == []


def test_every_metric_and_label_is_described():
    assert metrics.undescribed() == []
    assert metrics.stale() == []


def test_every_stored_column_is_described():
    assert columns.undescribed() == []
    assert columns.stale() == []


def test_every_name_command_setting_event_metric_and_column_is_on_a_page():
    pages = layout.reference()

    assert {f"reference/python/{name}.md" for name in HR} <= pages.keys()
    assert [name for name in PROTOCOLS if f"## hr.protocols.{name}" not in pages["reference/python/protocols.md"]] == []
    assert [name for name in SESSION if f"## {name}\n" not in pages["reference/session.md"]] == []
    for command in commands.commands():
        assert f"# headrace {command.name}\n" in pages[f"reference/commands/{command.path[0]}.md"]
    assert [each.key for each in settings.settings() if f"`{each.key}`" not in pages["reference/settings.md"]] == []
    written = [*events.names("events"), *events.names("audit")]
    assert [name for name in written if f"| `{name}` |" not in pages["reference/events.md"]] == []
    assert [each.name for each in metrics.metrics() if f"`{each.name}`" not in pages["reference/metrics.md"]] == []
    for table, several in columns.stored_columns().items():
        assert f"### {table}".replace("<", "&lt;") in pages["reference/columns.md"]
        assert [name for name in several if f"| `{name}` |" not in pages["reference/columns.md"]] == []


def test_pages_of_names_differ_in_more_than_case():
    assert len({name.lower() for name in HR}) == len(HR)


# ------------------------------------------------------------------------------ the checks find what is missing


def grow(rate, *, cap=1.0):
    """Grows.

    Args:
        rate: a share.
        limit: what `cap` was called before.

    Example:
        A plant in spring:

        >>> grow(0.5)  # doctest: +ELLIPSIS
        1.5
    """
    return min(cap, 1 + rate)


class Plant:
    """A plant.

    Attributes:
        height: in metres.
    """

    def __init__(self, seed):
        self.seed = seed

    def water(self, litres):
        pass


def test_missing_and_stale_descriptions_are_found():
    assert list(names.undescribed("grow", grow)) == ["grow(cap)", "grow → what it returns"]
    assert list(names.stale("grow", grow)) == ["grow(limit)"]
    assert list(names.undescribed("Plant", Plant)) == ["Plant(seed)", "Plant.water", "Plant.water(litres)"]
    assert list(names.stale("Plant", Plant)) == ["Plant.height"]


def test_an_example_is_a_block_of_code():
    page = names.page("grow", grow)

    assert "**Example**\n\nA plant in spring:\n\n```pycon\n>>> grow(0.5)\n1.5\n```" in page
    assert "```python\nhr.grow(rate, *, cap=1.0)\n```" in page
