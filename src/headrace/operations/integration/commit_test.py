"""The integration test of a commit: its steps in a temporary environment, a report, and a signed attestation.

The process that signs imports nothing of the project, and the process that runs the project's code has no signing key.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from headrace.core import credentials, processes, vault
from headrace.core.clock import now
from headrace.core.errors import ConfigError
from headrace.core.shutdown import stop_all
from headrace.environments import code, config
from headrace.environments.keys import COMMIT, TEMPORARY, VARIABLE
from headrace.environments.signing_keys import VARIABLE as SIGNING_KEY
from headrace.environments.temporary import TESTS
from headrace.operations.integration.steps import IntegrationRun, IntegrationStep, Result
from headrace.operations.integration.topics import delete_left
from headrace.operations.record import Record
from headrace.operations.signing import find_signer, private_key
from headrace.releases import attestation_notes
from headrace.releases.attestation import PRIVATE, Attestation, sign
from headrace.releases.evidence import lock_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import datetime
    from typing import IO

    from headrace.core.ids import Json
    from headrace.environments.code import Code
    from headrace.environments.config import Config, Environment
    from headrace.operations.operation import At

ENDED = "ended"  # the last line of the process of a test: how many steps there were
HELD = "held"  # a file that is locked as long as its test runs
BEGINNING = 60.0  # seconds after which a folder without a lock is nobody's


@dataclass(frozen=True, kw_only=True)
class IntegrationReport(Record):
    """The result of an integration test.

    Attributes:
        project: the name of the project.
        environment: the environment whose policy and sample held.
        commit: git's id of the commit; None outside git.
        tree: the id of the code.
        lock: the SHA-256 of `requirements.lock` in that commit; None where there is none.
        uncommitted: whether the folder has edits that are in no commit, and were not tested.
        started_at: when it began.
        finished_at: when it ended.
        passed: whether no step failed.
        signed_by: the name of the key that signed the attestation; None where there is none.
        steps: what was tested.
    """

    project: str
    environment: str
    commit: str | None
    tree: str
    lock: str | None
    uncommitted: bool
    started_at: datetime
    finished_at: datetime
    passed: bool
    signed_by: str | None
    steps: tuple[IntegrationStep, ...]


def run_integration_test(
    at: At,
    *,
    key: str | None = None,
    listen: Callable[[IntegrationStep], None] = lambda _: None,
) -> IntegrationReport:
    """Runs the pipelines of the commit that is checked out by the policy of an environment, in stores of their own that are deleted afterwards.

    Args:
        at: the environment whose policy holds; without a name the one below the highest.
        key: the name of the key that signs the attestation; None: the only key whose private part is here, or none.
        listen: called with each step when it ends.

    Returns:
        The report. An attestation is made where the test passed, a commit was tested, and a key is here.

    Raises:
        ConfigError: there is no project or no such key, its private part is missing or of another key, or uncommitted code
            would be signed.
        RefusedError: there is no code that may run.
    """
    project = config.load(at.folder)
    environment = (
        project.environment(at.env) if at.env else project.environments[-2 if len(project.environments) > 1 else 0]
    )
    signer = find_signer(project, key)
    tested = _tested(project, environment)
    if key is not None and tested.kind == "worktree":
        raise ConfigError(
            f"{environment.name} runs the working tree, which nobody can attest.",
            hint="Test in an environment that runs commits: headrace test integration --env staging.",
        )
    lock = lock_digest(project.folder, tested.commit) if tested.commit and tested.kind != "worktree" else None
    started = now()
    steps = _run_apart(project, environment, None if tested.kind == "worktree" else tested.commit, listen)
    report = IntegrationReport(
        project=project.name,
        environment=environment.name,
        commit=None if tested.kind == "worktree" else tested.commit,
        tree=tested.tree,
        lock=lock,
        uncommitted=tested.dirty and tested.kind != "worktree",
        started_at=started,
        finished_at=now(),
        passed=bool(steps) and all(step.result != "failed" for step in steps),
        signed_by=None,
        steps=tuple(steps),
    )
    if signer is None or not report.passed or report.commit is None:
        return report
    attestation_notes.add(project.folder, report.commit, sign(_attestation(report), signer.name, private_key(signer)))
    return replace(report, signed_by=signer.name)


def push_attestations(at: At, remote: str) -> None:
    """Hands the attestations of a repository to a remote.

    Raises:
        UnavailableError: the remote cannot be asked, or refuses them.
    """
    attestation_notes.push(config.load(at.folder).folder, remote)


def _tested(project: Config, environment: Environment) -> Code:
    """The code that is tested: the working tree where it runs, else the commit that is checked out, tagged or not."""
    return code.resolve(project, environment if environment.code == "any" else replace(environment, code="commit"))


def run_steps(at: At, tell: Callable[[dict[str, Json]], None], *, parent: int | None = None) -> bool:
    """The steps, in this process; returns whether none failed. It is what the process of a test does.

    Args:
        at: the temporary environment.
        tell: called with each step when it ends, and at last with how many there were: a process that ends before has not
            tested everything, whatever its exit code is.
        parent: the process that started the test: when it is gone, so is this one, with all that it started.

    Raises:
        ConfigError: the environment is no temporary one: its own stores would be written.
    """
    settled = at.settled()
    if not config.load(settled.folder).environment(str(settled.env)).temporary:
        raise ConfigError(
            f"{settled.env} is no temporary environment.",
            hint="headrace test integration makes one, and runs the steps.",
        )
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    steps = IntegrationRun(settled, lambda step: tell(step.to_json())).run()
    tell({ENDED: len(steps)})
    return all(step.result != "failed" for step in steps)


def _end_with(parent: int) -> None:
    """Ends this process and its group when the parent is gone, also where it was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _run_apart(
    project: Config, environment: Environment, commit: str | None, listen: Callable[[IntegrationStep], None]
) -> list[IntegrationStep]:
    """The steps in a process of their own, with a folder of their own."""
    with _own_folder(project) as folder, _interrupted_by_sigterm():
        return _run_in(folder, project, environment, commit, listen)


