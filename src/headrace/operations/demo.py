"""Replays a stretch of the past as it would have happened, month by month, with every moment's knowledge and no more.

Train, deploy through the gates with a second person, serve, and then each month: score, monitor, and when an alert fires
train again, promote, roll back and forward. It is made of the same jobs that a scheduler starts; run again it goes on
where it was stopped, and does nothing twice.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.core.clock import instant
from headrace.core.errors import HeadraceError
from headrace.core.vault import bearing
from headrace.deployment.rollback import roll_back
from headrace.jobs.run import StepOutcome
from headrace.operations.backtest import backtest
from headrace.operations.deploy import deploy
from headrace.operations.job import one_deployment
from headrace.operations.monitor import monitor
from headrace.operations.parity_check import check_parity
from headrace.operations.publish import publish
from headrace.operations.refresh import refresh
from headrace.operations.retrain import retrain
from headrace.operations.score import score
from headrace.operations.sync import follow, tell
from headrace.operations.train import train
from headrace.pipelines.score import months

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.operations.deploy import DeployReport
    from headrace.operations.job import Listener, RunReport
    from headrace.workspace.workspace import Workspace

GOVERNANCE = "governance"
SCRATCH = "scratch.predictions"  # of a version that waits for its approval
LABELS_COME = timedelta(days=1)  # after the end of a month, before it is judged


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is replayed.

    Attributes:
        train_as_of: of the first version.
        since: beginning of the first month that is scored.
        until: the end.
        as_of: the present of the replay, when the last labels are in.
        ask_as_of: up to when features are published at the end, for whoever wants to ask a server then.
        approver: who approves, with the role `governance`.
    """

    model: str
    train_as_of: datetime
    since: datetime
    until: datetime
    as_of: datetime
    ask_as_of: datetime
    approver: str


