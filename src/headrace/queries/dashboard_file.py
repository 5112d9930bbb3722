"""A dashboard as a file of TOML in the folder of a project: written so that two versions are good to compare, and read strictly."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, cast

from headrace.core.errors import ConfigError
from headrace.environments.toml import TomlFile, described, suggest
from headrace.queries.dashboards import COLUMNS, Dashboard, Tile
from headrace.queries.records import Chart, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.queries.records import ChartKind, ParameterKind

FOLDER = "dashboards"
KEYS = ("title", "description", "owner", "refresh", "tile")
TILE_KEYS = ("title", "width", "query", "chart", "values", "parameters", "sql")
CHART_KEYS = ("kind", "x", "y", "value")
PARAMETER_KEYS = ("name", "kind", "default")
LARGEST = 1 << 20  # bytes of a file
MOST = 20  # parameters of a SELECT


def read(path: Path) -> Dashboard:
    """The dashboard of a file, which is named after it.

    Raises:
        ConfigError: there is no such file, it is no TOML or too large, or something in it is not possible: says where.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path.name} in {str(path.parent)!r}.")
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST >> 20} MiB.", hint="A dashboard is a few lines a tile.")
    try:
        return parse(path.stem, TomlFile.read(path))
    except RecursionError:
        raise ConfigError(f"{path}: its values are too deep inside each other.") from None


def parse(name: str, source: TomlFile) -> Dashboard:
    """The dashboard that a file says.

    Raises:
        ConfigError: as `read`.
    """
    table = source.table
    source.only(table, KEYS, "")
    several = table.get("tile", [])
    if not isinstance(several, list) or not all(isinstance(each, dict) for each in cast("list[object]", several)):
        raise source.error("tiles are written as [[tile]].", section="", key="tile", hint="One [[tile]] for each.")
    fields = {key: _text(source, table, key) for key in KEYS if key in table and key != "tile"}
    tiles = cast("list[Mapping[str, object]]", several)
    try:
        return Dashboard(
            name=name,
            title=fields.get("title", name),
            description=fields.get("description", "").strip(),
            owner=fields.get("owner", ""),
            refresh=fields.get("refresh"),
            tiles=tuple(_tile(source, each, number) for number, each in enumerate(tiles, 1)),
        )
    except ConfigError as error:
        if not error.what.startswith(str(source.path)):
            error.what = f"{source.path}: {error.what}"
        raise


def _tile(source: TomlFile, table: Mapping[str, object], number: int) -> Tile:
    where = f"tile {number}"
    _only(source, table, TILE_KEYS, where)
    texts = {key: _text(source, table, key, where) for key in ("title", "query", "sql") if key in table}
    width = table.get("width", COLUMNS)
    if not isinstance(width, int):
        raise _wrong(source, where, "width", width, f"a number from 1 to {COLUMNS}")
    given = table.get("values", {})
    if not isinstance(given, dict):
        raise _wrong(source, where, "values", given, "a table, such as { since = 2026-01-31 }")
    values = {key: _value(source, where, key, each) for key, each in cast("Mapping[str, object]", given).items()}
    return Tile(
        title=texts.get("title") or texts.get("query") or "",
        query=texts.get("query"),
        sql=texts["sql"].strip() if "sql" in texts else None,
        parameters=_parameters(source, table.get("parameters", []), where),
        chart=_chart(source, table["chart"], where) if "chart" in table else None,
        values=values,
        width=width,
    )


def _parameters(source: TomlFile, given: object, where: str) -> tuple[Parameter, ...]:
    if not isinstance(given, list):
        raise _wrong(source, where, "parameters", given, 'a list, such as [{ name = "since", kind = "date" }]')
    several = cast("list[object]", given)
    if len(several) > MOST:
        raise ConfigError(f"{source.path}: {where} has {len(several)} parameters.", hint=f"It may have {MOST}.")
    made: list[Parameter] = []
    for each in several:
        if not isinstance(each, dict):
            raise _wrong(source, where, "parameters", each, 'such as { name = "since", kind = "date" }')
        table = cast("Mapping[str, object]", each)
        _only(source, table, PARAMETER_KEYS, f"a parameter of {where}")
        name, kind = (
            _text(source, table, "name", where),
            cast("ParameterKind", _text(source, {"kind": "text", **table}, "kind", where)),
        )
        default = _value(source, where, "default", table["default"]) if "default" in table else None
        parameter = Parameter(name=name.lower(), kind=kind, default=default)
        if default is not None:
            parameter.value(default)
        made.append(parameter)
    return tuple(made)


