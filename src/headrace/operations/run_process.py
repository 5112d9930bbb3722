"""A command of `headrace run` as a process of its own: what it prints is its own, and so is its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core import processes, vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.processes import Process


def command(env: str, arguments: Sequence[str]) -> list[str]:
    """The command line of `headrace run ARGUMENTS --env ENV`."""
    return processes.module("headrace.cli", "run", *arguments, "--env", env)


def start(env: str, arguments: Sequence[str], *, new_session: bool = False) -> Process:
    """Starts `headrace run ARGUMENTS --env ENV` as whoever runs this process.

    Args:
        env: the environment.
        arguments: the words after `headrace run`.
        new_session: whether a Ctrl-C at the terminal does not reach it.
    """
    variables, secrets = processes.own_environment(), vault.held()
    return processes.start(command(env, arguments), env=variables, secrets=secrets, start_new_session=new_session)
