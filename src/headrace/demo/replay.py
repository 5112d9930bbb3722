"""Replays a period of the past as it would have happened, month by month; each call sees only what was known at its moment.

Train, deploy through the gates with a second person, serve, and then each month: score, monitor, and when an alert
fires train again, promote, roll back and forward. It uses the same operations that a scheduler calls. When it is run
again, it continues where it was stopped, and does nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.core.clock import instant, months
from headrace.core.errors import HeadraceError
from headrace.demo.approval import approve
from headrace.operations.alerts import acknowledge_alert, list_alerts
from headrace.operations.backtest import backtest
from headrace.operations.dashboards import list_dashboards, refresh_dashboard
from headrace.operations.deploy import deploy
from headrace.operations.models import list_versions, show_model_history
from headrace.operations.monitor import monitor
from headrace.operations.parity_check import check_parity
from headrace.operations.publish import publish
from headrace.operations.refresh import refresh
from headrace.operations.retrain import retrain
from headrace.operations.rollback import roll_back
from headrace.operations.runs import list_runs, show_run
from headrace.operations.score import destination, score
from headrace.operations.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.operations.deploy import DeployReport
    from headrace.operations.job import Listener
    from headrace.operations.models import HistoryEntry, VersionReport
    from headrace.operations.operation import At

SCRATCH = "scratch.predictions"  # of a version that waits for its approval
LABELS_COME = timedelta(days=1)  # after the end of a month, before it is judged
ALL = 1000  # runs that are looked through


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is replayed.

    Attributes:
        model: its name.
        into: the table that the project declares for its predictions.
        train_as_of: of the first version.
        since: beginning of the first month that is scored.
        until: the end.
        as_of: the present of the replay, when the last labels are in.
        ask_as_of: up to when features are published at the end, for whoever wants to call a server then.
        approver: who approves, with the role `governance`.
    """

    model: str
    into: str
    train_as_of: datetime
    since: datetime
    until: datetime
    as_of: datetime
    ask_as_of: datetime
    approver: str


