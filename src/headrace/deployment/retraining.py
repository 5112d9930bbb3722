"""Whether a model may be retrained now: the reason for it, and the guards that prevent it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.core.clock import duration, instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.deployment.declarations import Retrain
    from headrace.jobs.records import RunRecord
    from headrace.monitoring.alert_records import Alert
    from headrace.registry.records import StageChange, Version


@dataclass(frozen=True, kw_only=True)
class RetrainDecision:
    """May it be trained again?

    Attributes:
        because: what asks for it.
        against: what stands in the way; empty when it may.
        alert: the one that asks for it.
    """

    because: str
    against: tuple[str, ...]
    alert: int | None = None

    @property
    def allowed(self) -> bool:
        """Something asks for it, and nothing stands in the way."""
        return bool(self.because) and not self.against


def may_retrain(
    declared: Retrain,
    *,
    alerts: Sequence[Alert],
    versions: Sequence[Version],
    history: Sequence[StageChange],
    refreshes: Sequence[RunRecord],
    coverage: float | None,
    as_of: datetime,
    force: bool = False,
) -> RetrainDecision:
    """The guards of a training that begins by itself.

    Args:
        declared: the policy.
        alerts: of the model, that hold.
        versions: of the model, oldest first.
        history: stages that they have come to.
        refreshes: runs of the refresh, the latest first.
        coverage: the share of the latest judged decisions whose label is known; None when none was judged.
        as_of: the training moment.
        force: a person asks; cool-down and giving up do not bind a person.
    """
    alert = None if force or declared.on != "alert" else _of_current(alerts, versions)
    because = f"alert {alert.id}: {alert.rule}" if alert else _because(declared, versions, as_of=as_of, force=force)
    against = [*_data(declared, refreshes, coverage)]
    if not force:
        against += [*_cool_down(declared, versions, as_of), *_gives_up(declared, versions, history)]
    return RetrainDecision(because=because, against=tuple(against), alert=alert.id if alert else None)


def _of_current(alerts: Sequence[Alert], versions: Sequence[Version]) -> Alert | None:
    """The first alert on the version in Production."""
    current = next((each for each in reversed(versions) if each.stage == "Production"), None)
    return next((alert for alert in alerts if current and alert.version == current.version), None)


def _because(declared: Retrain, versions: Sequence[Version], *, as_of: datetime, force: bool) -> str:
    if force:
        return "asked for"
    if declared.every is not None and versions:
        due = declared.every.after(instant(versions[-1].as_of))
        return f"due since {due:%Y-%m-%d %H:%M}" if due <= as_of else ""
    return ""


def _data(declared: Retrain, refreshes: Sequence[RunRecord], coverage: float | None) -> list[str]:
    found: list[str] = []
    if refreshes and refreshes[0].status != "done":
        found.append(f"the last refresh {refreshes[0].status}: a model is not fitted on broken data")
    if coverage is not None and coverage < declared.min_coverage:
        found.append(f"{coverage:.0%} of the latest decisions have a label; {declared.min_coverage:.0%} are needed")
    return found


def _cool_down(declared: Retrain, versions: Sequence[Version], as_of: datetime) -> list[str]:
    if not versions:
        return []
    last, rest = instant(versions[-1].as_of), duration(declared.cool_down)
    if as_of - last < rest and as_of - last > -timedelta(microseconds=1):
        return [
            f"version {versions[-1].version} was trained as of {last:%Y-%m-%d %H:%M}, less than {declared.cool_down} ago"
        ]
    return []


def _gives_up(declared: Retrain, versions: Sequence[Version], history: Sequence[StageChange]) -> list[str]:
    """Trainings in a row, the last ones, whose version was archived and has never been in Production."""
    served = {change.version for change in history if change.stage == "Production"}
    useless = 0
    for version in reversed(versions):
        if version.stage != "Archived" or version.version in served:
            break
        useless += 1
    if useless >= declared.give_up:
        return [f"the last {useless} trainings did not help: find out why before another one (--force trains anyway)"]
    return []
