"""The format of output: aligned tables and JSON on stdout, one line a step on stderr, colours only on a terminal.

The command line prints only through `_put`, which escapes text from others (a reason, a name, a value), so that it
cannot control a terminal. Headrace's own styling carries a mark that differs in each process and so cannot be forged.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from headrace.core import logs
from headrace.core.text import visible
from headrace.operations.record import plain

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.operations.job import StepOutcome
    from headrace.operations.record import Record

Function = TypeVar("Function", bound=Callable[..., object])
Row = Mapping[str, object]

WIDTH = 120  # columns of a table off a terminal
NARROWEST = 12  # characters of a value that a column always has room for
GAP = "  "
BOLD, RED, GREEN, GREY = 1, 31, 32, 90  # of ANSI
HUNDREDS, LARGEST = 1e4, 1e15  # between them six digits are less than two after the point
PROGRESS = 10.0  # seconds between two lines of progress off a terminal
MARK = f"\x00{secrets.token_hex(8)}:"  # begins our own styling, until it is printed
STYLE = re.compile(f"{MARK}([0-9;]+)m")
NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?")

COMMAND = re.compile(
    r"headrace (?:(?:run|model|traffic|request|alert|monitor|schedule|table|feature|runs|access|env|api-key|llm|query|dashboard) [a-z-]+|status|serve|gateway|audit|up|sql)\b(?! \()"
    r"(?!` (?:runs )?in\b)"  # the name of an operation, in an environment that is said
)
_asked: ContextVar[str | None] = ContextVar("asked", default=None)  # the environment that --env named


def _remember(_: click.Context, __: click.Parameter, env: str | None) -> str | None:
    _asked.set(env)
    return env


env_option = click.option(
    "--env", default=None, metavar="ENV", callback=_remember, help="Environment; default: the lowest one (dev)."
)
log_format_option = click.option(
    "--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True, help="Of the lines on stderr."
)
log_level_option = click.option(
    "--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True, help="The least that is logged."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def emit(answer: Record | Sequence[Record] | Json) -> None:
    """Prints one JSON document on stdout: what an operation has returned, as it is, or its rows."""
    text = json.dumps(plain(answer), indent=2, ensure_ascii=False, allow_nan=False)
    _write(text if text.isprintable() else "".join(map(_in_json, text)))


def _in_json(character: str) -> str:
    r"""JSON itself escapes only C0; whatever else is not seen stands within a text, and is the same text as `\\uXXXX`."""
    return character if visible(character) == character else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def put(text: str = "") -> None:
    """A line of the answer, on stdout."""
    _put(text)


def _put(text: str, *, err: bool = False) -> None:
    """The one exit of text."""
    told: list[str] = []
    end = 0
    for found in STYLE.finditer(text):
        told += [visible(text[end : found.start()]), f"\x1b[{found[1]}m"]
        end = found.end()
    _write("".join((*told, visible(text[end:]))), err=err)


def _write(text: str, *, err: bool = False, end: str = "\n") -> None:
    click.echo(f"{text}{end}", err=err, nl=False)


def _styled(text: str, code: int) -> str:
    return f"{MARK}{code}m{text}{MARK}0m"


def ask(question: str) -> str:
    """What a person types, asked on stderr."""
    return click.prompt(visible(question), default="", show_default=False, err=True)


def confirm(question: str) -> bool:
    """Whether a person says yes, asked on stderr; default: no."""
    return click.confirm(visible(question), default=False, err=True)


def table(
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    *,
    empty: str = "nothing yet",
    data: bool = False,
) -> None:
    """Prints rows as an aligned table on stdout, as wide as the terminal (120 columns elsewhere); numbers to the right.

    Args:
        rows: what to print.
        columns: chooses and orders.
        empty: said on stderr when there are no rows.
        data: the rows are the user's own: numbers are shown as they are, without separators of thousands.
    """
    if not rows:
        say(empty)
        return
    names = list(columns or rows[0])
    texts = [[_line(visible(show(row.get(name), data=data))) for name in names] for row in rows]
    titles = [_line(visible(name)) for name in names]
    numeric = [_numeric([line[i] for line in texts]) for i in range(len(names))]
    wanted = [max(len(title), *(len(line[i]) for line in texts)) for i, title in enumerate(titles)]
    least = [_least(title, each) for title, each in zip(titles, wanted, strict=True)]
    if sum(least) + len(GAP) * (len(names) - 1) > width():
        _records(titles, texts)
        return
    widths = fit(wanted, least, width())

    def line(cells: Sequence[str]) -> list[str]:
        shown = [_cut(cell, room) for cell, room in zip(cells, widths, strict=False)]
        return [
            cell.rjust(room) if right else cell.ljust(room)
            for cell, room, right in zip(shown, widths, numeric, strict=False)
        ]

    put(bold(GAP.join(line(titles)).rstrip()))
    for cells in texts:
        put(GAP.join(line(cells)).rstrip())


def _records(titles: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    """Rows that are too wide for a line each: `column  value` below each other, a blank line between two rows."""
    room = max(len(title) for title in titles)
    for number, cells in enumerate(texts):
        if number:
            put()
        for title, cell in zip(titles, cells, strict=True):
            put(f"{bold(title.ljust(room))}{GAP}{cell}")


def _least(name: str, wanted: int) -> int:
    """How narrow a column may become: its name is whole, and so much of its values can be told apart."""
    return min(wanted, max(len(name), NARROWEST))


def fit(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns so that a line fits: the widest give way first, none below what it has to have."""
    widths = list(wanted)
    while sum(widths) + len(GAP) * (len(widths) - 1) > room:
        loose = [i for i, each in enumerate(widths) if each > least[i]]
        if not loose:
            break
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return widths


