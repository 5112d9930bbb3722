"""The words that users meet are those of the field: in help, stored columns, events, metrics and public names.

Each word below was there once, and was not understood; beside it stands the word that is used instead.
"""

import ast
import re
from importlib import import_module
from pathlib import Path

import click
import pyarrow as pa
import pytest
from sqlalchemy import MetaData

import headrace as hr
from headrace.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "headrace"

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
PROSE = {
    "unless said": "defaults to",
    "rehears": "parity check",
    "ramp": "rollout",
    "by-hand": "--force",
    " told ": "reported",
}


def commands(group=cli, path=("headrace",)):
    """Each command with the words that call it."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMAND_LINES = [pytest.param(path, command, id=" ".join(path)) for path, command in commands()]


def test_there_are_commands():
    assert len(COMMAND_LINES) > len(COMMANDS) > 15


@pytest.mark.parametrize(("path", "command"), COMMAND_LINES)
def test_help_speaks_the_words_of_the_field(path, command):
    ctx = click.Context(command, info_name=path[-1])
    text = " ".join(command.get_help(ctx).split()).lower()
    options = {option for each in command.params for option in each.opts}

    assert {word for word in PROSE if re.search(rf"(?<![a-z]){re.escape(word)}", text)} == set()
    assert options & OPTIONS.keys() == set()
    assert " ".join(path[1:]) not in COMMANDS_OF_BEFORE


def modules():
    return [
        import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "examples" not in path.parts and path.name not in ("__main__.py", "__init__.py", "worker.py")
    ]


def test_stored_columns_have_the_words_of_the_field():
    """Of the state database, of every Delta table and of every schema that a module declares."""
    columns = {}
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, MetaData):
                columns |= {
                    f"{table.name}.{each.name}": each.name for table in value.tables.values() for each in table.columns
                }
            if isinstance(value, pa.Schema):
                columns |= {f"{module.__name__}.{name}": name for name in value.names}
            if isinstance(value, dict) and value and all(isinstance(each, pa.DataType) for each in value.values()):
                columns |= {f"{module.__name__}.{name}": name for name in value}

    assert len(columns) > 200
    guilty = {where for where, name in columns.items() if name in STORED}
    assert guilty == set()


def strings():
    """Every literal text of the sources, without docstrings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "examples" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path, node.value


def test_events_and_audit_entries_have_the_words_of_the_field():
    events = {text for _, text in strings() if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)}
    guilty = {text for text in events if set(re.split(r"[._]", text)) & EVENTS.keys()}

    assert {"stage.changed", "traffic.changed", "rollout.started"} <= events
    assert guilty == set()


def test_metrics_have_the_words_of_the_field_and_base_units():
    """https://prometheus.io/docs/practices/naming/: seconds, `_total` on counters."""
    from headrace.inference.streaming.worker_status import Figures, WorkerStatus
    from headrace.serving.metrics import Counters, Kind

    counters = Counters()
    counters.answered(Kind(1, "primary", 200), 0.01, 3, "/invocations")
    text = counters.prometheus(model="m", version=1, in_flight=0)
    worker = WorkerStatus.__new__(WorkerStatus)
    worker.figures = Figures(model="m", source="s", lag={0: 1}, delay_s=0.5)
    text += worker.prometheus()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))

    assert {"headrace_request_duration_seconds", "headrace_log_dropped_total", "headrace_stream_lag"} <= kinds.keys()
    assert {name for name in kinds if any(word in name for word in METRICS)} == set()
    assert {name for name, kind in kinds.items() if (kind == "counter") != name.endswith("_total")} == set()
    assert {name for name, kind in kinds.items() if kind == "histogram" and not name.endswith("_seconds")} == set()


def test_public_names_are_those_of_the_field():
    assert set(hr.__all__) & NAMES.keys() == set()


def documented_parameters(value):
    """Of a function its parameters, of a declared class those of its constructor."""
    import inspect

    parameters = inspect.signature(value).parameters.values()
    return [each.name for each in parameters if each.name not in ("_", "where") and not each.name.startswith("_")]


PUBLIC = [name for name in hr.__all__ if name not in ("Params", "open", "Channel", "protocols")]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_takes_what_is_the_default_and_what_it_returns(name):
    import inspect

    value = getattr(hr, name)
    page = inspect.getdoc(value) or ""
    missing = [each for each in documented_parameters(value) if not re.search(rf"^\s+\**{each}: ", page, re.MULTILINE)]

    assert missing == []
    assert "unless said" not in page.lower()
    if inspect.isfunction(value):
        assert re.search(r"^Returns:", page, re.MULTILINE), name
