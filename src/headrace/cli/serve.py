"""`headrace serve`: one server process that follows what is in Production."""

from __future__ import annotations

import os
import sys

import click

from headrace.cli.output import env_option


@click.command(name="serve")
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="This machine only, unless said.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@env_option
def command(model: str | None, host: str, port: int, env: str | None) -> None:
    """Answer questions over HTTP with the version in Production; a new one takes over without a pause.

    The server starts from its own copy: it needs neither the registry nor the lakehouse. What it answers is logged first.
    """
    from headrace.environments import config
    from headrace.workspace.serving import home

    found = config.load()
    environment = found.environment(env) if env else found.environments[0]
    folder = home(environment, model, declared=lambda: _declared(env))
    # a process of its own, with nothing imported that this command needed
    os.execv(  # noqa: S606
        sys.executable,
        [sys.executable, "-m", "headrace.serving", "--home", str(folder), "--host", host, "--port", str(port)],
    )


def _declared(env: str | None) -> list[str]:
    from headrace.deployment.declarations import Deployment
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        return [each.name for each in workspace.project.all(Deployment)]
