"""The gateway's tables in the state database, and how names and rows are written into them on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from headrace.core.state import Instant
from headrace.core.text import visible

if TYPE_CHECKING:
    from headrace.core.state import State

METADATA = sa.MetaData()
LONGEST_NAME = 200  # characters; an index of PostgreSQL takes keys of up to 2,700 bytes
SHORTENED = "…"

BUDGETS = sa.Table(
    "gateway_budgets",
    METADATA,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("scope", sa.String(8), primary_key=True),
    sa.Column("key", sa.String(LONGEST_NAME), primary_key=True),
    sa.Column("spent_nano", sa.BigInteger, nullable=False),
    sa.Column("reserved_nano", sa.BigInteger, nullable=False),
)

RESERVATIONS = sa.Table(
    "gateway_reservations",
    METADATA,
    sa.Column("call_id", sa.String(LONGEST_NAME), primary_key=True),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),  # [scope, key] of each budget that it is counted in
    sa.Column("amount_nano", sa.BigInteger, nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Column("status", sa.String(8), nullable=False),
    sa.Column("settled_nano", sa.BigInteger),
    sa.Index("gateway_reservations_by_day", "day"),
    sa.Index(
        "gateway_reservations_open",
        "expires",
        sqlite_where=sa.text("status = 'reserved'"),
        postgresql_where=sa.text("status = 'reserved'"),
    ),
)

CALLS = sa.Table(
    "gateway_calls",
    METADATA,
    sa.Column("call_id", sa.String(LONGEST_NAME), primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("route", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("model", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("application", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("prompt", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("prompt_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("user", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nano", sa.BigInteger, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("outcome", sa.String(9), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Index("gateway_calls_by_time", "at"),
)

DAILY_USAGE = sa.Table(
    "gateway_daily_usage",
    METADATA,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("digest", sa.String(32), primary_key=True),  # of the next seven: together they are too long for an index
    sa.Column("route", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("model", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("application", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("prompt", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("prompt_version", sa.String(64), nullable=False, server_default=""),
    sa.Column("user", sa.String(LONGEST_NAME), nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("cached", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("cancelled", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nano", sa.BigInteger, nullable=False),
)

CACHE = sa.Table(
    "gateway_cache",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column(
        "number", sa.BigInteger, nullable=False
    ),  # rises with each put; its index tells the oldest without the values
    sa.Column("start_offset", sa.BigInteger, nullable=False),  # bytes of all values that were put before
    sa.Column("end_offset", sa.BigInteger, nullable=False),  # and with this one
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created", Instant, nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Index("gateway_cache_by_number", "number"),
    sa.Index("gateway_cache_by_offset", "start_offset"),
    sa.Index("gateway_cache_by_expiry", "expires"),
)


def insert(state: State, table: sa.Table) -> Any:
    """An `insert` that takes `on_conflict_do_nothing` and `on_conflict_do_update`, which both databases have."""
    return (sqlite if state.engine.dialect.name == "sqlite" else postgresql).insert(table)


def stored_name(name: str) -> str:
    """A name of a user, model or call as it is stored: the same for the same name, another one for another name.

    A name of at most 200 printable characters is stored as it is. Of any other one (PostgreSQL stores no NUL, neither
    database a lone surrogate) the visible beginning is stored, with a digest of the whole name.
    """
    if len(name) <= LONGEST_NAME and name.isprintable() and SHORTENED not in name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{visible(name[:LONGEST_NAME])[: LONGEST_NAME - 40]}{SHORTENED}{digest}"
