"""`headrace gateway`: OpenAI's protocol in front of the routes of an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.cli.output import env_option, log_format_option, log_level_option
from headrace.core.processes import become


@click.command(name="gateway")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; the default is this machine only."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8090, show_default=True, help="To listen on.")
@click.option("--workers", type=click.IntRange(1, 512), default=1, show_default=True, help="That share the port.")
@click.option("--tls-certificate", type=click.Path(dir_okay=False, path_type=Path), help="For HTTPS: a PEM file.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Its key.")
@click.option("--anonymous", is_flag=True, help="Whoever reaches the address may call it, without an API key.")
@log_format_option
@log_level_option
@env_option
def command(env: str | None, **options: Any) -> None:
    """Answer calls in OpenAI's protocol over the routes of an environment; the field `model` names the route.

    Budgets, usage and cached answers are those of the environment, whoever calls. Where `headrace api-key create --scope gateway` has
    made API keys, callers need one. After SIGTERM, open calls have 10 seconds to end.
    """
    from headrace.operations.gateway import GatewayOptions, serve_gateway
    from headrace.operations.operation import At

    server = serve_gateway(At(env=env), options=GatewayOptions(**options))
    become(server.command, folder=server.folder, secrets=server.secrets)
