"""The registry's tables in the state database."""

from __future__ import annotations

import sqlalchemy as sa

from headrace.core.state import Instant

METADATA = sa.MetaData()

VERSIONS = sa.Table(
    "model_versions",
    METADATA,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("step_key", sa.String(64), nullable=False, unique=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("model_uri", sa.Text, nullable=False),
    sa.Column("artifact_hash", sa.String(64), nullable=False),
    sa.Column("logged_hash", sa.String(64), nullable=False),
    sa.Column("copy_hash", sa.String(64)),  # null: no copy was made for servers yet
    sa.Column("code", sa.String(300), nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("training_set", sa.Integer, nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("fit_from", sa.String(40), nullable=False),
    sa.Column("fit_to", sa.String(40), nullable=False),
    sa.Column("as_of", sa.String(40), nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("alert", sa.Integer),
    sa.Column("imported", sa.JSON(none_as_null=True)),  # null: it was fitted by the project
    sa.Column("promoted", sa.JSON(none_as_null=True)),  # null: it was made in this environment
    sa.Column("routes", sa.JSON, nullable=False),  # empty for a model that calls no language model
    sa.Column("created", Instant, nullable=False),
    sa.Index("model_versions_by_stage", "stage", "model"),
    sa.Index(
        "model_versions_production",
        "model",
        unique=True,
        sqlite_where=sa.text("stage = 'Production'"),
        postgresql_where=sa.text("stage = 'Production'"),
    ),
)

STAGES = sa.Table(
    "stage_history",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decision", sa.Integer),  # null: made by no decision, which only a registration is
    sa.Index("stage_history_by_version", "model", "version"),
)

REQUESTS = sa.Table(
    "transition_requests",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("to", sa.String(16), nullable=False),
    sa.Column("against", sa.Integer),  # the version in Production when the evidence was made
    sa.Column("seal", sa.String(64), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("evidence_hash", sa.String(64), nullable=False),
    sa.Column("basis", sa.String(64), nullable=False),
    sa.Column("policy_hash", sa.String(64), nullable=False),
    sa.Column("code", sa.String(300), nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("hands", sa.JSON, nullable=False),  # who could act as them, beside them
    sa.Column("at", Instant, nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Index("transition_requests_by_status", "status", "id"),
    sa.Index("transition_requests_by_version", "model", "version"),
)

APPROVALS = sa.Table(
    "transition_approvals",
    METADATA,
    sa.Column("request", sa.ForeignKey("transition_requests.id"), primary_key=True),
    sa.Column("role", sa.String(50), primary_key=True),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("hands", sa.JSON, nullable=False),  # who could act as them, beside them
    sa.Column("at", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.UniqueConstraint("request", "by"),  # one person, one signature
)

DECISIONS = sa.Table(
    "transition_decisions",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request", sa.ForeignKey("transition_requests.id"), nullable=False, unique=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("to", sa.String(16), nullable=False),
    sa.Column("against", sa.Integer),
    sa.Column("approved", sa.Boolean, nullable=False),
    sa.Column("seal", sa.String(64), nullable=False),
    sa.Column("evidence_hash", sa.String(64), nullable=False),
    sa.Column("policy_hash", sa.String(64), nullable=False),
    sa.Column("code", sa.String(300), nullable=False),
    sa.Column("by", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Column("spent", Instant),
    sa.Index("transition_decisions_by_version", "model", "version"),
    sa.Index(
        "transition_decisions_unspent",
        "expires",
        sqlite_where=sa.text("spent is null"),
        postgresql_where=sa.text("spent is null"),
    ),
)

REOPENINGS = sa.Table(
    "transition_reopenings",
    METADATA,
    sa.Column("request", sa.ForeignKey("transition_requests.id"), primary_key=True),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

POLICIES = sa.Table(
    "model_policies",
    METADATA,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # of two declarations at once only one finds its number free
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("gates", sa.JSON, nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("rollout", sa.JSON),
    sa.Column("code", sa.String(300), nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

TRAFFIC = sa.Table(
    "traffic_changes",
    METADATA,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # of two changes at once only one finds its number free
    sa.Column("champion", sa.Integer),  # in Production then; null: nothing was
    sa.Column("candidates", sa.JSON, nullable=False),  # [version, weight]
    sa.Column("shadows", sa.JSON, nullable=False),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

ROLLOUTS = sa.Table(
    "traffic_rollouts",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("decision", sa.ForeignKey("transition_decisions.id"), nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("started", Instant, nullable=False),
    sa.Column("step_started", Instant, nullable=False),
    sa.Column("checked", Instant),
    sa.Column("held", sa.JSON, nullable=False),
    sa.Column("waived", sa.JSON, nullable=False),
    sa.Column("ended", Instant),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index(
        "traffic_rollouts_running",
        "model",
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    ),
)

ALL = (VERSIONS, STAGES, REQUESTS, APPROVALS, DECISIONS, REOPENINGS, POLICIES, TRAFFIC, ROLLOUTS)
