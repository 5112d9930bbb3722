"""`--param`: the values of the placeholders of a SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.operations.saved_queries import Parameter, ParameterKind

param_option = click.option(
    "--param",
    multiple=True,
    metavar="NAME[:KIND][=VALUE]",
    help="The value of a placeholder :NAME, as text, number or date; can be given several times. Default kind: text.",
)


def parameters(given: Iterable[str]) -> list[Parameter]:
    """What `day:date=2026-01-31` declares; without a kind, it is a text, and without a value it has no default."""
    from headrace.operations.saved_queries import Parameter

    made: list[Parameter] = []
    for each in given:
        names, equals, value = each.partition("=")
        name, _, kind = names.partition(":")
        chosen = cast("ParameterKind", kind or "text")
        made.append(Parameter(name=_name(name, each), kind=chosen, default=value if equals else None))
    return made


def texts(given: Iterable[str]) -> dict[str, str]:
    """Name → value, of `day=2026-01-31`: the saved query says of which kind it is."""
    pairs = {_name(name, each): value for each in given for name, equals, value in [each.partition("=")] if equals}
    for each in given:
        if "=" not in each:
            raise click.UsageError(f"--param {each!r} has no value. Write --param {each}=VALUE")
    return pairs


def _name(name: str, given: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise click.UsageError(f"--param {given!r} names no parameter. Write --param NAME=VALUE")
    return name.lower()
