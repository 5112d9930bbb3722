"""`headrace table list|show|profile|drift|history|load|drop`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import confirm, emit, env_option, facts, heading, json_option, put, say, table
from headrace.cli.plot import distribution
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.operations.drop_table import DropPlan
    from headrace.operations.profile import ColumnProfile
    from headrace.operations.table_drift import DriftedColumn

FREQUENT = 3  # texts that are shown
MINUTE = len("2013-05-01 06:00")


@click.group(name="table", cls=Commands)
def command() -> None:
    """Tables of the lakehouse."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """All tables that can be read from an environment, and the environment that each is read from."""
    from headrace.operations.operation import At
    from headrace.operations.tables import list_tables

    listing = list_tables(At(env=env))
    if as_json:
        emit(listing.tables)
        return
    rows = [{**vars(report), "instead_of": ", ".join(report.instead_of) or None} for report in listing.tables]
    table(rows, empty=f"no tables yet. Next: headrace run refresh --env {listing.env}")


@command.command()
@click.argument("name")
@env_option
@json_option
@click.option(
    "--rows", "count", type=click.IntRange(0, 1000), default=5, show_default=True, help="How many rows to show."
)
@click.option("--version", type=int, default=None, help="An older version.")
def show(name: str, env: str | None, as_json: bool, count: int, version: int | None) -> None:
    """Columns, properties and some rows of a table."""
    from headrace.operations.operation import At
    from headrace.operations.tables import show_table

    details = show_table(At(env=env), name, rows=count, version=version)
    if as_json:
        emit(details)
        return
    properties = {key.removeprefix("headrace."): value for key, value in details.properties.items()}
    facts({**{key: vars(details)[key] for key in ("table", "env", "version", "rows")}, **properties})
    put()
    table([vars(column) for column in details.columns])
    put()
    table(details.sample, empty="no rows", data=True)


@command.command()
@click.argument("rows", metavar="TABLE")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only this column; repeat it for more.")
@click.option("--version", type=int, default=None, help="An older version.")
@env_option
@json_option
def profile(rows: str, columns: tuple[str, ...], version: int | None, env: str | None, as_json: bool) -> None:
    """What each column of a TABLE holds: missing values, quantiles, the distribution.

    TABLE is a table, a file (CSV, JSONL or Parquet) or a SELECT.
    """
    from headrace.operations.operation import At
    from headrace.operations.profile import profile_table

    found = profile_table(At(env=env), rows, version=version, columns=columns or None)
    if as_json:
        emit(found)
        return
    heading(f"{found.table}: {found.rows:,} rows")
    table([_profiled(each) for each in found.columns])
    for each in found.columns:
        for remark in each.remarks:
            put(f"  {each.column}: {remark}")


def _profiled(column: ColumnProfile) -> dict[str, object]:
    frequent = ", ".join(f"{each.value} {each.rows:,}" for each in column.frequent[:FREQUENT])
    return {
        "column": column.column,
        "type": column.type,
        "missing": f"{column.missing_percent:.1f} %" if column.missing else None,
        "distinct": column.distinct,
        "distribution": distribution([each.rows for each in column.bars]) or None,
        "min": _cell(column.min),
        "median": _cell(column.median),
        "max": _cell(column.max),
        "most frequent": frequent or None,
    }


def _cell(value: float | str | None) -> object:
    return value.replace("T", " ")[:MINUTE] if isinstance(value, str) else value


@command.command()
@click.argument("reference", metavar="REFERENCE")
@click.argument("current", metavar="CURRENT")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only this column; repeat it for more.")
@click.option("--reference-version", type=int, default=None, help="An older version of the table REFERENCE.")
@click.option("--version", type=int, default=None, help="An older version of the table CURRENT.")
@click.option(
    "--min-rows", type=click.IntRange(1), default=None, help="Fewer rows on a side: not judged; defaults to 500."
)
@env_option
@json_option
def drift(
    reference: str,
    current: str,
    columns: tuple[str, ...],
    reference_version: int | None,
    version: int | None,
    min_rows: int | None,
    env: str | None,
    as_json: bool,
) -> None:
    """How the rows of CURRENT differ from those of REFERENCE, column by column.

    Each is a table, a file (CSV, JSONL or Parquet) or a SELECT.
    """
    from headrace.operations.operation import At
    from headrace.operations.table_drift import MIN_ROWS, compare_tables

    found = compare_tables(
        At(env=env),
        reference,
        current,
        reference_version=reference_version,
        version=version,
        columns=columns or None,
        min_rows=min_rows or MIN_ROWS,
    )
    if as_json:
        emit(found)
        return
    heading(f"{found.current} ({found.rows:,} rows) against {found.reference} ({found.reference_rows:,} rows)")
    table([_drifted(each) for each in found.columns])
    for where, only in (("reference", found.only_in_reference), ("current rows", found.only_in_current)):
        if only:
            put(f"  only in the {where}: {', '.join(only)}")
    if found.not_compared:
        put(f"  not compared: {', '.join(found.not_compared)}")


def _drifted(column: DriftedColumn) -> dict[str, object]:
    return {
        "column": column.column,
        "verdict": column.verdict,
        "psi": column.psi,
        "p_value": column.p_value,
        "reference": distribution([each.reference_rows for each in column.bars]) or None,
        "current": distribution([each.rows for each in column.bars]) or None,
        "reasons": "; ".join(column.reasons) or None,
    }


@command.command()
@click.argument("name")
@env_option
@json_option
def history(name: str, env: str | None, as_json: bool) -> None:
    """Versions of a table: when, what, by whom."""
    from headrace.operations.operation import At
    from headrace.operations.tables import list_table_versions

    versions = list_table_versions(At(env=env), name)
    emit(versions) if as_json else table([vars(version) for version in versions])


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", default=None, metavar="TABLE", help="The table; defaults to bronze. and the name of the file.")
@env_option
@json_option
def load(file: Path, into: str | None, env: str | None, as_json: bool) -> None:
    """Load a CSV, JSONL or Parquet FILE into a table; the same file twice is loaded once."""
    from headrace.operations.operation import At
    from headrace.operations.tables import load_table

    loaded = load_table(At(env=env), file, into=into)
    name = loaded.table
    if as_json:
        emit(loaded)
        return
    if loaded.changed:
        say(f"✓ {name}: {loaded.rows:,} rows from {file}. Next: headrace table show {name} --env {loaded.env}")
    else:
        say(f"· {name}: {file} was loaded before; nothing changed.")
    for note in loaded.notes:
        say(f"  {note}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@env_option
@json_option
def drop(name: str, yes: bool, env: str | None, as_json: bool) -> None:
    """Take a table away, in dev, so that it can be made anew, of other types or another key.

    Its history goes too: versions of models that were trained on it can no longer be reproduced.
    """
    from headrace.operations.drop_table import drop_table
    from headrace.operations.operation import At

    def check(plan: DropPlan) -> None:
        if not as_json:
            say(f"{plan.table} has {plan.rows:,} rows in version {plan.version}.")
            for dependent in plan.dependents:
                say(f"  · {dependent}")
        if not yes:
            _ask(plan.table)

    report = drop_table(At(env=env), name, confirm=check)
    if as_json:
        emit(report)
        return
    for dropped in report.dropped:
        say(f"✓ {dropped} is gone.")
    say(f"Next: headrace run refresh --env {report.env}")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"{name!r} would be taken away for good, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace table drop {name} --yes",
        )
    if not confirm(f"Take {name} away for good?"):
        raise RefusedError("not confirmed. Nothing was removed.")