def _without_keys(project: Config, values: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process that runs the project's code: no signing key, whatever it is called, and nobody's token."""
    named = {*(each.private.variable for each in project.keys.values()), SIGNING_KEY, vault.TOKEN}
    return {
        name: value for name, value in values.items() if name not in named and not value.lstrip().startswith(PRIVATE)
    }


def _run_in(
    folder: Path,
    project: Config,
    environment: Environment,
    commit: str | None,
    listen: Callable[[IntegrationStep], None],
) -> list[IntegrationStep]:
    of_environment = f"{VARIABLE}{environment.name}__"
    temporary = {f"{of_environment}{TEMPORARY}": str(folder / "stores")}
    if commit is not None:
        temporary[f"{of_environment}{COMMIT}"] = commit
    log = folder / "log"
    steps: list[IntegrationStep] = []
    whole = False
    command = ("headrace.cli", "test", "integration", "--steps", str(os.getpid()), "--env", environment.name)
    with log.open("wb") as said:
        process = processes.start(
            processes.module(*command),
            env=_without_keys(project, processes.own_environment()),
            secrets={**_without_keys(project, vault.held()), **temporary},
            stdin=processes.NOTHING,
            stdout=processes.PIPE,
            stderr=said,
            cwd=project.folder,
            start_new_session=True,
        )
        try:
            with cast("IO[bytes]", process.stdout) as lines:
                for line in lines:
                    told = _read_line(line)
                    if told.keys() == {ENDED}:
                        whole = told[ENDED] == len(steps)
                    elif (step := _read_step(told)) is not None:
                        steps.append(step)
                        listen(step)
            ended = process.wait()
        finally:
            stop_all([process], within=10)
            with suppress(ProcessLookupError):  # what the project's code started and left behind
                os.killpg(process.pid, signal.SIGKILL)
    if not whole or ended not in (0, 1) or (ended == 1) != any(step.result == "failed" for step in steps):
        told = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        steps.append(_ended_early(ended, credentials.hidden(told)))
        listen(steps[-1])
    return steps


@contextmanager
def _own_folder(project: Config) -> Generator[Path]:
    """A folder for one test, which is deleted at its end; those of tests that were killed are deleted first."""
    parent = project.folder / TESTS
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.is_dir() and not _is_held(left):
            _delete(project, left)
    folder = Path(tempfile.mkdtemp(dir=parent))
    with (folder / HELD).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _delete(project, folder)


def _delete(project: Config, folder: Path) -> None:
    """Deletes what a test left; its folder stays for the next test where a broker does not delete its topics now."""
    if delete_left(project, folder):
        shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    """Whether the test of a folder runs, in whatever process or container."""
    if time.time() - folder.stat().st_mtime < BEGINNING:
        return True  # it may be about to hold its lock
    try:
        with (folder / HELD).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


@contextmanager
def _interrupted_by_sigterm() -> Generator[None]:
    """SIGTERM is an interruption like Ctrl-C meanwhile: what was started ends, and nothing is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _ended_early(ended: int, log: str) -> IntegrationStep:
    how = f"ended early, with {ended}" if ended >= 0 else f"was killed (signal {-ended})"
    reason = f"the test's process {how}"
    return IntegrationStep(step="test", result="failed", seconds=0.0, reason=reason, log=log)


def _read_line(line: bytes) -> dict[str, Any]:
    """What the process told; empty for what a program printed in between."""
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def _read_step(told: dict[str, Any]) -> IntegrationStep | None:
    try:
        step = IntegrationStep(**told)
    except TypeError:
        return None
    texts = (step.step, step.summary, step.reason, step.log)
    well = step.result in get_args(Result) and isinstance(step.seconds, int | float)
    return step if well and all(isinstance(text, str) for text in texts) else None


def _attestation(report: IntegrationReport) -> Attestation:
    assert report.commit is not None

    def those(result: str) -> tuple[str, ...]:
        return tuple(step.step for step in report.steps if step.result == result)

    return Attestation(
        project=report.project,
        environment=report.environment,
        commit=report.commit,
        tree=report.tree,
        lock=report.lock,
        headrace=version("headrace"),
        passed=those("passed"),
        failed=those("failed"),
        skipped=those("skipped"),
        at=report.finished_at,
    )
