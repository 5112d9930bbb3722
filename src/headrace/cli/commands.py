"""Groups of commands, which suggest the nearest command for a misspelt one."""

from __future__ import annotations

import copy
import difflib
from functools import wraps
from typing import cast

import click

from headrace.cli.output import WIDTH


class Commands(click.Group):
    """A group that lists its commands as they are declared, each with its whole first sentence, and knows misspelt ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of their declaration."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """One line each, not cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=WIDTH)) for name, each in self.commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, which takes texts that are texts; suggests the nearest one for one that is not there."""
        try:
            name, found, rest = super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"`{ctx.command_path} --help` lists the commands."
            raise click.UsageError(f"no command {args[0]!r}: {hint}", ctx) from error
        return name, found if found is None or isinstance(found, click.Group) else checked(found), rest


def checked(command: click.Command) -> click.Command:
    """The same command, whose body runs only with texts that are texts."""
    body = command.callback
    if body is None:
        return command
    made = copy.copy(command)

    @wraps(body)
    def callback(*arguments: object, **parameters: object) -> object:
        _check_texts(click.get_current_context())
        return body(*arguments, **parameters)

    made.callback = callback
    return made


def _check_texts(ctx: click.Context) -> None:
    """Refuses bytes that are no text where a text is expected: no database could keep them."""
    for each in ctx.command.params:
        value = ctx.params.get(each.name or "")
        for text in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise click.BadParameter(f"{text!r} is not UTF-8.", ctx, each)
