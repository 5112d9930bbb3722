"""The one module that starts processes.

A Python process starts without the current folder and `PYTHONPATH` on its import path (`-P`): code in a project's
folder is not imported by accident. Packages that the user installed with `pip install --user` stay importable, because
Headrace may be one of them; the environment cannot change their place. The process gets only listed environment
variables, and the secrets that it needs through a pipe, which the child's vault reads: no command line and no
environment shows them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast

from headrace.core.errors import ConfigError
from headrace.core.vault import HANDED

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from pathlib import Path

Process = subprocess.Popen[bytes]
Done = subprocess.CompletedProcess[bytes]
PIPE, NOTHING, SAME = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
LateError = subprocess.TimeoutExpired

# Of the machine alone, and nobody's: where programs and their libraries are, the language, how many threads there may be.
MACHINE = frozenset(
    {
        "PATH",
        "LANG",
        "SYSTEMROOT",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_MAX_THREADS",
    }
)
# What says where things are on this machine, which language it speaks, and how many threads there may be.
KEPT = MACHINE | frozenset(
    {
        "HOME", "USER", "LOGNAME", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "NO_COLOR", "TERM", "LD_PRELOAD", "SSL_CERT_FILE",
        "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SPARK_HOME", "JAVA_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME", "HEADRACE_FAILPOINT", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONFAULTHANDLER", "PYTHONHASHSEED",
        "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONIOENCODING",
    }
)  # fmt: skip
KINDS = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "CUDA_", "NVIDIA_", "MALLOC_", "COVERAGE_", "COV_CORE_")
OF_PYTHON = (
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONUSERBASE",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
)


def environment(**changes: str) -> dict[str, str]:
    """What a process may know of this one's environment: the variables on the list, and what is said."""
    return {**_kept(KEPT), **changes}


def bare_environment(**changes: str) -> dict[str, str]:
    """The same for a process that is to see the machine alone: nobody's home, names or settings."""
    return {**_kept(MACHINE), **changes}


def _kept(names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in names or name.startswith(KINDS)}


def own_environment() -> dict[str, str]:
    """This process's environment, for a child that is the same command over again: all but what leads Python elsewhere.

    What the vault holds is in no environment.
    """
    return {name: value for name, value in os.environ.items() if name not in OF_PYTHON}


def module(name: str, *arguments: str, options: Iterable[str] = ()) -> list[str]:
    """The command that runs a module of Headrace by this interpreter, away from the current folder."""
    return [sys.executable, "-P", *options, "-m", name, *arguments]


def program(file: Path, *arguments: str) -> list[str]:
    """The command that runs a file by this interpreter, with the standard library and nothing that is installed."""
    return [sys.executable, "-I", "-S", "-W", "ignore", str(file), *arguments]


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
    **how: Any,
) -> Process:
    """Starts a process.

    Args:
        command: and its arguments.
        env: its environment; default: `environment()`.
        secrets: that it is handed.
        descriptors: that it inherits; it inherits no others.
        how: the rest of what `subprocess.Popen` takes.
    """
    with _handed(secrets) as (more, variables):
        started = subprocess.Popen(
            list(command),
            env={**(environment() if env is None else env), **variables},
            pass_fds=[*descriptors, *more],
            **how,
        )
        return cast("Process", started)


def run(
    command: Sequence[str], *, folder: Path | None = None, env: Mapping[str, str] | None = None, given: bytes = b""
) -> Done:
    """Runs a program to its end, and gives what it said.

    Raises:
        FileNotFoundError: it is not installed.
    """
    return subprocess.run(
        list(command),
        cwd=folder,
        env=dict(environment() if env is None else env),
        input=given,
        capture_output=True,
        check=False,
    )


async def start_beside(
    command: Sequence[str], *, secrets: Mapping[str, str] | None = None, **how: Any
) -> asyncio.subprocess.Process:
    """Starts a process from an event loop."""
    with _handed(secrets) as (more, variables):
        return await asyncio.create_subprocess_exec(*command, env={**environment(), **variables}, pass_fds=more, **how)


def become(command: Sequence[str], *, folder: Path, secrets: Mapping[str, str]) -> NoReturn:
    """Another program takes the place of this process, in a folder."""
    with _handed(secrets) as (more, variables):
        for descriptor in more:
            os.set_inheritable(descriptor, True)
        os.chdir(folder)
        os.execve(command[0], list(command), {**environment(), **variables})  # noqa: S606


@contextmanager
def _handed(secrets: Mapping[str, str] | None) -> Generator[tuple[list[int], dict[str, str]]]:
    """A pipe that holds secrets, as the descriptor that a child reads and the variable that names it."""
    if not secrets:
        yield [], {}
        return
    written = json.dumps(dict(secrets)).encode()
    theirs, ours = os.pipe()
    try:
        with os.fdopen(ours, "wb", buffering=0) as end:
            os.set_blocking(ours, False)
            if end.write(written) != len(written):
                raise ConfigError(
                    f"the variables for a process of its own have {len(written):,} bytes, more than a pipe takes.",
                    hint=f"Which ones: {', '.join(sorted(secrets))}",
                )
        yield [theirs], {HANDED: str(theirs)}
    finally:
        os.close(theirs)
