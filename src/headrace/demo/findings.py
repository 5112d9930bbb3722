"""The results of the demo, from the runs, the versions, the requests and the alerts."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Any

from headrace.operations.alerts import list_alerts
from headrace.operations.models import list_versions, show_model_history
from headrace.operations.requests import list_requests, show_request
from headrace.operations.runs import list_runs, show_run

if TYPE_CHECKING:
    from headrace.demo.replay import Replay
    from headrace.operations.alerts import AlertReport
    from headrace.operations.operation import At

ALL = 1000  # runs that are looked through


def findings(at: At, show: dict[str, Any], replay: Replay, seconds: dict[str, float]) -> dict[str, Any]:
    """What came of a replay.

    Args:
        at: the environment.
        show: how the example is shown.
        replay: that came to its end.
        seconds: step → seconds that it took.

    Returns:
        A document for `--json`.
    """
    model, metric = show["model"], show["metric"]
    refreshed = next(run.run for run in list_runs(at, limit=ALL).runs if run.job == "refresh")
    outputs: list[Any] = [step.output or {} for step in show_run(at, refreshed).steps]
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    months = [_month(show, replay, month) for month in replay.quality["months"]]
    return {
        "model": model,
        "versions": [
            {
                "version": version.version,
                "stage": version.stage,
                "fit": {"from": version.fit_from, "to": version.fit_to},
                f"test_{metric}": version.metrics.get(metric),
                "run_id": version.run_id,
                "code_commit": version.code,
                "inputs": version.inputs,
            }
            for version in list_versions(at).versions
            if version.model == model
        ],
        "months": months,
        "batch": {"rows": sum(month["rows"] for month in months)},
        "served": replay.served,
        "alerts": [_alert(alert) for alert in reversed(list_alerts(at, closed=True)) if alert.model == model],
        "decisions": _decisions(at, model),
        "stages": [
            {
                "version": change.version,
                "stage": change.stage,
                "at": change.at,
                "by": ", ".join(person.name for person in change.by),
                "reason": change.reason,
                "decision": change.decision,
            }
            for change in show_model_history(at, model)
            if change.stage is not None
        ],
        "quarantined": {output["table"]: output["quarantined"] for output in outputs if output.get("quarantined")},
        "seconds": seconds,
        "peak_rss_mb": round(rss / (2**20 if sys.platform == "darwin" else 2**10)),
    }


def _month(show: dict[str, Any], replay: Replay, month: dict[str, Any]) -> dict[str, Any]:
    metric = show["metric"]
    drifted = [window for window in replay.windows if window["start"] == month["start"]]
    columns = [each for each in drifted[0]["columns"] if each["verdict"] != "not judged"] if drifted else []
    worst = max(columns, key=lambda each: each["psi"], default=None)
    return {
        "month": month["month"],
        "rows": month["rows"],
        "labelled": month["labelled"],
        show["label_mean"]: month["label_mean"],
        metric: month["metrics"][metric],
        f"{metric}_interval": month["intervals"][metric],
        f"{metric}_estimated": month["estimated"].get(metric),
        f"{metric}_retrained": (replay.backtested.get(month["month"]) or {}).get(metric),
        "psi": worst["psi"] if worst else None,
        "psi_column": worst["column"] if worst else None,
    }


def _alert(alert: AlertReport) -> dict[str, Any]:
    return {
        "alert": alert.alert,
        "version": alert.version,
        "rule": alert.rule,
        "window": alert.window,
        "status": alert.status,
        "evidence": alert.evidence,
    }


def _decisions(at: At, model: str) -> list[dict[str, Any]]:
    decisions: list[dict[str, Any]] = []
    for listed in reversed(list_requests(at, decided=True)):
        request = show_request(at, listed.request)
        if listed.model == model and request.decision is not None:
            decisions.append(
                {
                    "request": request.request,
                    "version": request.version,
                    "to": request.to,
                    "by": request.by,
                    "approved": request.decision.approved,
                    "approved_by": list(request.decision.by),
                    "evidence": {"hash": request.evidence_hash, **request.evidence},
                    "spent": request.decision.spent is not None,
                }
            )
    return decisions
