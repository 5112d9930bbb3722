"""A command of `headrace run` as a separate process, with its own output and its own failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core import processes, vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.processes import Process
    from headrace.workspace.workspace import Workspace


def command(workspace: Workspace, arguments: Sequence[str]) -> list[str]:
    """The command line of `headrace run ARGUMENTS --env ENV`, with the release that runs here where one was chosen."""
    release = [] if workspace.release is None else ["--release", workspace.release]
    return processes.module("headrace.cli", "run", *arguments, "--env", workspace.configured.name, *release)


def start(workspace: Workspace, arguments: Sequence[str], *, new_session: bool = False, piped: bool = False) -> Process:
    """Starts `headrace run ARGUMENTS --env ENV` in the project's folder, as whoever runs this process.

    Args:
        workspace: the environment.
        arguments: the words after `headrace run`.
        new_session: whether a Ctrl-C at the terminal does not reach it.
        piped: whether what it prints is to be read from the `stdout` of the process.
    """
    variables, secrets = processes.own_environment(), vault.held()
    return processes.start(
        command(workspace, arguments),
        env=variables,
        secrets=secrets,
        start_new_session=new_session,
        stdout=processes.PIPE if piped else None,
        stderr=processes.SAME if piped else None,
        cwd=workspace.config.folder,
    )