@dataclass
class Replay:
    """The jobs of one replay, in an environment.

    Attributes:
        begin: called with the name of each part.
        listen: called with each step that ends.
        served: what the parity check of serving found.
        quality: the last output of the quality step of the first version.
        windows: outputs of the window steps of the first version.
        backtested: month → metrics of retraining.
    """

    workspace: Workspace
    plan: Plan
    begin: Callable[[str], None]
    listen: Listener
    served: dict[str, Json] = field(default_factory=dict[str, Any])
    quality: dict[str, Any] = field(default_factory=dict[str, Any])
    windows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    backtested: dict[str, dict[str, float | None]] = field(default_factory=dict[str, Any])

    def run(self) -> None:
        """Everything, in order of time."""
        plan = self.plan
        self.begin("refresh")
        refresh(self.workspace, listen=self.listen)
        self.begin("train")
        train(self.workspace, plan.model, as_of=plan.train_as_of, listen=self.listen)
        self.begin("deploy")
        self.deploy(1, plan.train_as_of)
        for since, until in months(plan.since, plan.until):
            self.month(since, until)
        self.begin("back-test: what retraining each month would have given")
        done = backtest(
            self.workspace, plan.model, since=plan.since, until=plan.until, as_of=plan.as_of, listen=self.listen
        )
        outputs: list[Any] = [step.output for step in done.steps if step.name.startswith("retrained ")]
        self.backtested = {
            f"{begin:%Y-%m}": output["metrics"]
            for (begin, _), output in zip(months(plan.since, plan.until), outputs, strict=True)
        }
        self.begin("the year as it turned out")
        self.monitor(plan.as_of)
        publish(self.workspace, as_of=plan.ask_as_of, listen=self.listen)
        self._kept.unlink(missing_ok=True)

    def month(self, since: datetime, until: datetime) -> None:
        """One month: scored as it went, watched when its labels are in, and what follows from that."""
        self.begin(f"{since:%B %Y}")
        later = self._version(2)
        if later is None or not self._served(2) or instant(later.as_of) >= until:
            self.score(1, since, until)
        else:
            self.score(1, since, until)  # as shadow
            self.score(2, max(since, instant(later.as_of)), until)
        if not self.served:
            self.check_parity(since, until)
        alerts = self.monitor(until + LABELS_COME)
        if alerts and not self._rolled():
            self.retrain(until + LABELS_COME)

    def score(self, version: int, since: datetime, until: datetime) -> None:
        """Decisions of a stretch by one version; one that is not in Production, too, into the table that is compared."""
        current = self.workspace.registry.current(self.plan.model, "Production")
        declared = one_deployment(self.workspace.project, self.plan.model).score.destinations
        score(
            self.workspace,
            self.plan.model,
            version=version,
            since=since,
            until=until,
            into=None if current is not None and current.version == version else tuple(declared),
            as_of=until,
            listen=self.listen,
        )

    def check_parity(self, since: datetime, until: datetime) -> None:
        """A real server is asked what batch scoring has answered."""
        run = self._done(f"serve {self.plan.model}", {"since": since.isoformat(), "until": until.isoformat()})
        if run is None:
            done = check_parity(self.workspace, self.plan.model, since=since, until=until, listen=self.listen)
            self.served = {name: getattr(done, name) for name in ("requests", "instants", "mismatches", "logged")}
            return
        steps = [step.output or {} for step in self.workspace.ledger.steps(run)]
        asked = next(step for step in steps if "instants" in step)
        logged = next(step for step in steps if "logged" in step)
        self.served = {
            **{name: asked[name] for name in ("requests", "instants", "mismatches")},
            "logged": logged["logged"],
        }

    def monitor(self, as_of: datetime) -> bool:
        """Watches at a moment; gives whether an alert on the version in Production holds."""
        done = self._done(f"monitor {self.plan.model}", {"as_of": as_of.isoformat()})
        if done is None:
            done = monitor(self.workspace, self.plan.model, as_of=as_of, listen=self._news).run
        outputs = {step.name: step.output or {} for step in self.workspace.ledger.steps(done)}
        self.quality = outputs["quality of version 1"]
        self.windows = [
            output for name, output in outputs.items() if name.startswith("window ") and name.endswith(" of version 1")
        ]
        return any(output["alerts"] for name, output in outputs.items() if name.startswith("alerts of version "))

    def _news(self, outcome: StepOutcome) -> None:
        """Windows that stand as they were are not told again each month."""
        if outcome.state == "done" and outcome.name != "log":
            self.listen(outcome)

    def retrain(self, as_of: datetime) -> None:
        """On the alert: a second version through the same gates, then back to the first and forward again."""
        workspace, model = self.workspace, self.plan.model
        if self._done(f"retrain {model}", {"as_of": as_of.isoformat()}) is None:
            self.begin(f"retrain on the alert, as of {as_of:%Y-%m-%d}")
            report = retrain(workspace, model, as_of=as_of, listen=self.listen)
            delivered = report.delivered
            if delivered is None:
                raise HeadraceError(f"{model} was not trained again: {'; '.join(report.against)}.")
            if delivered.ending == "waits for approval":
                self._approve(delivered)
        self.deploy(2, as_of)
        self._roll(1, "rehearsed: back to what is known")
        self._roll(2, "rehearsed: forward again")
        for alert in workspace.alerts.list(status="open", model=model):
            workspace.alerts.ack(alert.id, by=workspace.access.me().name, reason="version 2 is in Production")

    def deploy(self, version: int, as_of: datetime) -> None:
        """Through the gates, with the approval of somebody else."""
        if self._served(version):
            return
        delivered = deploy(self.workspace, self.plan.model, version=version, as_of=as_of, listen=self.listen)
        if delivered.ending == "waits for approval":
            self._approve(delivered)
            delivered = deploy(self.workspace, self.plan.model, version=version, as_of=as_of, listen=self.listen)
        if delivered.ending != "in production":
            raise HeadraceError(
                f"{self.plan.model} version {version} is not in Production: {delivered.ending}.",
                findings=delivered.findings,
            )

    def _approve(self, delivered: DeployReport) -> None:
        """Somebody else signs, known by a token that whoever replays did not make."""
        access, approver = self.workspace.access, self.plan.approver
        assert delivered.request is not None  # waiting for approval, there is one
        with bearing(self._enroller()):
            access.grant(approver, GOVERNANCE)
            hers = access.token(approver)
        with bearing(hers):
            self.workspace.registry.requests.approve(
                delivered.request, access.me(), reason="the evidence is sufficient"
            )

    def _enroller(self) -> str:
        """The token of the bootstrap identity, made once and kept until the end, so that a replay may go on."""
        if not self._kept.exists():
            began = time.perf_counter()
            made = self.workspace.access.bootstrap(simulated=True)
            with os.fdopen(os.open(self._kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(made)
            says = "simulated: by the bootstrap identity, which only enrols"
            name, seconds = f"enrol {self.plan.approver}", time.perf_counter() - began
            self.listen(StepOutcome(name=name, output={"says": says}, state="done", seconds=seconds))
        return self._kept.read_text(encoding="utf-8")

    @property
    def _kept(self) -> Path:
        return self.workspace.environment.root / "bootstrap.token"

    def _roll(self, to: int, reason: str) -> None:
        done = [change.version for change in self._productions()]
        if (to == 1 and len(done) < 3) or (to == 2 and len(done) < 4):
            began = time.perf_counter()
            change = roll_back(
                self.workspace.registry,
                self.plan.model,
                home=self.workspace.home(self.plan.model),
                to=to,
                reason=reason,
                identity=self.workspace.access.me(),
            )
            follow(self.workspace)
            tell(self.workspace)
            says = f"decision {change.decision} of {change.by}: {reason}"
            self.listen(
                StepOutcome(
                    name=f"rollback to version {to}",
                    output={"says": says},
                    state="done",
                    seconds=time.perf_counter() - began,
                )
            )

    def _rolled(self) -> bool:
        return len(self._productions()) >= 4

    def _productions(self) -> list[Any]:
        return [change for change in self.workspace.registry.history(self.plan.model) if change.stage == "Production"]

    def _served(self, version: int) -> bool:
        return any(change.version == version for change in self._productions())

    def _version(self, number: int) -> Any:
        known = {each.version: each for each in self.workspace.registry.versions(self.plan.model)}
        return known.get(number)

    def _done(self, job: str, params: dict[str, str]) -> str | None:
        """A run of this job with these parameters that came to its end."""
        for run in self.workspace.ledger.runs(job, limit=1000):
            if run.status == "done" and all(run.params.get(name) == value for name, value in params.items()):
                return run.id
        return None


def smoke(workspace: Workspace, plan: Plan, listen: Listener) -> RunReport:
    """Every pipeline once, in an environment that takes a share of the decisions: refresh, train, gates, score."""
    refresh(workspace, listen=listen)
    train(workspace, plan.model, as_of=plan.train_as_of, listen=listen)
    delivered = deploy(workspace, plan.model, version=1, as_of=plan.train_as_of, listen=listen)
    if delivered.ending == "refused":
        raise HeadraceError("the smoke run failed its gates.", findings=delivered.findings)
    first = next(iter(months(plan.since, plan.until)))
    return score(
        workspace,
        plan.model,
        version=1,
        since=first[0],
        until=first[1],
        into=None if delivered.ending == "in production" else (SCRATCH,),
        as_of=first[1],
        listen=listen,
    )