def width() -> int:
    """How many columns a line of stdout may have."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, 40) if sys.stdout.isatty() else WIDTH


def facts(found: Row) -> None:
    """Prints names and values below each other on stdout, each whole; empty ones are left out."""
    kept = {name.replace("_", " "): show(value) for name, value in found.items() if value not in (None, "", [], {})}
    told = {visible(name): visible(value) for name, value in kept.items()}
    room = max((len(name) for name in told), default=0)
    below = f"\n{' ' * (room + len(GAP))}"  # a second line of a value does not look like a fact of its own
    for name, value in told.items():
        put(f"{name.ljust(room)}{GAP}{value.replace(chr(10), below)}")


def heading(text: str) -> None:
    """A line above a part of the answer, on stdout."""
    put(bold(text))


def _numeric(texts: Sequence[str]) -> bool:
    said = [text for text in texts if text != "-"]
    return bool(said) and all(NUMBER.fullmatch(text) for text in said)


def _line(text: str) -> str:
    first, *more = text.splitlines() or [""]
    return f"{first}…" if more else first


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def show(value: object, *, data: bool = False) -> str:
    """A value as a person reads it: thousands separated, four decimals, instants to the second (Z is UTC), - for none."""
    if value is None:
        return "-"
    if value != value:  # noqa: PLR0124  # NaN, or pandas' NaT
        return "NaN" if data and isinstance(value, float) else "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if data else f"{value:,}"
    if isinstance(value, float):
        return _digits(value) if data else f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}{'' if value.tzinfo is None else 'Z' if not value.utcoffset() else f'{value:%z}'}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return ", ".join(show(item, data=data) for item in cast("Sequence[object]", value)) or "-"
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return ", ".join(f"{key}={show(item, data=data)}" for key, item in items) or "-"
    return str(value)


def _digits(value: float) -> str:
    """Six digits, and of large numbers two after the point: an amount of 1234567.89 is not 1.23457e+06."""
    if not HUNDREDS <= abs(value) < LARGEST:
        return f"{value:.6g}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def say(text: str = "") -> None:
    """Talk, on stderr. Commands in it are of the environment that was asked for. When nobody listens any more, silence."""
    try:
        _put(_located(text), err=True)
    except BrokenPipeError:  # `… 2>&1 | head`: the work goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _located(text: str) -> str:
    env = _asked.get()
    if env is None or "--env" in text:
        return text
    return COMMAND.sub(lambda found: f"{found[0]} --env {env}", text)


def colourful(stream: IO[str]) -> bool:
    """Whether a stream is a terminal whose user has not refused colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def bold(text: str) -> str:
    """Bold on a terminal, the same text elsewhere."""
    return _styled(text, BOLD) if colourful(sys.stdout) else text


def wrong(text: str) -> None:
    """What went wrong, on stderr."""
    say(f"{_styled('✗', RED) if colourful(sys.stderr) else '✗'} {text}")


def complain(text: str) -> None:
    """Lines on stderr, as they are."""
    _put(text, err=True)


def misused(error: click.ClickException) -> None:
    """What is wrong with a command as it was typed, which the message repeats, on stderr."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is not None:
        _put(ctx.get_usage(), err=True)
        _put(f"Try '{ctx.command_path} {ctx.help_option_names[0]}' for help.\n", err=True)
    _put(f"Error: {error.format_message()}", err=True)


class Story:
    """Prints one line for each finished step of a run: mark, name, what it did, seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}
        self.remarks: set[str] = set()  # those that were printed
        self.pipeline = ""
        self._moving = False  # the last line is one of progress
        self._terminal = sys.stderr.isatty()  # now: while a step runs, stderr is read for the run's log
        self._said = 0.0

    def begin(self, pipeline: str) -> None:
        """A heading; the steps that follow belong to it."""
        self.pipeline, self._said = pipeline, time.monotonic()
        if not self.quiet:
            say(_styled(pipeline, BOLD) if colourful(sys.stderr) else pipeline)

    def tell(self, outcome: StepOutcome[Any]) -> None:
        """One step."""
        self.settle()
        step = f"{self.pipeline}: {outcome.name}"
        self.seconds[step] = round(self.seconds.get(step, 0.0) + outcome.seconds, 2)
        if self.quiet:
            return
        figure = _cut(_line(visible(outcome.summary)), 60)
        mark, colour = ("✓", GREEN) if outcome.state == "done" else ("·", GREY)
        when = f"{outcome.seconds:6.1f} s" if outcome.state == "done" else "unchanged"
        shown = _styled(mark, colour) if colourful(sys.stderr) else mark
        say(f"  {shown} {_cut(visible(outcome.name), 40):<34} {figure:<60} {when:>9}".rstrip())
        for remark in outcome.remarks:
            if remark not in self.remarks:
                self.remarks.add(remark)
                say(f"    {remark}")

    def note(self, name: str, what: str) -> None:
        """Something that was done and is no step of a run."""
        if not self.quiet:
            mark = _styled("✓", GREEN) if colourful(sys.stderr) else "✓"
            say(f"  {mark} {_cut(visible(name), 40):<34} {_cut(_line(visible(what)), 60)}".rstrip())

    def progress(self, text: str) -> None:
        """How far a step is: on a terminal a line that changes, elsewhere one now and then."""
        if self.quiet:
            return
        if self._terminal:
            self._moving = True
            _write(f"\r  … {_cut(_line(visible(text)), width() - 6)}\x1b[K", err=True, end="")
        elif time.monotonic() - self._said >= PROGRESS:
            self._said = time.monotonic()
            say(f"  … {text}")

    def settle(self) -> None:
        """Takes a line of progress away, so that something else can be said."""
        if self._moving:
            self._moving = False
            _write("\r\x1b[K", err=True, end="")
