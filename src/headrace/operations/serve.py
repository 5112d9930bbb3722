"""The command line of a server process, for the process that becomes the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import BusyError, ConfigError, HeadraceError
from headrace.core.locks import share
from headrace.deployment.declarations import Deployment
from headrace.environments import config
from headrace.operations import serving
from headrace.operations.operation import At, operation
from headrace.operations.record import Record
from headrace.workspace.locked_runtime import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.core.ids import Json
    from headrace.core.logs import Format, Level
    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server listens, and what it writes.

    Attributes:
        host: the address to listen at; the default is this machine alone.
        port: to listen at.
        processes: how many share the port.
        tls_certificate: a PEM file, for HTTPS.
        tls_key: the PEM file of its key.
        anonymous: whether callers need no API key, also where there are some.
        access_log: whether each request leaves a line of JSON on stdout.
        traces: whether spans go to a collector of OpenTelemetry.
        log_format: of the lines on stderr: `text` or `json`.
        log_level: the least level that is logged.
        parent: the process with which the server ends: the one that started it. None: it runs until it is stopped.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    processes: int = 1
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    anonymous: bool = False
    access_log: bool = False
    traces: bool = False
    log_format: Format = "text"
    log_level: Level = "info"
    parent: int | None = None

    @property
    def arguments(self) -> list[str]:
        """The same as words of a command line, without the port."""
        words = ["--host", self.host, "--processes", str(self.processes)]
        words += ["--log-format", self.log_format, "--log-level", self.log_level]
        for name, file in (("--tls-certificate", self.tls_certificate), ("--tls-key", self.tls_key)):
            words += [] if file is None else [name, str(file.absolute())]
        words += [] if self.parent is None else ["--parent", str(self.parent)]
        flags = (("--anonymous", self.anonymous), ("--access-log", self.access_log), ("--traces", self.traces))
        return words + [name for name, wanted in flags if wanted]


@dataclass(frozen=True, kw_only=True)
class ServerProcess(Record):
    """A server that is to be started: `headrace.core.processes.become` makes this process that server.

    Attributes:
        command: its command line; the first word is the program.
        folder: in which it runs.
        secrets: variable → value that it needs beside its command line. They are neither printed nor part of the JSON.
    """

    command: tuple[str, ...]
    folder: Path
    secrets: Mapping[str, str] = field(repr=False)

    def to_json(self) -> dict[str, Json]:
        """The command line and the folder, without the secrets."""
        return {"command": list(self.command), "folder": self.folder.as_posix()}


@operation("serve", of="model")
def serve(workspace: Workspace, model: str | None = None, *, options: ServerOptions | None = None) -> ServerProcess:
    """The server of a model that is deployed. It starts from its own copy: neither registry nor lakehouse is needed.

    It is recorded before it is returned. From now on this process, and the server that it becomes, holds a lock that says
    that the environment is in use, which `headrace env reset` looks at.

    Args:
        workspace: where the model is served.
        model: its name; may be left out when there is only one.
        options: how the server listens; None takes the defaults.

    Raises:
        NotFoundError: there is no such model here.
        RefusedError: the environment asks for the locked runtime, and another one is installed.
        DeclarationError: no model is named, and there are several.
        BusyError: the environment is being reset.
    """
    environment, options = workspace.configured, options or ServerOptions()
    _check_runtime(workspace)
    home = serving.home(environment, model, declared=lambda: _deployed(workspace))
    command = serving.command(environment, home, port=options.port, arguments=options.arguments)
    environment.root.mkdir(parents=True, exist_ok=True)
    hold_environment(environment)
    return ServerProcess(command=tuple(command), folder=environment.root, secrets=serving.secrets(environment))


def _check_runtime(workspace: Workspace) -> None:
    """Compares with the code that runs or, in an image without a repository, with the project's folder.

    A server starts while the state database is away: then what the folder says holds.

    Raises:
        RefusedError: the environment asks for the locked runtime, and another one is installed.
    """
    try:
        environment = workspace.environment
    except (HeadraceError, SQLAlchemyError):
        environment = workspace.configured
    if environment.runtime != "locked":
        return
    try:
        found, code = workspace.runtime, str(workspace.code)
    except (HeadraceError, SQLAlchemyError):
        found, code = compare(workspace.config.folder), f"the folder {workspace.config.folder}"
    found.check(environment.name, code)


def serve_mlflow_model(at: At, mlflow: str, *, options: ServerOptions | None = None) -> ServerProcess:
    """The server of a model of any MLflow flavour. Outside of a project there is no environment, and nothing is guarded.

    Args:
        at: where; outside of a project, `env` has to be None.
        mlflow: a folder with `MLmodel`, or a URI such as `models:/NAME/3` or `runs:/ID/model`.
        options: how the server listens; None takes the defaults.

    Raises:
        ConfigError: an environment is named, and there is no project.
    """
    options = options or ServerOptions()
    try:
        config.find(at.folder or Path.cwd())
    except ConfigError:
        if at.env is not None:
            raise
        return _mlflow_server(None, mlflow, options)
    return _serve_mlflow_model(at, mlflow=mlflow, options=options)


@operation("serve")
def _serve_mlflow_model(workspace: Workspace, *, mlflow: str, options: ServerOptions) -> ServerProcess:
    """The same in a project: it may be served by whoever may start servers, and it is recorded."""
    return _mlflow_server(workspace.configured, mlflow, options)


def _mlflow_server(environment: Environment | None, mlflow: str, options: ServerOptions) -> ServerProcess:
    place = str(Path(mlflow).absolute()) if Path(mlflow).exists() else mlflow
    command = serving.command(environment, place, port=options.port, arguments=options.arguments)
    secrets = {**serving.secrets(environment), **serving.reaching(environment)}
    if environment is None:
        return ServerProcess(command=tuple(command), folder=Path.cwd(), secrets=secrets)
    environment.root.mkdir(parents=True, exist_ok=True)
    return ServerProcess(command=tuple(command), folder=environment.root, secrets=secrets)


def hold_environment(environment: Environment) -> None:
    """Holds, for as long as this process and the server that it becomes run, the lock of servers of an environment.

    Raises:
        BusyError: the environment is being reset.
    """
    try:
        share(serving.lock_file(environment))
    except BlockingIOError:
        raise BusyError(f"{environment.name!r} is being reset.", hint="Start the server again afterwards.") from None


def _deployed(workspace: Workspace) -> Sequence[str]:
    return [each.name for each in workspace.project.all(Deployment)]
