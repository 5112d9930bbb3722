"""`headrace serve`: one server process for the version in Production, which changes versions without a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.cli.output import env_option, log_format_option, log_level_option
from headrace.core.errors import ConfigError
from headrace.core.processes import become


@click.command(name="serve")
@click.argument("model", required=False)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; the default is this machine only."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="To listen on.")
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="That share the port.")
@click.option("--tls-certificate", type=click.Path(dir_okay=False, path_type=Path), help="For HTTPS: a PEM file.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Its key.")
@click.option(
    "--mlflow",
    metavar="URI",
    help="A model of any MLflow flavour instead: a folder with MLmodel, models:/NAME/3 or runs:/ID/model.",
)
@click.option("--anonymous", is_flag=True, help="Whoever reaches the address may call it, without an API key.")
@click.option("--access-log", is_flag=True, help="A line of JSON on stdout for each request.")
@click.option("--traces", is_flag=True, help="Spans to OpenTelemetry's collector, by OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option("--parent", type=int, default=None, hidden=True, help="The process that started this one.")
@log_format_option
@log_level_option
@env_option
def command(model: str | None, mlflow: str | None, env: str | None, **options: Any) -> None:
    """Answer requests over HTTP with the version in Production; a new one takes over without a pause.

    The server starts from its own copy: it needs neither the registry nor the lakehouse. What it answers is logged first.
    Where `headrace api-key create` has made API keys, callers need one.
    """
    from headrace.operations import serve
    from headrace.operations.operation import At

    if model is not None and mlflow is not None:
        raise ConfigError(f"{model!r} or --mlflow {mlflow!r}: one of the two can be served.")
    how, at = serve.ServerOptions(**options), At(env=env)
    server = (
        serve.serve(at, model, options=how) if mlflow is None else serve.serve_mlflow_model(at, mlflow, options=how)
    )
    become(server.command, folder=server.folder, secrets=server.secrets)
