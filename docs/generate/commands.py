"""Commands, with their arguments, options and the roles that may run them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

import click
from docs.generate.docstrings import cell, markdown, table

from headrace.access.rights import OPERATIONS
from headrace.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.access.rights import Right

ARGUMENTS = {  # click has no help for them: by the words of a command, or its first word
    "run ingest-log": {"places": "folders or files with the logs of other servers, one JSON record a line"},
    "init": {
        "name": "the name of the project, its folder and its package: letters from a to z, digits and underscores"
    },
    "serve": {"model": "the name of the model; may be left out when the project has one deployment"},
    "table": {"name": "the table, `schema.table`", "file": "a CSV, JSONL or Parquet file"},
    "table profile": {"rows": "a table, `schema.table`, a CSV, JSONL or Parquet file, or a SELECT"},
    "table drift": {
        "reference": "the rows to compare with: a table, `schema.table`, a CSV, JSONL or Parquet file, or a SELECT",
        "current": "the rows that are compared: a table, a file or a SELECT",
    },
    "feature": {"name": "the feature table, `schema.table`"},
    "feature search": {
        "text": "words, each of which must occur in the name, the description, the owner, a column or the project"
    },
    "model search": {
        "text": "words, each of which must occur in the name, the description, the owner, a feature or the project"
    },
    "model": {
        "name": "the name of the model",
        "a": "the number of version A, usually the earlier one",
        "b": "the number of version B",
        "rows": "a table, `schema.table`, a CSV, JSONL or Parquet file, or a SELECT",
        "source": "a model of MLflow, a folder or a file; see above",
    },
    "traffic": {"model": "the name of the model", "version": "the number of the version"},
    "request": {"request": "the number of the request, as `headrace request list` shows it"},
    "feedback": {"model": "the name of the model", "table_": "the table that is written, `schema.table`"},
    "trace": {"trace": "the id of the prediction, or that of its request"},
    "monitor": {"model": "the name of the model"},
    "alert": {"alert": "the number of the alert, as `headrace alert list` shows it"},
    "sql": {"text": "one SELECT"},
    "dashboard": {"name": "the name of the dashboard"},
    "query": {"name": "the name of the saved query", "text": "one SELECT"},
    "runs": {"run": "the id of the run, or the beginning of it"},
    "access": {"name": "the name of the person or program", "role": "the role"},
    "release": {"tag": "the tag of the release", "version": "the version, `1.2.0`, or the whole tag"},
    "release keygen": {"name": "what the project calls the key: `ci`"},
    "ci report": {"file": "the JSON report that `headrace test integration --output FILE` wrote"},
    "env compare": {
        "one": "an environment; defaults to the one below the highest",
        "other": "another one; defaults to the highest",
    },
    "api-key": {"name": "the name of the API key"},
}


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        path: the words that call it, without `headrace`.
        command: of click.
    """

    path: tuple[str, ...]
    command: click.Command

    @property
    def name(self) -> str:
        """`model compare`."""
        return " ".join(self.path)

    @property
    def arguments(self) -> dict[str, str]:
        """Each argument as the usage shows it, and its meaning; empty where it has none."""
        known = {**ARGUMENTS.get(self.path[0], {}), **ARGUMENTS.get(self.name, {})}
        return {
            each.make_metavar(click.Context(self.command)).strip("[]."): known.get(each.name or "", "")
            for each in self.command.params
            if isinstance(each, click.Argument)
        }

    @property
    def options(self) -> list[click.Option]:
        """The options that help shows, without `--help`."""
        return [each for each in self.command.params if isinstance(each, click.Option) and not each.hidden]


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[Command]:
    """Every command and every group of commands, in the order of help."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield Command((*path, name), command)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def undescribed() -> list[str]:
    """Commands, arguments and options without help."""
    found: list[str] = []
    for each in commands():
        if not each.command.help:
            found.append(each.name)
        found += [f"{each.name} {name}" for name, text in each.arguments.items() if not text]
        found += [f"{each.name} {option.opts[-1]}" for option in each.options if not option.help]
    return found


def stale() -> list[str]:
    """Described arguments that no command takes."""
    taken = {
        (words, each.name)
        for command in commands()
        for words in (command.path[0], command.name)
        for each in command.command.params
        if isinstance(each, click.Argument)
    }
    return [f"{words} {name}" for words, names in ARGUMENTS.items() for name in names if (words, name) not in taken]


def _option(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    record = option.get_help_record(ctx)
    assert record is not None
    names, text = record
    return f"`{names}`".replace("|", "\\|"), cell(re.sub(r"\[", r"\[", text))


def _described(help_text: str) -> str:
    """Help as Markdown: a paragraph that click is told not to wrap keeps its lines."""
    blocks = cleandoc(help_text).split("\n\n")
    return "\n\n".join(
        f"```text\n{block.removeprefix(chr(8)).strip(chr(10))}\n```" if block.startswith("\b") else markdown(block)
        for block in blocks
    )


def _section(each: Command, level: int) -> list[str]:
    ctx = click.Context(each.command, info_name=f"headrace {each.name}")
    blocks = [f"{'#' * level} headrace {each.name}", _described(each.command.help or "")]
    if isinstance(each.command, click.Group):
        return blocks
    usage = " ".join(each.command.collect_usage_pieces(ctx))
    blocks.append(f"```text\nheadrace {each.name} {usage}\n```")
    if each.arguments:
        blocks.append(
            table(("Argument", "Meaning"), [(f"`{name}`", cell(text)) for name, text in each.arguments.items()])
        )
    if each.options:
        blocks.append(table(("Option", "Meaning"), [_option(option, ctx) for option in each.options]))
    return [*blocks, *_rights(each.name)]


def _rights(name: str) -> Iterator[str]:
    """The roles that a command takes, and those that an option or an argument of it takes."""
    for words, right in OPERATIONS.items():
        if right.does == "changes" and (words == name or words.startswith(f"{name} ")):
            option = words.removeprefix(name).strip()
            yield f"Roles{f' with `{option}`' if option else ''}: {_roles(right)}."


def _roles(right: Right) -> str:
    roles = ", ".join(f"`{role}`" for role in right.roles) or "a role that the request asks for"
    lowest = ", ".join(f"`{role}`" for role in right.lowest)
    return f"{roles}; in the lowest environment also {lowest}" if lowest else roles


def pages() -> dict[str, str]:
    """A page for each first word, by that word, and the page that lists all commands as `index`."""
    blocks: dict[str, list[str]] = {}
    for each in commands():
        known = blocks.setdefault(each.path[0], [])
        known += _section(each, len(each.path))
    head = (
        "# Commands\n\nExit codes: 0 success, 1 a check failed, 2 wrong usage, 3 refused or waiting for approval. The page "
        "[cli](../../cli.md) says what all commands have in common. `-h` or `--help` shows this help on the terminal."
    )
    rows = [(f"[`headrace {name}`]({name}.md)", cell(text)) for name, text in COMMANDS.items()]
    found = {name: "\n\n".join(parts) for name, parts in blocks.items()}
    return {"index": f"{head}\n\n{table(('Command', 'Purpose'), rows)}", **found}
