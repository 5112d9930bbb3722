"""The results of the assistant's demo, from the runs, the versions and the traffic."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Any

from headrace.demo.assistant import MODEL, ON_DEVICE
from headrace.operations.models import list_versions
from headrace.operations.runs import list_runs, show_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.demo.assistant import Tour
    from headrace.operations.operation import At

ALL = 1000  # runs that are looked through


def findings(at: At, tour: Tour, seconds: float) -> dict[str, Any]:
    """What came of a tour.

    Args:
        at: the environment.
        tour: that came to its end.
        seconds: that all of it took.

    Returns:
        A document for `--json`.
    """
    outputs = _outputs(at)
    index = next(each for each in outputs if "recall" in each)
    kinds = {
        (MODEL, 1): "prompt",
        (MODEL, tour.journal.found["tuned"]): "tuned prompt",
        (MODEL, tour.journal.found["route"]): "route",
    }
    versions = [each for each in list_versions(at).versions if each.model in (MODEL, ON_DEVICE)]
    costs = _costs(at)
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "index": {"rows": index["rows"], "recall_at_10": index["recall"]},
        "prompts": [
            {"name": "answer", "version": each.version, "score": each.metrics["answer_f1"]}
            for each in versions
            if kinds.get((each.model, each.version), "").endswith("prompt")
        ],
        "candidates": [
            {
                "name": each.model,
                "version": each.version,
                "kind": kinds.get((each.model, each.version), "model"),
                "answer_f1": each.metrics["answer_f1"],
                "cost_per_1000": costs.get((each.model, each.version)),
                "passed": tour.journal.passed.get((each.model, each.version), False),
            }
            for each in versions
        ],
        "rollout": tour.journal.found["rollout"],
        "feedback": tour.journal.found["feedback"],
        "real": tour.journal.found.get("real"),
        "seconds": round(seconds, 1),
        "peak_rss_mb": round(rss / (2**20 if sys.platform == "darwin" else 2**10)),
    }


def _outputs(at: At) -> list[Mapping[str, Any]]:
    """What the steps of the first refresh left."""
    run = [each.run for each in list_runs(at, limit=ALL).runs if each.job == "refresh"][-1]
    return [step.output or {} for step in show_run(at, run).steps]


def _costs(at: At) -> dict[tuple[str, int], float]:
    """Model and version → dollars for a thousand answers, by those to its evaluation data."""
    costs: dict[tuple[str, int], float] = {}
    for run in list_runs(at, limit=ALL).runs:
        job, _, model = run.job.partition(" ")
        if job not in ("train", "tune") or run.status != "done":
            continue
        steps: list[Any] = [step.output or {} for step in show_run(at, run.run).steps]
        version = next((each["version"] for each in steps if "stage" in each), None)
        answers = [(each["columns"], row) for each in steps if "columns" in each for row in each["rows"]]
        if version is not None and answers:
            spent = sum(float(row[columns.index("prediction_cost")] or 0) for columns, row in answers)
            costs[model, version] = 1000 * spent / len(answers)
    return costs
