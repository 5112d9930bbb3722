"""Parity of serving and batch scoring: a real server repeats the predictions of batch scoring, without the lakehouse.

Features are published as of a moment and the lakehouse's folder is renamed. Then every decision of that moment is
requested over HTTP by its key and the columns of a request, and each answer must equal the batch score to the last bit.
A difference is a skew between training and serving, and fails the step. The answers are in the inference table
afterwards, once each.

One difference is not a skew: matrix products round the last bit differently for different numbers of rows. If a version
is shown to do this on its own samples, an answer that differs by no more than rounding counts as equal, and is
reported.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from headrace.core import processes
from headrace.core.errors import DataError, HeadraceError, RefusedError
from headrace.core.folders import copy_folder
from headrace.core.text import counted
from headrace.features.online.sqlite import SqliteStore
from headrace.jobs.step_output import StepOutput
from headrace.lakehouse.offline import away
from headrace.operations.in_use import alone
from headrace.operations.job import RunReport, announce, begin_job, one_deployment, steps
from headrace.operations.operation import operation
from headrace.operations.sync import serve_current
from headrace.serving.manifest import FILE, read_manifest, version_folder, write_manifest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    import pandas as pd

    from headrace.core.ids import Json
    from headrace.core.processes import Process
    from headrace.features.plan import FeaturePlan
    from headrace.jobs.run import StepContext
    from headrace.operations.job import Announcer, Listener
    from headrace.workspace.workspace import Workspace

AT_ONCE = 16  # connections
PATIENCE = 30.0  # seconds that a server may take to be ready
ROUNDING = 1e-12  # of a number: far over float64's 2e-16, far under what another feature value would do


@dataclass(frozen=True, kw_only=True)
class SampledDecisions:
    """Decisions of one moment: what a request says, and what batch scoring answered."""

    at: datetime
    requests: list[dict[str, Any]]
    expected: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ParityReport(RunReport):
    """What a server answered, beside what batch scoring had answered.

    Attributes:
        requests: that were sent.
        instants: moments of decisions among them.
        mismatches: answers that differ by more than the rounding of matrix products.
        logged: requests that are in the inference table once; 0 where the declared log is `"none"`.
    """

    requests: int
    instants: int
    mismatches: int
    logged: int


@dataclass(frozen=True, kw_only=True)
class AnsweredRequests(StepOutput):
    """Requests whose answers equal the batch scores.

    Attributes:
        requests: that were sent.
        instants: moments of decisions among them.
        mismatches: none, or the step fails.
        ids: of the requests.
        rounded: answers that are equal but for the rounding of matrix products.
    """

    requests: int
    instants: int
    mismatches: int
    ids: Sequence[str]
    rounded: int

    def summary(self) -> str:
        """How many, at how many moments."""
        rounded = f", {self.rounded} but for rounding" if self.rounded else ""
        return f"{self.requests:,} answers at {self.instants} moments equal the batch scores{rounded}"


@dataclass(frozen=True, kw_only=True)
class LoggedRequests(StepOutput):
    """Requests that are in the inference table.

    Attributes:
        rows: that were collected.
        logged: requests that are there, each once.
    """

    rows: int
    logged: int

    def summary(self) -> str:
        """How many."""
        return f"{counted(self.logged, 'request')} in the inference table, once each"


@operation("run parity-check", of="name")
def check_parity(
    workspace: Workspace,
    name: str | None = None,
    *,
    since: datetime,
    until: datetime,
    rows: int = 1000,
    instants: int = 3,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> ParityReport:
    """Asks for at least so many decisions of at least so many moments in `since <= at < until`.

    Raises:
        DataError: an answer differs from the batch score, or is not in the inference table exactly once.
        RefusedError: a candidate answers too.
        BusyError: something else works here, which would miss the lakehouse.
    """
    deployment = one_deployment(workspace.project, name)
    version = workspace.registry.current(deployment.name, "Production")
    if version is None:
        raise DataError(
            f"no version of {deployment.name} is in Production.",
            hint=f"headrace run deploy --env {workspace.environment.name}",
        )
    if candidates := workspace.registry.traffic.current(deployment.name).candidates:
        raise RefusedError(
            f"version {candidates[0].version} answers a part of the requests: parity is checked for Production alone.",
            hint=f"headrace traffic show {deployment.name} --env {workspace.environment.name}",
        )
    asked: dict[str, Json] = {"since": since.isoformat(), "until": until.isoformat(), "rows": rows}
    announce(workspace, begin)
    only = alone(workspace, "check parity: nothing else may be at work while the lakehouse is away")
    with only, begin_job(workspace, f"parity-check {deployment.name}", asked, listen) as run:
        serve_current(workspace, deployment.name)
        found = _decisions(
            workspace, deployment.name, deployment.score.table, version.version, since, until, rows, instants
        )
        moments: list[Json] = [each.at.isoformat() for each in found]

        def ask(step: StepContext) -> AnsweredRequests:
            told = _ask_all(workspace, deployment.name, found)
            for line in told["differ"][:20]:
                step.log(line)
            if told["differ"]:
                raise DataError(
                    f"{len(told['differ'])} of {told['requests']} answers differ from the batch scores.",
                    findings=told["differ"],
                    hint="What was served is not what was trained on: compare the online store with the feature tables.",
                )
            return AnsweredRequests(
                requests=told["requests"],
                instants=len(found),
                mismatches=0,
                ids=told["ids"],
                rounded=told["rounded"],
            )

        key: dict[str, Json] = {"artifact": version.artifact_hash, "moments": moments, "run": run.id}
        answered = run.step(f"ask version {version.version}", key, ask, output=AnsweredRequests).output

        def collect(_: StepContext) -> LoggedRequests:
            rows = _collect(workspace, deployment.name)
            logged = _logged(workspace, deployment.name, answered.ids)
            if logged != answered.requests:
                raise DataError(f"{logged} of {answered.requests} answered requests are in the inference table once.")
            return LoggedRequests(rows=rows, logged=logged)

        logged = 0
        if deployment.serve is None or deployment.serve.log != "none":
            key = {**key, "requests": answered.requests}
            logged = run.step("collect the log", key, collect, output=LoggedRequests).output.logged
    return ParityReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        requests=answered.requests,
        instants=answered.instants,
        mismatches=answered.mismatches,
        logged=logged,
    )


def _decisions(
    workspace: Workspace,
    model: str,
    into: str,
    version: int,
    since: datetime,
    until: datetime,
    rows: int,
    instants: int,
) -> list[SampledDecisions]:
    """The moments with the most decisions, until there are enough, in order of time."""
    from headrace.lakehouse.identifiers import column, quoted
    from headrace.scoring.columns import is_output, key_columns

    plan = _plan(workspace, model)
    columns = list(
        dict.fromkeys((*plan.keys, *plan.spine_columns, *(spine for each in plan.lookups for _, spine in each.on)))
    )
    on = " and ".join(f"s.{column(key)} = p.{column(kept)}" for key, kept in key_columns(plan.keys).items())
    outputs = [name for name in workspace.lakehouse.snapshot(into).schema.names if is_output(name)]
    chosen = [f"p.{column(name)} as _output_{place}" for place, name in enumerate(outputs)]
    chosen += [f"s.{column(name)} as _given_{place}" for place, name in enumerate(columns)]
    with workspace.lakehouse.connect({into: None, plan.spine: None}) as connection:
        found = connection.sql(
            f"""
            with busy as (
                select decision_time, count(*) as decisions, sum(decisions) over (
                    order by count(*) desc, decision_time rows between unbounded preceding and 1 preceding
                ) as before, row_number() over (order by count(*) desc, decision_time) as place
                from {quoted(into)}
                where model_version = {version} and decision_time >= timestamptz '{since.isoformat()}'
                    and decision_time < timestamptz '{until.isoformat()}'
                group by decision_time
            )
            select p.prediction_id as _id, p.decision_time as _at, {", ".join(chosen)}
            from {quoted(into)} p
            join busy b using (decision_time)
            join {quoted(plan.spine)} s on {on}
            where p.model_version = {version} and (coalesce(b.before, 0) < {rows} or b.place <= {instants})
            order by _at, _id
            """
        ).to_arrow_table()
    by_moment: dict[datetime, SampledDecisions] = {}
    for row in found.to_pylist():
        one = by_moment.setdefault(row["_at"], SampledDecisions(at=row["_at"], requests=[], expected=[]))
        given = {name: row[f"_given_{place}"] for place, name in enumerate(columns)}
        one.requests.append({**given, plan.at: row["_at"]})
        answered = {name: row[f"_output_{place}"] for place, name in enumerate(outputs)}
        one.expected.append({"prediction_id": row["_id"], **answered})
    if len(by_moment) < instants:
        raise DataError(
            f"{len(by_moment)} moments with decisions from {since:%Y-%m-%d} to {until:%Y-%m-%d}; {instants} are needed.",
            hint="Score first: headrace run score",
        )
    return [by_moment[at] for at in sorted(by_moment)]


def _plan(workspace: Workspace, model: str) -> FeaturePlan:
    """Of the version in Production, from its copy."""
    from headrace.features.plan import FeaturePlan
    from headrace.serving.manifest import PACKAGE

    file = workspace.home(model) / FILE
    folder = version_folder(file, read_manifest(file))
    return FeaturePlan.from_json(json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))["plan"])


def _stage(workspace: Workspace, model: str) -> tuple[Path, SqliteStore]:
    """A home for the server of the check: the version in Production, an empty online store, the log of the environment."""
    real, home = workspace.home(model), workspace.environment.root / "parity-check" / model
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    current = read_manifest(real / FILE)
    written = replace(
        current,
        versions=(current.primary,),
        split=None,
        online="online.db",
    )
    copy_folder(version_folder(real / FILE, current), home / current.primary.folder)
    write_manifest(home / FILE, written)
    return home, SqliteStore(home / "online.db")


def _ask_all(workspace: Workspace, model: str, found: Sequence[SampledDecisions]) -> dict[str, Any]:
    from headrace.features.online.publish import publish
    from headrace.pipelines.publish import online_tables

    tables = [name for name in _plan(workspace, model).tables if name in online_tables(workspace.project)]
    home, online = _stage(workspace, model)
    differ: list[str] = []
    ids: list[str] = []
    rounded = 0
    rounds = cache(lambda: _rounds_by_number(workspace.home(model)))
    with _server(home) as port, ThreadPoolExecutor(AT_ONCE) as pool:
        for one in found:
            for table in tables:
                publish(workspace.lakehouse, table, online, as_of=one.at)
            with away(workspace.environment.lakehouse_root):
                answers = list(pool.map(lambda request: _ask(port, request), one.requests))
            for request, expected, (request_id, answer) in zip(one.requests, one.expected, answers, strict=True):
                ids.append(request_id)
                if answer == expected:
                    continue
                if _near(expected, answer) and rounds():
                    rounded += 1
                else:
                    differ.append(f"{_shown(request)}: {_gap(expected, answer)}")
    return {"requests": len(ids), "ids": ids, "differ": differ, "rounded": rounded}


def _near(expected: Mapping[Any, Any], answer: Mapping[Any, Any]) -> bool:
    """Whether nothing differs but numbers, by no more than rounding."""
    return expected.keys() == answer.keys() and all(
        math.isclose(value, answer[name], rel_tol=ROUNDING)
        if isinstance(value, float) and isinstance(answer[name], float)
        else value == answer[name]
        for name, value in expected.items()
    )


def _rounds_by_number(home: Path) -> bool:
    """Whether the version in Production answers its own samples otherwise alone than all at once, by rounding only."""
    from headrace.scoring.predictor import PackagePredictor
    from headrace.serving.manifest import PACKAGE, PARITY, read_parity

    file = home / FILE
    folder = version_folder(file, read_manifest(file))
    predictor, parity = PackagePredictor(folder / PACKAGE), read_parity(folder / PARITY)
    rows = [dict(zip(parity.columns, row, strict=True)) for row in parity.rows]
    together = predictor.predict(_frame(rows)).to_dict("records")
    alone = [predictor.predict(_frame([row])).to_dict("records")[0] for row in rows]
    pairs = list(zip(together, alone, strict=True))
    return any(one != other for one, other in pairs) and all(_near(one, other) for one, other in pairs)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, dtype=object)


@contextmanager
def _server(home: Path) -> Generator[int]:
    """A server process of its own, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = ["--home", str(home), "--port", str(port), "--parent", str(os.getpid())]
    command = processes.module("headrace.serving", *given)
    with (
        (home / "server.log").open("w") as log,
        processes.start(command, cwd=home, stderr=log) as process,
    ):
        try:
            _wait(port, process, home / "server.log")
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait(port: int, process: Process, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8").splitlines()
            raise HeadraceError(f"the server ended with {process.returncode}.", findings=said[-5:])
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if json.loads(connection.getresponse().read())["version"] is not None:  # features come with the replay
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise HeadraceError(f"the server was not ready after {PATIENCE:.0f} s.")


def _ask(port: int, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = json.dumps({"rows": [request]}, default=_plain)
    connection.request("POST", "/predict", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    read = json.loads(answer.read())
    connection.close()
    if answer.status != 200:
        return "", {"status": answer.status, **read}
    return answer.headers["x-request-id"], read["predictions"][0]


def _plain(value: object) -> str | float:
    """What JSON has no word for: a time, a date, a decimal."""
    return value.isoformat() if isinstance(value, date) else float(cast("Decimal", value))


def _collect(workspace: Workspace, model: str) -> int:
    from headrace.inference.ingest import ingest
    from headrace.pipelines.answer_traces import trace_served
    from headrace.scoring.columns import log_table

    spool = workspace.environment.root / "spool" / model
    trace = trace_served(workspace.tracking, one_deployment(workspace.project, model), workspace.environment.name)
    return ingest(workspace.lakehouse, spool, log_table(model), trace=trace).rows


def _logged(workspace: Workspace, model: str, ids: Sequence[str]) -> int:
    """How many of these requests are in the inference table exactly once."""
    from collections import Counter

    from headrace.scoring.columns import log_table

    kept = Counter(
        workspace.lakehouse.snapshot(log_table(model)).to_arrow(columns=["request_id"]).column(0).to_pylist()
    )
    return sum(kept[each] == 1 for each in ids)


def _shown(request: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in list(request.items())[:3])


def _gap(expected: dict[str, Any], answer: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {answer.get(name)!r} for {value!r}" for name, value in expected.items() if answer.get(name) != value
    )
