"""Groups of commands."""

from __future__ import annotations

import difflib

import click

from headrace.cli.guard import checked, guarded
from headrace.cli.output import WIDTH

CONVERTED_GROUPS = {
    "run",
    "request",
    "traffic",
    "alert",
    "access",
    "api-key",
    "env",
    "serve",
    "up",
    "audit",
    "doctor",
    "feature",
    "model",
    "runs",
    "sql",
    "status",
    "table",
}


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
        """The command, held against the table of rights; suggests the nearest one for one that is not there."""
        try:
            name, found, rest = super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"`{ctx.command_path} --help` lists the commands."
            raise click.UsageError(f"no command {args[0]!r}: {hint}", ctx) from error
        if found is None or isinstance(found, click.Group):
            return name, found, rest
        top = (ctx.info_name if ctx.parent else name) or ""
        return name, checked(found) if top in CONVERTED_GROUPS else guarded(found), rest
