"""The ledger's tables."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, text

from headrace.core.state import Instant

metadata = MetaData()

RUNS = Table(
    "job_runs",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("job", String, nullable=False),
    Column("status", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("params", JSON, nullable=False),
    Column("code", String, nullable=False),
    Column("owner", JSON, nullable=False),
    Column("by", String(200)),  # the identity that its latest attempt runs for
    Column("started", Instant, nullable=False),
    Column("heartbeat", Instant, nullable=False),
    Column("ended", Instant),
    Column("error", Text),
    Column("swept", Boolean, nullable=False),  # found dead and closed by somebody else; it may still be continued
    Column("acknowledged_by", String(200)),  # somebody has seen that it failed, and nothing is left to do
    Column("reason", Text),
    Index("job_runs_started", "job", "started"),
    Index("job_runs_latest", "started", "id"),
    Index("job_runs_by_status", "status", "started"),
    # one running run a job, also where two transactions run side by side
    Index(
        "job_runs_running",
        "job",
        unique=True,
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
)

STEPS = Table(
    "job_steps",
    metadata,
    Column("run_id", ForeignKey("job_runs.id"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("job", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("key", String(32), nullable=False),
    Column("write_id", String(32), nullable=False),
    Column("turn", Integer),  # counts the executions of (job, name) in the order of their start; null: never executed
    Column("status", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("output", JSON(none_as_null=True)),
    Column("summary", Text),  # of the output, for people
    Column("error", Text),
    Index("job_steps_turn", "job", "name", "turn"),
)

LOGS = Table(
    "job_logs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("run_id", ForeignKey("job_runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", String, nullable=False),
    Column("at", Instant, nullable=False),
    Column("line", Text, nullable=False),
    Index("job_logs_run", "run_id", "number"),
)
