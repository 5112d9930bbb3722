"""`headrace serve`: one server process that follows what is in Production."""

from __future__ import annotations

import os
from pathlib import Path

import click

from headrace.cli.output import env_option


@click.command(name="serve")
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="This machine only, unless said.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="That share the port.")
@click.option("--tls-certificate", type=click.Path(dir_okay=False, path_type=Path), help="For HTTPS: a PEM file.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Its key.")
@click.option("--anonymous", is_flag=True, help="Whoever reaches the address may ask, without a token.")
@env_option
def command(
    model: str | None,
    host: str,
    port: int,
    processes: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    anonymous: bool,
    env: str | None,
) -> None:
    """Answer questions over HTTP with the version in Production; a new one takes over without a pause.

    The server starts from its own copy: it needs neither the registry nor the lakehouse. What it answers is logged first.
    Where `headrace token create` has made tokens, callers need one.
    """
    from headrace.environments import config
    from headrace.workspace import serving

    found = config.load()
    environment = found.environment(env) if env else found.environments[0]
    folder = serving.home(environment, model, declared=lambda: _declared(env))
    given = ["--host", host, "--processes", str(processes)]
    for name, value in (("--tls-certificate", tls_certificate), ("--tls-key", tls_key)):
        given += [] if value is None else [name, str(value)]
    started = serving.command(
        environment, folder, port=port, arguments=[*given, *(["--anonymous"] if anonymous else [])]
    )
    os.execv(started[0], started)  # noqa: S606


def _declared(env: str | None) -> list[str]:
    from headrace.deployment.declarations import Deployment
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        return [each.name for each in workspace.project.all(Deployment)]