@dataclass
class Replay:
    """One replay, in an environment.

    Attributes:
        at: the environment.
        kept: a file that holds the bootstrap token until the end, so that a replay may go on.
        plan: what is replayed.
        begin: called with the name of each part.
        note: called with the name of something that is no pipeline, and what it did.
        listen: called with each step that ends.
        served: what the parity check of serving found.
        quality: the last output of the quality step of the first version.
        windows: outputs of the window steps of the first version.
        backtested: month → metrics of retraining.
    """

    at: At
    kept: Path
    plan: Plan
    begin: Callable[[str], None]
    note: Callable[[str, str], None]
    listen: Listener
    served: dict[str, Json] = field(default_factory=dict[str, Any])
    quality: Mapping[str, Any] = field(default_factory=dict[str, Any])
    windows: list[Mapping[str, Any]] = field(default_factory=list[Any])
    backtested: dict[str, dict[str, float | None]] = field(default_factory=dict[str, Any])

    def run(self) -> None:
        """Everything, in order of time."""
        plan = self.plan
        self.begin("refresh")
        refresh(self.at, listen=self.listen)
        self.begin("train")
        train(self.at, plan.model, as_of=plan.train_as_of, listen=self.listen)
        self.begin("deploy")
        self.deploy(1, plan.train_as_of)
        for since, until in months(plan.since, plan.until):
            self.month(since, until)
        self.begin("back-test: what retraining each month would have given")
        done = backtest(self.at, plan.model, since=plan.since, until=plan.until, as_of=plan.as_of, listen=self.listen)
        outputs: list[Any] = [step.output for step in done.steps if step.name.startswith("retrained ")]
        self.backtested = {
            f"{begin:%Y-%m}": output["metrics"]
            for (begin, _), output in zip(months(plan.since, plan.until), outputs, strict=True)
        }
        self.begin("the year as it turned out")
        self.monitor(plan.as_of)
        publish(self.at, as_of=plan.ask_as_of, listen=self.listen)
        for each in list_dashboards(self.at):
            refresh_dashboard(self.at, each.name)
        self.kept.unlink(missing_ok=True)

    def month(self, since: datetime, until: datetime) -> None:
        """One month: scored as it went, watched when its labels are in, and what follows from that."""
        self.begin(f"{since:%B %Y}")
        later = self._version(2)
        self.score(1, since, until)  # once there is a second version, beside it
        if later is not None and self._served(2) and instant(later.as_of) < until:
            self.score(2, max(since, instant(later.as_of)), until)
        if not self.served:
            self.check_parity(since, until)
        alerts = self.monitor(until + LABELS_COME)
        if alerts and not self._rolled():
            self.retrain(until + LABELS_COME)

    def score(self, version: int, since: datetime, until: datetime) -> None:
        """Decisions of a stretch by one version; one that is not in Production, too, into the table that is compared."""
        known = self._version(version)
        in_production = known is not None and known.stage == "Production"
        score(
            self.at,
            self.plan.model,
            version=version,
            since=since,
            until=until,
            into=None if in_production else (destination(self.plan.into),),
            as_of=until,
            listen=self.listen,
        )

    def check_parity(self, since: datetime, until: datetime) -> None:
        """A real server answers what batch scoring has answered."""
        run = self._done(f"parity-check {self.plan.model}", {"since": since.isoformat(), "until": until.isoformat()})
        if run is None:
            done = check_parity(self.at, self.plan.model, since=since, until=until, listen=self.listen)
            self.served = {name: getattr(done, name) for name in ("requests", "instants", "mismatches", "logged")}
            return
        outputs = self._outputs(run).values()
        sent = next(output for output in outputs if "instants" in output)
        logged = next(output for output in outputs if "logged" in output)
        self.served = {
            **{name: sent[name] for name in ("requests", "instants", "mismatches")},
            "logged": logged["logged"],
        }

    def monitor(self, as_of: datetime) -> bool:
        """Watches at a moment; returns whether an alert on the version in Production holds."""
        done = self._done(f"monitor {self.plan.model}", {"as_of": as_of.isoformat()})
        if done is None:
            done = monitor(self.at, self.plan.model, as_of=as_of, listen=self._news).run
        outputs = self._outputs(done)
        self.quality = outputs["quality of version 1"]
        self.windows = [
            output for name, output in outputs.items() if name.startswith("window ") and name.endswith(" of version 1")
        ]
        return any(output["alerts"] for name, output in outputs.items() if name.startswith("alerts of version "))

    def _news(self, outcome: Any) -> None:
        """Windows that are as they were are not shown again each month."""
        if outcome.state == "done" and outcome.name != "log":
            self.listen(outcome)

    def retrain(self, as_of: datetime) -> None:
        """On the alert: a second version through the same gates, then back to the first and forward again."""
        model = self.plan.model
        if self._done(f"retrain {model}", {"as_of": as_of.isoformat()}) is None:
            self.begin(f"retrain on the alert, as of {as_of:%Y-%m-%d}")
            report = retrain(self.at, model, as_of=as_of, listen=self.listen)
            if report.delivered is None:
                raise HeadraceError(f"{model} was not trained again: {'; '.join(report.against)}.")
            if report.delivered.ending == "waits for approval":
                self._approve(report.delivered)
        self.deploy(2, as_of)
        self._roll(1, "exercise: back to what is known")
        self._roll(2, "exercise: forward again")
        for alert in list_alerts(self.at):
            if alert.status == "open" and alert.model == model:
                acknowledge_alert(self.at, alert.alert, reason="version 2 is in Production")

    def deploy(self, version: int, as_of: datetime) -> None:
        """Through the gates, with the approval of somebody else."""
        if self._served(version):
            return
        done = deploy(self.at, self.plan.model, version=version, as_of=as_of, listen=self.listen)
        if done.ending == "waits for approval":
            self._approve(done)
            done = deploy(self.at, self.plan.model, version=version, as_of=as_of, listen=self.listen)
        if done.ending != "in production":
            raise HeadraceError(
                f"{self.plan.model} version {version} is not in Production: {done.ending}.", findings=done.findings
            )

    def _approve(self, waiting: DeployReport) -> None:
        assert waiting.request is not None  # waiting for approval, there is one
        approve(
            self.at,
            waiting.request,
            approver=self.plan.approver,
            kept=self.kept,
            reason="the evidence is sufficient",
            note=self.note,
        )

    def _roll(self, to: int, reason: str) -> None:
        done = len(self._productions())
        if (to == 1 and done < 3) or (to == 2 and done < 4):
            change = roll_back(self.at, self.plan.model, to=to, reason=reason)
            self.note(f"rollback to version {to}", f"decision {change.decision} of {change.by}: {reason}")

    def _rolled(self) -> bool:
        return len(self._productions()) >= 4

    def _productions(self) -> list[HistoryEntry]:
        return [change for change in show_model_history(self.at, self.plan.model) if change.stage == "Production"]

    def _served(self, version: int) -> bool:
        return any(change.version == version for change in self._productions())

    def _version(self, number: int) -> VersionReport | None:
        versions = list_versions(self.at).versions
        return next((each for each in versions if (each.model, each.version) == (self.plan.model, number)), None)

    def _outputs(self, run: str) -> dict[str, Mapping[str, Any]]:
        return {step.step: step.output or {} for step in show_run(self.at, run).steps}

    def _done(self, job: str, params: dict[str, str]) -> str | None:
        """A run of this job with these parameters that came to its end."""
        for run in list_runs(self.at, limit=ALL).runs:
            same = run.job == job and run.status == "done"
            if same and all(run.params.get(name) == value for name, value in params.items()):
                return run.run
        return None


def smoke(at: At, plan: Plan, listen: Listener) -> None:
    """Every pipeline once, in an environment that takes a share of the decisions: refresh, train, gates, score."""
    refresh(at, listen=listen)
    train(at, plan.model, as_of=plan.train_as_of, listen=listen)
    done = deploy(at, plan.model, version=1, as_of=plan.train_as_of, listen=listen)
    if done.ending == "refused":
        raise HeadraceError("the smoke run failed its gates.", findings=done.findings)
    first = next(iter(months(plan.since, plan.until)))
    score(
        at,
        plan.model,
        version=1,
        since=first[0],
        until=first[1],
        into=None if done.ending == "in production" else (destination(SCRATCH),),
        as_of=first[1],
        listen=listen,
    )
