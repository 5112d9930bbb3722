"""`headrace serve`: one server process that follows what is in Production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.output import env_option
from headrace.core.errors import BusyError, ConfigError
from headrace.core.processes import become

if TYPE_CHECKING:
    from headrace.environments.config import Environment


@click.command(name="serve")
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="This machine only, unless said.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="That share the port.")
@click.option("--tls-certificate", type=click.Path(dir_okay=False, path_type=Path), help="For HTTPS: a PEM file.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Its key.")
@click.option(
    "--mlflow",
    metavar="URI",
    help="A model of any MLflow flavour instead: a folder with MLmodel, models:/NAME/3 or runs:/ID/model.",
)
@click.option("--anonymous", is_flag=True, help="Whoever reaches the address may ask, without a token.")
@click.option("--access-log", is_flag=True, help="A line of JSON on stdout for each request.")
@click.option("--traces", is_flag=True, help="Spans to OpenTelemetry's collector, by OTEL_EXPORTER_OTLP_ENDPOINT.")
@env_option
def command(
    model: str | None,
    host: str,
    port: int,
    processes: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    mlflow: str | None,
    anonymous: bool,
    access_log: bool,
    traces: bool,
    env: str | None,
) -> None:
    """Answer questions over HTTP with the version in Production; a new one takes over without a pause.

    The server starts from its own copy: it needs neither the registry nor the lakehouse. What it answers is logged first.
    Where `headrace api-key create` has made tokens, callers need one.
    """
    from headrace.operations import serving

    if model is not None and mlflow is not None:
        raise ConfigError(f"{model!r} or --mlflow {mlflow!r}: one of the two can be served.")
    environment = _environment(env, needed=mlflow is None)
    secrets = serving.secrets(environment)
    if mlflow is not None:
        secrets = {**secrets, **serving.reaching(environment)}
    given = ["--host", host, "--processes", str(processes)]
    for name, value in (("--tls-certificate", tls_certificate), ("--tls-key", tls_key)):
        given += [] if value is None else [name, str(value.absolute())]
    flags = (("--anonymous", anonymous), ("--access-log", access_log), ("--traces", traces))
    given += [name for name, wanted in flags if wanted]
    if mlflow is None:
        assert environment is not None
        home = serving.home(environment, model, declared=lambda: _declared(env))
        started = serving.command(environment, home, port=port, arguments=given)
    else:
        place = str(Path(mlflow).absolute()) if Path(mlflow).exists() else mlflow
        started = serving.command(environment, place, port=port, arguments=given)
    if environment is not None and mlflow is None:
        _hold(environment)
    become(started, folder=Path.cwd() if environment is None else _root(environment), secrets=secrets)


def _root(environment: Environment) -> Path:
    environment.root.mkdir(parents=True, exist_ok=True)
    return environment.root


def _hold(environment: Environment) -> None:
    """Says for as long as the server runs that the environment is in use: `headrace env reset` asks for it.

    Raises:
        BusyError: it is being reset.
    """
    from headrace.core.locks import share
    from headrace.operations.serving import lock_file

    environment.root.mkdir(parents=True, exist_ok=True)
    try:
        share(lock_file(environment))
    except BlockingIOError:
        raise BusyError(f"{environment.name!r} is being reset.", hint="Start the server again afterwards.") from None


def _environment(env: str | None, *, needed: bool) -> Environment | None:
    """The project's; None where there is no project, and none is needed."""
    from headrace.environments import config

    try:
        config.find(Path.cwd())
    except ConfigError:
        if needed or env is not None:
            raise
        return None
    found = config.load()
    return found.environment(env) if env else found.environments[0]


def _declared(env: str | None) -> list[str]:
    from headrace.deployment.declarations import Deployment
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        return [each.name for each in workspace.project.all(Deployment)]
