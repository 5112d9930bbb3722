"""The tables of saved queries, and of the rules on them, in the state database."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text

from headrace.core.state import Instant

metadata = MetaData()
QUERIES = Table(
    "saved_queries",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("sql", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("chart", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("saved", Instant, nullable=False),
    Column("saved_by", String(200), nullable=False),
)
QUERY_ALERTS = Table(
    "query_alerts",
    metadata,
    Column("query", String(100), primary_key=True),
    Column("rule", String(200), primary_key=True),
    Column("severity", String(16), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("every", String(20), nullable=False),
    Column("declared", Instant, nullable=False),
    Column("declared_by", String(200), nullable=False),
    Column("evaluated", Instant),
    Column("outcome", Text, nullable=False),
)
