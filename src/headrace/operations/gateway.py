"""The command line of the gateway's server, for the process that becomes the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError
from headrace.core.processes import module
from headrace.environments.llm import EXAMPLE
from headrace.environments.secret import Secret
from headrace.operations.operation import operation
from headrace.operations.serve import ServerProcess, hold_environment
from headrace.operations.serving import api_keys_file

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.core.logs import Format, Level
    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    """How the gateway's server listens, and what it writes.

    Attributes:
        host: the address to listen at; the default is this machine alone.
        port: to listen at.
        workers: processes that share the port.
        tls_certificate: a PEM file, for HTTPS.
        tls_key: the PEM file of its key.
        anonymous: whether callers need no API key, also where there are some.
        log_format: of the lines on stderr: `text` or `json`.
        log_level: the least level that is logged.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    workers: int = 1
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    anonymous: bool = False
    log_format: Format = "text"
    log_level: Level = "info"

    @property
    def arguments(self) -> list[str]:
        """The same as words of a command line."""
        words = ["--host", self.host, "--port", str(self.port), "--workers", str(self.workers)]
        words += ["--log-format", self.log_format, "--log-level", self.log_level]
        for name, file in (("--tls-certificate", self.tls_certificate), ("--tls-key", self.tls_key)):
            words += [] if file is None else [name, str(file.absolute())]
        return [*words, "--anonymous"] if self.anonymous else words


@operation("gateway")
def serve_gateway(workspace: Workspace, *, options: GatewayOptions | None = None) -> ServerProcess:
    """The server that speaks OpenAI's protocol in front of the routes of an environment.

    Where API keys were made, callers need one with the scope `gateway`. It is recorded before it is returned. From now on this
    process, and the server that it becomes, holds a lock that says that the environment is in use.

    Args:
        workspace: the environment.
        options: how the server listens; None takes the defaults.

    Raises:
        ConfigError: the environment has no routes.
        BusyError: the environment is being reset.
    """
    environment, options = workspace.configured, options or GatewayOptions()
    if not environment.llm.routes:
        raise ConfigError(f"the environment {environment.name!r} has no routes to language models.", hint=EXAMPLE)
    keys = None if options.anonymous else api_keys_file(environment)
    callers = [] if keys is None else ["--api-keys", str(keys), "--open-without-keys"]
    place = ["--project", str(workspace.config.folder), "--env", environment.name]
    command = module("headrace.llm.gateway_server", *place, *callers, *options.arguments)
    environment.root.mkdir(parents=True, exist_ok=True)
    hold_environment(environment)
    return ServerProcess(command=tuple(command), folder=environment.root, secrets=_secrets(environment))


def _secrets(environment: Environment) -> dict[str, str]:
    """The keys of routes, the URL of the state database where that is a secret, and configuration by variables."""
    references = [environment.state, *(route.key for route in environment.llm.routes.values())]
    named = {each.variable: vault.read(each.variable) for each in references if isinstance(each, Secret)}
    known = {name: value for name, value in named.items() if value is not None}
    return {**vault.starting(vault.CONFIGURATION), **known}
