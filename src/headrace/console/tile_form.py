"""What the forms of the page that changes a dashboard say: a tile, and what stands above all tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from headrace.core.errors import ConfigError
from headrace.operations.dashboards import Tile
from headrace.operations.saved_queries import Chart, Parameter, check_length
from headrace.operations.sql import placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.console.requests import Form
    from headrace.operations.saved_queries import ChartKind, ParameterKind

FIELDS = ("title", "width", "query", "sql", "parameters", "values", "chart", "x", "y", "value")


def tile_of(form: Form) -> Tile:
    """The tile that a form says.

    Raises:
        ConfigError: a line or a number is not possible.
    """
    query, sql, width = form.text("query") or None, form.long("sql").strip() or None, form.text("width") or "12"
    if query and sql:
        raise ConfigError(
            "a tile stands on a saved query or has a SELECT of its own.", hint="Leave one of the two fields empty."
        )
    if not width.isascii() or not width.isdigit() or len(width) > 4:
        raise ConfigError(f"Width: {width[:20]!r} is not from 1 to 12.")
    y = tuple(each.strip() for each in form.text("y").split(",") if each.strip())
    x, value = form.text("x") or None, form.text("value") or None
    kind = form.text("chart")
    return Tile(
        title=form.text("title") or query or "",
        query=query,
        sql=sql,
        parameters=_parameters(sql, form.long("parameters")) if sql else (),
        chart=Chart(kind=cast("ChartKind", kind), x=x, y=y, value=value) if kind else None,
        values=dict(_pair("Values", line) for line in _lines(form.long("values"))),
        width=int(width),
    )


def fields_of(tile: Tile) -> dict[str, str]:
    """A tile as its form shows it."""
    chart = tile.chart or Chart()
    return {
        "title": tile.title,
        "width": str(tile.width),
        "query": tile.query or "" if tile.sql is None else "",
        "sql": tile.sql or "",
        "parameters": "\n".join(map(_written, tile.parameters)),
        "values": "\n".join(f"{name}={text}" for name, text in tile.values.items()),
        "chart": tile.chart.kind if tile.chart else "",
        "x": chart.x or "",
        "y": ", ".join(chart.y),
        "value": chart.value or "",
    }


def sent(form: Form) -> dict[str, str]:
    """A tile as somebody sent it."""
    return {name: form.long(name) for name in FIELDS}


def _parameters(sql: str, text: str) -> tuple[Parameter, ...]:
    """Those that lines say, and a text without a default for each placeholder that no line names."""
    check_length(sql)
    said: dict[str, Parameter] = {}
    for line in _lines(text):
        names, equals, default = line.partition("=")
        name, _, kind = (each.strip() for each in names.partition(":"))
        if not name.isidentifier() or not name.isascii():
            raise ConfigError(f"Parameters: {line[:100]!r} names none.", hint="A line is since:date=2026-01-31.")
        said[name.lower()] = Parameter(
            name=name.lower(),
            kind=cast("ParameterKind", kind or "text"),
            default=default.strip() if equals else None,
        )
    return tuple(({name: Parameter(name=name) for name in placeholders(sql)} | said).values())


def _written(parameter: Parameter) -> str:
    return f"{parameter.name}:{parameter.kind}" + ("" if parameter.default is None else f"={parameter.default}")


def _pair(field: str, line: str) -> tuple[str, str]:
    name, equals, text = line.partition("=")
    if not equals:
        raise ConfigError(f"{field}: {line[:100]!r} has no value.", hint="A line is since=2026-01-31.")
    return name.strip().lower(), text.strip()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def given(query: Mapping[str, str], known: set[str]) -> dict[str, str]:
    """The values in an address, `?p.since=2026-01-31`: those that are written, of parameters that there are."""
    named = {name.removeprefix("p."): text.strip() for name, text in query.items() if name.startswith("p.")}
    return {name: text for name, text in named.items() if name in known and text}
