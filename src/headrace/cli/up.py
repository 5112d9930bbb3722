"""`headrace up`: scheduler and serving on this machine, in one command."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import click

from headrace.cli.output import bold, env_option, say, wrong

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace

ROUND = 5.0  # seconds


@click.command(name="up")
@env_option
@click.option("--port", type=click.IntRange(1, 65000), default=8080, show_default=True, help="Of the first server.")
@click.option("--once", is_flag=True, help="One round of what is due, without servers.")
def command(env: str | None, port: int, once: bool) -> None:
    """Run what is due, serve what is in Production, take over the log, tell who wants to be told; until Ctrl-C."""
    from headrace.core.clock import now
    from headrace.workspace import upkeep
    from headrace.workspace.workspace import open_workspace

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    began = now()
    with open_workspace(env) as workspace:
        name = workspace.environment.name
        servers = {} if once else _serve(workspace, port)
        say(f"{bold(f'{workspace.config.name} is up in {name}')}; Ctrl-C ends it")
        try:
            while not stop.is_set():
                for job in upkeep.due(workspace, since=began):
                    say(f"{job.why}: headrace run {' '.join(job.arguments)}")
                    _run(name, job.arguments)
                for trouble in upkeep.tend(workspace):
                    wrong(trouble)
                for model, server in servers.items():
                    if server.poll() is not None:
                        wrong(f"the server of {model} ended with {server.returncode}")
                        stop.set()
                if once or stop.wait(ROUND):
                    break
        finally:
            for server in servers.values():
                server.terminate()
            for server in servers.values():
                server.wait()


def _serve(workspace: Workspace, port: int) -> dict[str, subprocess.Popen[bytes]]:
    """A server for each deployment that declares one, on ports in a row."""
    from headrace.deployment.declarations import Deployment

    served = [each for each in workspace.project.all(Deployment) if each.serve is not None]
    started: dict[str, subprocess.Popen[bytes]] = {}
    for place, deployment in enumerate(served):
        home = workspace.home(deployment.name)
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "headrace.serving", "--home", str(home), "--port", str(port + place)]
        started[deployment.name] = subprocess.Popen(command, start_new_session=True)
    return started


def _run(env: str, arguments: tuple[str, ...]) -> None:
    """A job in a process of its own; what it says is its own, and so is its failure."""
    subprocess.run([sys.executable, "-m", "headrace.cli", "run", *arguments, "--env", env], check=False)
