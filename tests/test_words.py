"""The words that users meet are those of the field: in help, stored columns, events, metrics and public names.

Each word below was there once, and was not understood; beside it stands the word that is used instead.
"""

import re

import click
import pytest
from docs.generate import events
from docs.generate.columns import declared_schemas, stored_columns
from docs.generate.commands import commands
from docs.generate.metrics import metrics

import headrace as hr
from headrace.cli.main import COMMANDS

STORED = {
    "took_us": "latency_us",
    "asked_at": "requested_at",
    "predicted_for": "decision_time",
    "looked_up_by": "lookup_keys",
    "divided_by": "split_by",
    "why": "reason",
    "note": "reason",
    "began": "started",
    "looked": "checked",
    "ramp": "rollout",
    "stop": "guardrails",
}
METRICS = {
    "unlogged": "log_dropped",
    "unshadowed": "shadow_dropped",
    "swaps": "model_reloads",
    "request_seconds": "request_duration_seconds",
}
EVENTS = {"ramp": "rollout", "tended": "reconciled", "began": "started", "made": "created", "asked": "queried"}
NAMES = {
    "Ramp": "Rollout",
    "stop": "guardrail",
    "changes": "change_feed",
    "feature_table": "external_feature_table",
}
COMMANDS_OF_BEFORE = {
    "run rehearse": "run parity-check",
    "run log": "run ingest-log",
    "traffic tend": "traffic reconcile",
    "traffic ramp": "traffic rollout",
    "token": "api-key",
    "job": "runs",
}
OPTIONS = {
    "--from": "--source or --since",
    "--to-date": "--until",
    "--why": "--reason",
    "--note": "--reason",
    "--by-hand": "--force",
}
MEANT = {  # neither rows of a table nor a moment
    "init": {"--from"},  # the file that a project is made from
    "release fetch": {"--from"},  # the remote
    "model promote": {"--from"},  # the environment that a version comes from
}
PROSE = {
    "unless said": "defaults to",
    "rehears": "parity check",
    "ramp": "rollout",
    "by-hand": "--force",
    " told ": "reported",
}


COMMAND_LINES = [pytest.param(each, id=each.name) for each in commands()]


def test_there_are_commands():
    assert len(COMMAND_LINES) > len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_help_speaks_the_words_of_the_field(command):
    ctx = click.Context(command.command, info_name=command.path[-1])
    text = " ".join(command.command.get_help(ctx).split()).lower()
    options = {option for each in command.command.params for option in each.opts}

    assert {word for word in PROSE if re.search(rf"(?<![a-z]){re.escape(word)}", text)} == set()
    assert (options & OPTIONS.keys()) - MEANT.get(command.name, set()) == set()
    assert command.name not in COMMANDS_OF_BEFORE


def test_stored_columns_have_the_words_of_the_field():
    """Of the state database, of every Delta table and of every schema that a module declares."""
    tables = {**stored_columns(), **declared_schemas()}
    columns = {f"{table}.{name}": name for table, names in tables.items() for name in names}

    assert len(columns) > 400
    guilty = {where for where, name in columns.items() if name in STORED}
    assert guilty == set()


def test_events_and_audit_entries_have_the_words_of_the_field():
    written = events.names("events").keys() | events.names("audit").keys()
    guilty = {text for text in written if set(re.split(r"[._]", text)) & EVENTS.keys()}

    assert {"stage.changed", "traffic.changed", "rollout.started"} <= written
    assert guilty == set()


def test_metrics_have_the_words_of_the_field_and_base_units():
    """https://prometheus.io/docs/practices/naming/: seconds, `_total` on counters."""
    kinds = {each.name: each.kind for each in metrics()}

    assert {"headrace_request_duration_seconds", "headrace_log_dropped_total", "headrace_stream_lag"} <= kinds.keys()
    assert {name for name in kinds if any(word in name for word in METRICS)} == set()
    assert {name for name, kind in kinds.items() if (kind == "counter") != name.endswith("_total")} == set()
    assert {name for name, kind in kinds.items() if kind == "histogram" and not name.endswith("_seconds")} == set()


def test_public_names_are_those_of_the_field():
    assert set(hr.__all__) & NAMES.keys() == set()
