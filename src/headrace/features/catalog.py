"""The feature catalog: the feature tables, their freshness, how full their columns are, and which models use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.lakehouse.identifiers import column, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.features.declarations import FeatureTable
    from headrace.lakehouse.lakehouse import Lakehouse


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One declared feature table. `rows`, `newest` and `env` are None until it was refreshed."""

    feature_table: str
    key: tuple[str, ...]
    time: str
    look_back: str | None
    description: str
    owner: str
    env: str | None
    rows: int | None
    newest: datetime | None
    features: tuple[str, ...]
    used_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CatalogColumn:
    """A column of a feature table: its Arrow type, and the percentage of rows in which it is null (None without rows)."""

    column: str
    type: str
    null_percent: float | None


def catalog(
    declared: Sequence[FeatureTable], users: Mapping[str, Sequence[str]], lakehouse: Lakehouse
) -> list[CatalogEntry]:
    """All declared feature tables.

    Args:
        declared: the project's feature tables.
        users: feature table → names of the models that select from it.
        lakehouse: where they are read.
    """
    return [_entry(table, users, lakehouse) for table in declared]


def describe(
    declared: Sequence[FeatureTable], users: Mapping[str, Sequence[str]], lakehouse: Lakehouse, name: str
) -> tuple[CatalogEntry, list[CatalogColumn]]:
    """One feature table and its columns; there are none until it was refreshed.

    Raises:
        NotFoundError: no such feature table; suggests the nearest.
    """
    named = {table.name: table for table in declared}
    if name not in named:
        raise NotFoundError("feature table", name, named, hint="`headrace feature list` shows them all.")
    entry = _entry(named[name], users, lakehouse)
    if entry.env is None:
        return entry, []
    schema = lakehouse.snapshot(name).schema
    counts = ", ".join(f"count({column(each)})" for each in schema.names)
    with lakehouse.connect({name: None}) as connection:
        total, *filled = connection.execute(f"select count(*), {counts} from {quoted(name)}").fetchall()[0]
    return entry, [
        CatalogColumn(
            column=field.name,
            type=str(field.type),
            null_percent=round(100 * (1 - count / total), 2) if total else None,
        )
        for field, count in zip(schema, filled, strict=True)
    ]


def _entry(table: FeatureTable, users: Mapping[str, Sequence[str]], lakehouse: Lakehouse) -> CatalogEntry:
    there = lakehouse.exists(table.name)
    rows = newest = env = None
    names: tuple[str, ...] = ()
    if there:
        snapshot = lakehouse.snapshot(table.name)
        env, rows = snapshot.env, snapshot.rows()
        names = tuple(name for name in snapshot.schema.names if name not in table.identity and not name.startswith("_"))
        with lakehouse.connect({table.name: snapshot.version}) as connection:
            latest = connection.sql(f"select max({column(table.time or '')}) as newest from {quoted(table.name)}")
            newest = latest.to_arrow_table().column("newest")[0].as_py()
    return CatalogEntry(
        feature_table=table.name,
        key=table.keys,
        time=table.time or "",
        look_back=table.look_back,
        description=table.description,
        owner=table.owner,
        env=env,
        rows=rows,
        newest=newest,
        features=names,
        used_by=tuple(users.get(table.name, ())),
    )