def _chart(source: TomlFile, given: object, where: str) -> Chart:
    if isinstance(given, str):
        return Chart(kind=cast("ChartKind", given))
    if not isinstance(given, dict):
        raise _wrong(source, where, "chart", given, 'a kind, or such as { kind = "line", x = "day", y = ["rows"] }')
    table = cast("Mapping[str, object]", given)
    _only(source, table, CHART_KEYS, f"the chart of {where}")
    texts = {key: _text(source, table, key, where) for key in ("kind", "x", "value") if key in table}
    y = table.get("y", [])
    columns = [y] if isinstance(y, str) else y
    if not isinstance(columns, list) or not all(isinstance(each, str) for each in cast("list[object]", columns)):
        raise _wrong(source, where, "y", y, "the name of a column, or a list of names")
    return Chart(
        kind=cast("ChartKind", texts.get("kind", "table")),
        x=texts.get("x"),
        y=tuple(cast("list[str]", columns)),
        value=texts.get("value"),
    )


def _only(source: TomlFile, table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{source.path}: unknown key {key!r} in {where}.", hint=suggest(key, known))


def _text(source: TomlFile, table: Mapping[str, object], key: str, where: str = "") -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise _wrong(source, where or "the dashboard", key, value, "a text")
    return value


def _value(source: TomlFile, where: str, key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | date):
        raise _wrong(source, where, key, value, "a text, a number or a date")
    return value if isinstance(value, str) else value.isoformat() if isinstance(value, date) else str(value)


def _wrong(source: TomlFile, where: str, key: str, value: object, wanted: str) -> ConfigError:
    said = f"{key!r} is missing" if value is None else f"{key!r} is {described(value)[:200]}"
    return ConfigError(f"{source.path}: {where}: {said}.", hint=f"It is {wanted}.")


def write(dashboard: Dashboard) -> str:
    """A dashboard as TOML: the same dashboard is the same text, and each SELECT stands on lines of its own."""
    lines = [f"title = {quoted(dashboard.title)}"]
    texts = {"description": dashboard.description, "owner": dashboard.owner, "refresh": dashboard.refresh}
    lines += [f"{key} = {quoted(text)}" for key, text in texts.items() if text]
    for each in dashboard.tiles:
        lines += ["", "[[tile]]", f"title = {quoted(each.title)}", f"width = {each.width}"]
        if each.query is not None:
            lines.append(f"query = {quoted(each.query)}")
        if each.chart is not None and (each.sql is None or each.chart != Chart()):
            lines.append(f"chart = {_inline(_chart_fields(each.chart))}")
        if each.values:
            lines.append(f"values = {_inline(dict(sorted(each.values.items())))}")
        if each.parameters:
            lines.append("parameters = [")
            lines += [f"  {_inline(_parameter_fields(one))}," for one in each.parameters]
            lines.append("]")
        if each.sql is not None:
            lines.append(f"sql = {_several(each.sql)}")
    return "\n".join(lines) + "\n"


def _chart_fields(chart: Chart) -> dict[str, object]:
    fields = {"kind": chart.kind, "x": chart.x, "y": list(chart.y), "value": chart.value}
    return {key: value for key, value in fields.items() if value}


def _parameter_fields(parameter: Parameter) -> dict[str, object]:
    fields = {"name": parameter.name, "kind": parameter.kind, "default": parameter.default}
    return {key: value for key, value in fields.items() if value is not None}


def _inline(fields: Mapping[str, object]) -> str:
    return "{ " + ", ".join(f"{_key(key)} = {_plain(value)}" for key, value in fields.items()) + " }"


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else quoted(key)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(quoted(each) for each in cast('list[str]', value))}]"
    return quoted(str(value))


def quoted(text: str) -> str:
    """A text as TOML writes it on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _several(text: str) -> str:
    plain = text.replace("\n", "").replace("\t", "")
    if "'''" in text or text.endswith("'") or not plain.isprintable():
        return quoted(text)
    return f"'''\n{text}\n'''"
