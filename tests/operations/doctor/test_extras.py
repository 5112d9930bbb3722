"""What a project needs for certain, and is not installed."""

import sys

import pytest
from tests.cli import mini

CASES = {
    "hiredis": ('online = "redis://127.0.0.1:1"', "", "redis"),
    "psycopg": ('databases = {shop = "postgresql+psycopg://127.0.0.1:1/x"}', "", "postgres"),
    "boto3": ('artifacts = "s3://bucket/x"', "", "s3"),
    "pyspark": ('spark = "sc://127.0.0.1:1"', "", "spark"),
    "confluent_kafka": ("", '[env.dev.kafka.main]\n"bootstrap.servers" = "127.0.0.1:1"', "kafka"),
    "aiohttp": (
        "",
        '[env.dev.llm.routes.a]\nprotocol = "openai"\nurl = "http://127.0.0.1:1"\nmodel = "m"',
        "llm",
    ),
}


def extras(project):
    from headrace.environments import config
    from headrace.operations.doctor.extras import extras_of_environment

    (found,) = extras_of_environment(config.load(project.folder).environment("dev"))
    return found


@pytest.mark.parametrize("module", CASES)
def test_what_a_store_needs(project, monkeypatch, module):
    dev, more, extra = CASES[module]
    project.configure(dev, more)
    assert (extras(project).result, extras(project).found) == ("ok", f"installed: {module}")

    monkeypatch.setitem(sys.modules, module, None)  # as Python itself marks a module that cannot be imported
    found = extras(project)
    assert found.result == "failed"
    assert module in found.found
    assert found.way == f"pip install 'headrace[{extra}]'"


def test_what_the_program_imports_for_certain(project, monkeypatch):
    program = project.folder / "mini.py"
    program.write_text(
        program.read_text()
        + "\n\ndef later():\n    import lightgbm\n    from nowhere_at_all import x\n    import mini\n"
        + "\n\ntry:\n    import not_needed\nexcept ImportError:\n    pass\n"
        + "\n\nif False:\n    import not_here\n"
    )
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    found = project.examine()["imports"]

    assert found.result == "failed"
    assert "mini.py needs 'lightgbm'" in found.found
    assert "mini.py needs 'nowhere_at_all'" in found.found
    assert "not_" not in found.found
    assert found.way == "pip install 'headrace[lightgbm]'; install what has the module nowhere_at_all"


def test_what_is_declared_needs(project, monkeypatch):
    (project.folder / "mini.py").write_text(mini.program("serve=hr.Serve(traces=True)"))
    assert project.examine()["declarations"].found == "installed: httptools, opentelemetry.sdk"

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    found = project.examine()["declarations"]
    assert found.found == "not installed: hr.Serve(traces=True) of days needs 'opentelemetry.sdk'"
    assert found.way == "pip install 'headrace[otel]'"
