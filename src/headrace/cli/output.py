"""How answers look: aligned tables and JSON on stdout, one line a step on stderr, colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from headrace.jobs.run import Outcome

Function = TypeVar("Function", bound=Callable[..., object])

WIDEST = 60  # characters of a cell; the whole text is in --json

env_option = click.option("--env", default=None, metavar="ENV", help="Environment; the lowest (dev) unless said.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def emit(value: object) -> None:
    """Prints one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def table(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None, *, empty: str = "nothing yet"
) -> None:
    """Prints rows as an aligned table on stdout; numbers to the right. `columns` chooses and orders."""
    if not rows:
        say(empty)
        return
    names = list(columns or rows[0])
    cells = [[_short(show(row.get(name))) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(name), int | float) or row.get(name) is None for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    click.echo("  ".join(bold(_pad(name, widths[i], right=numeric[i])) for i, name in enumerate(names)).rstrip())
    for line in cells:
        click.echo("  ".join(_pad(cell, widths[i], right=numeric[i]) for i, cell in enumerate(line)).rstrip())


def _short(text: str) -> str:
    line, *more = text.splitlines() or [""]
    return f"{line[: WIDEST - 1]}…" if more or len(line) > WIDEST else line


def _pad(text: str, width: int, *, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def show(value: object) -> str:
    """A value as a person reads it: thousands separated, four significant decimals, instants to the second, - for none."""
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{key}={show(item)}" for key, item in value.items()) or "-"
    return str(value)


def say(text: str = "") -> None:
    """Talk, on stderr."""
    click.echo(text, err=True)


def colourful() -> bool:
    """Whether stderr is a terminal whose user has not refused colours."""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def bold(text: str) -> str:
    """Bold on a terminal, the same text elsewhere."""
    return click.style(text, bold=True) if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


class Story:
    """Prints one line for each finished step of a run: mark, name, what it did, seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}
        self.pipeline = ""

    def begin(self, pipeline: str) -> None:
        """A heading; the steps that follow belong to it."""
        self.pipeline = pipeline
        if not self.quiet:
            say(click.style(pipeline, bold=True) if colourful() else pipeline)

    def tell(self, outcome: Outcome) -> None:
        """One step."""
        self.seconds[f"{self.pipeline}: {outcome.name}"] = round(outcome.seconds, 2)
        if self.quiet:
            return
        figure = _short(str(outcome.output.get("says", "")))
        mark, colour = ("✓", "green") if outcome.state == "done" else ("·", "bright_black")
        when = f"{outcome.seconds:6.1f} s" if outcome.state == "done" else "unchanged"
        say(
            f"  {click.style(mark, fg=colour) if colourful() else mark} {outcome.name:<34} {figure:<60} {when:>9}".rstrip()
        )
