"""The servers and stream workers that a scheduler keeps running on its machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import ConfigError
from headrace.core.shutdown import stop_all
from headrace.deployment.declarations import Deployment
from headrace.operations import run_process, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.core.processes import Process
    from headrace.workspace.workspace import Workspace

DRAIN = 40.0  # seconds, longer than servers take by themselves
SOON = 30.0  # seconds: a server that ends so soon, by what it was configured with, would end again


class ServerFleet:
    """A server for each deployment that declares one, on ports in a row, and a worker for each that declares a stream.

    Attributes:
        failed: whether a server could not start.
    """

    def __init__(
        self, workspace: Workspace, *, port: int, logs: Sequence[str] = (), warn: Callable[[str], None]
    ) -> None:
        """Starts nothing yet.

        Args:
            workspace: the environment.
            port: of the first server.
            logs: words of the command lines that say how the processes log.
            warn: called with a line when a process has ended.
        """
        self._workspace, self._warn, self._logs = workspace, warn, tuple(logs)
        deployments = workspace.project.all(Deployment)
        served = [each.name for each in deployments if each.serve is not None]
        self._servers = {f"server of {model}": (model, port + place) for place, model in enumerate(served)}
        self._streams = {f"stream of {each.name}": each.name for each in deployments if each.stream is not None}
        self._running: dict[str, tuple[float, Process]] = {}
        self.failed = False
        for model in served:
            workspace.home(model).mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts all of them."""
        for name in (*self._servers, *self._streams):
            self._start(name)

    def reconcile(self) -> bool:
        """Starts again what has ended; returns False when a server cannot start."""
        for name, (began, process) in list(self._running.items()):
            if process.poll() is None:
                continue
            self._warn(f"the {name} ended with {process.returncode}")
            soon = process.returncode == ConfigError.exit_code and time.monotonic() - began < SOON
            if soon and name in self._servers:  # a stream whose topic is not there yet is no reason to end servers
                self.failed = True
            else:
                self._start(name)
        return not self.failed

    def end(self) -> None:
        """Drains and ends all of them."""
        stop_all([process for _, process in self._running.values()], within=DRAIN)

    def _start(self, name: str) -> None:
        process = self._start_server(*self._servers[name]) if name in self._servers else self._start_stream(name)
        self._running[name] = time.monotonic(), process

    def _start_server(self, model: str, port: int) -> Process:
        environment = self._workspace.environment
        home = self._workspace.home(model)
        command = serving.command(
            environment, home, port=port, arguments=[*_parent(), *self._logs]
        )  # API keys may be new
        secrets = serving.secrets(environment)
        return processes.start(command, start_new_session=True, secrets=secrets, cwd=environment.root)

    def _start_stream(self, name: str) -> Process:
        arguments = ("stream", "--model", self._streams[name], *_parent(), *self._logs)
        return run_process.start(self._workspace, arguments, new_session=True)


def _parent() -> list[str]:
    """The process ends when the scheduler does."""
    return ["--parent", str(os.getpid())]
