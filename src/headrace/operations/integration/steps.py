"""The steps of an integration test: every pipeline of the project, in a temporary environment, up to a server under load.

They run in a process of their own, which has the project's code and no signing key. What a step needs that failed is not run, and
says so; other models go on.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

from headrace.core import processes, vault
from headrace.core.errors import HeadraceError, UnavailableError
from headrace.core.shutdown import stop_all
from headrace.core.text import counted
from headrace.deployment.declarations import Deployment
from headrace.operations.deploy import deploy
from headrace.operations.integration.stream import SkippedError, check_stream
from headrace.operations.monitor import monitor
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.refresh import refresh
from headrace.operations.score import destination, score
from headrace.operations.train import train
from headrace.serving.declarations import LoadTest
from headrace.serving.manifest import FILE, PARITY, read_manifest, read_parity, version_folder
from headrace.training.declarations import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from headrace.operations.operation import At
    from headrace.serving.manifest import Parity
    from headrace.workspace.workspace import Workspace

Result = Literal["passed", "failed", "skipped"]
EVER = datetime(
    1970, 1, 1, tzinfo=UTC
)  # a test scores every decision of its sample: there may be none after the training
PATIENCE = 60.0  # seconds that a server may take to be ready
FINDINGS = 10  # of a failure, as they are told
SCRATCH = "integration.{}_predictions"  # in place of files and databases, which a test does not write


@dataclass(frozen=True, kw_only=True)
class IntegrationStep(Record):
    """One step of an integration test.

    Attributes:
        step: what was tested: `train late`.
        result: `passed`, `failed`, or `skipped` where it does not apply or what it needs failed.
        seconds: that it took.
        summary: what it did, on a line.
        reason: why it failed or was skipped; empty where it passed.
        log: what else it said about a failure, a line each.
    """

    step: str
    result: Result
    seconds: float
    summary: str = ""
    reason: str = ""
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class DeclaredModel(Record):
    """A model, and what of the loop its deployment declares.

    Attributes:
        name: of the model.
        trained: whether it has something to train from, and does not come from outside.
        deployed: whether it has a deployment.
        streamed: whether it scores a stream.
        served: whether it answers over HTTP.
        monitored: whether its predictions are monitored.
        into: where a test scores in batch: the declared table, or one of the test's own.
    """

    name: str
    trained: bool
    deployed: bool
    streamed: bool
    served: bool
    monitored: bool
    into: str


@operation("test integration", reads=True)
def declared_models(workspace: Workspace) -> list[DeclaredModel]:
    """The models of the program, in the order in which they are declared."""
    deployments = {each.name: each for each in workspace.project.all(Deployment)}
    return [_declared(model, deployments.get(model.name)) for model in workspace.project.all(Model)]


def _declared(model: Model, deployment: Deployment | None) -> DeclaredModel:
    tables = () if deployment is None else deployment.score.tables
    return DeclaredModel(
        name=model.name,
        trained=model.fit is not None or model.predict is not None,
        deployed=deployment is not None,
        streamed=deployment is not None and deployment.stream is not None,
        served=deployment is not None and deployment.serve is not None,
        monitored=deployment is not None and deployment.monitor is not None,
        into=tables[0] if tables else SCRATCH.format(model.name.lower()),
    )


@dataclass
class IntegrationRun:
    """One run of all steps.

    Args:
        at: the temporary environment.
        listen: called with each step when it ends.
    """

    at: At
    listen: Callable[[IntegrationStep], None]
    steps: list[IntegrationStep] = field(default_factory=list[IntegrationStep])

    def run(self) -> list[IntegrationStep]:
        """Every step in its order."""
        if not self._step("declarations", self._declarations):
            return self.steps
        fresh = self._step("refresh", self._refresh)
        for model in declared_models(self.at):
            name = model.name
            if not model.trained:
                self._skip(f"train {name}", "the model comes from outside: headrace model import")
                continue
            trained = self._step(f"train {name}", lambda name=name: self._train(name), needs=fresh, of="refresh")
            if not model.deployed:
                continue
            self._deployed(model, trained)
        return self.steps

    def _deployed(self, model: DeclaredModel, trained: bool) -> None:
        name = model.name
        gates = self._step(f"gates {name}", lambda: self._gates(name), needs=trained, of=f"train {name}")
        needed = f"gates {name}"
        scored = self._step(f"batch {name}", lambda: self._batch(model), needs=gates, of=needed)
        if model.streamed:
            self._step(f"stream {name}", lambda: check_stream(self.at, name), needs=gates, of=needed)
        if model.served:
            self._step(f"endpoint {name}", lambda: self._endpoint(name), needs=gates, of=needed)
        if model.monitored:
            self._step(f"monitor {name}", lambda: self._monitor(name), needs=scored, of=f"batch {name}")

    def _declarations(self) -> str:
        models = declared_models(self.at)
        return f"{counted(len(models), 'model')}: {', '.join(model.name for model in models) or 'none'}"

    def _refresh(self) -> str:
        done = refresh(self.at)
        return f"{counted(len(done.steps), 'step')}, {done.steps[-1].name if done.steps else 'nothing declared'}"

    def _train(self, name: str) -> str:
        done = train(self.at, name)
        return next((step.summary for step in done.steps if step.name == "evaluate"), None) or f"run {done.run}"

    def _gates(self, name: str) -> str:
        done = deploy(self.at, name)
        if done.ending != "in production":
            raise HeadraceError(
                f"version {done.version} of {name} is not in Production: {done.ending}.", findings=done.findings
            )
        asked = [step.summary or step.name for step in done.steps if step.name.startswith(("check ", "compare "))]
        return "; ".join(asked) or "no gate is declared"

    def _batch(self, model: DeclaredModel) -> str:
        done = score(self.at, model.name, since=EVER, into=(destination(model.into),))
        outputs = [cast("Mapping[str, object]", step.output) for step in done.steps if step.output]
        rows = [each["rows"] for each in outputs if isinstance(each.get("rows"), int)]
        return f"{counted(sum(cast('list[int]', rows)), 'decision')} scored"

    def _endpoint(self, name: str) -> str:
        load, parity = _served(self.at, name)
        with _server(self.at, name) as port:
            if not parity.rows:
                return "it is ready; a load of a model that answers by itself costs, and is not tried"
            return _bear(name, port, load, parity)

    def _monitor(self, name: str) -> str:
        done = monitor(self.at, name)
        holding = ", ".join(alert.rule for alert in done.alerts)
        return f"{counted(len(done.steps), 'step')}, {f'alerts: {holding}' if holding else 'no alert'}"

    def _step(self, name: str, do: Callable[[], str], *, needs: bool = True, of: str = "") -> bool:
        """Runs a step; returns whether what needs it can run."""
        if not needs:
            self._skip(name, f"it needs {of}, which did not pass")
            return False
        begun = time.monotonic()
        result: Result = "passed"
        summary, reason, log = "", "", ""
        try:
            summary = do()
        except SkippedError as skipped:
            result, reason = "skipped", str(skipped)
        except HeadraceError as error:
            result, reason = "failed", error.what
            log = "\n".join((*error.findings[:FINDINGS], error.hint))
        self._end(name, result, time.monotonic() - begun, summary=summary, reason=reason, log=log)
        return result == "passed"

    def _skip(self, name: str, reason: str) -> None:
        self._end(name, "skipped", 0.0, reason=reason)

    def _end(
        self, name: str, result: Result, seconds: float, *, summary: str = "", reason: str = "", log: str = ""
    ) -> None:
        step = IntegrationStep(
            step=name, result=result, seconds=round(seconds, 2), summary=summary, reason=reason, log=log
        )
        self.steps.append(step)
        self.listen(step)


@operation("test integration", reads=True)
def _served(workspace: Workspace, name: str) -> tuple[LoadTest, Parity]:
    """The load to bear, and the rows with the predictions of the version in Production."""
    home = workspace.home(name)
    folder = version_folder(home / FILE, read_manifest(home / FILE))
    return workspace.project.find(Deployment, name).load_test or LoadTest(), read_parity(folder / PARITY)


def _bear(name: str, port: int, load: LoadTest, parity: Parity) -> str:
    """Runs the load test, and holds the result against what is declared.

    Raises:
        HeadraceError: answers differ, there are too many errors, or they take too long.
    """
    from headrace.serving.declarations import milliseconds
    from headrace.serving.load_test import run_load_test

    done = asyncio.run(run_load_test(port, load, parity))
    summary = (
        f"{counted(done.requests, 'request')}, {load.concurrency} at a time: p50 {done.p50 * 1e3:.1f} ms, "
        f"p95 {done.p95 * 1e3:.1f} ms, {counted(done.errors, 'error')}"
    )
    if done.differing:
        raise HeadraceError(
            f"{done.differing:,} of {done.requests:,} answers of {name} differ from MLflow's pyfunc.",
            findings=done.examples,
        )
    if done.errors > load.errors * done.requests:
        raise HeadraceError(
            f"{done.errors:,} of {done.requests:,} requests of {name} failed; {load.errors:.2%} may.",
            findings=done.examples,
        )
    if load.p95 is not None and done.p95 > milliseconds(load.p95):
        raise HeadraceError(f"p95 of {name} is {done.p95 * 1e3:.1f} ms, more than {load.p95}: {summary}.")
    return summary


@contextmanager
def _server(at: At, name: str) -> Generator[int]:
    """`headrace serve` of a model, as a user starts it, at a port that is free."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    command = processes.module(
        "headrace.cli", "serve", name, "--env", str(at.env), "--port", str(port), "--parent", str(os.getpid())
    )
    with tempfile.TemporaryFile() as log:
        process = processes.start(
            command, cwd=at.folder, secrets=vault.held(), stdin=processes.NOTHING, stdout=log, stderr=log
        )
        try:
            until = time.monotonic() + PATIENCE
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    told = log.read().decode(errors="replace").splitlines()[-FINDINGS:]
                    ended = "ended" if process.poll() is not None else f"is not ready after {PATIENCE:.0f} s"
                    raise UnavailableError(f"the server of {name} {ended}.", findings=told)
                time.sleep(0.05)
            yield port
        finally:
            stop_all([process], within=10)


def _is_ready(port: int) -> bool:
    """Whether it answers full rows, as the load test sends them: features by key are not needed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return json.loads(connection.getresponse().read()).get("status") in ("ready", "no features")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return False
    finally:
        connection.close()
