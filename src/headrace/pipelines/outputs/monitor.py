"""What monitoring leaves in the ledger, a record for each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.text import counted
from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOUD = ("warn", "alert")
SHOWN = ("prediction_refused", "empty_retrieval", "feedback.thumbs")  # of the latest window, in a line


@dataclass(frozen=True, kw_only=True)
class CheckedSkew(StepOutput):
    """The newest answers by key, beside what training would have seen.

    Attributes:
        rows: answers.
        features: features that were looked up.
        skewed: names of those that were served otherwise.
        behind: answers whose value was older than it should have been, of the feature with most.
        unknown: answers that cannot be judged, of the feature with most.
    """

    rows: int
    features: int
    skewed: Sequence[str]
    behind: int
    unknown: int

    def summary(self) -> str:
        if not self.rows:
            return "no new answers by key"
        told = f"{len(self.skewed)} of {counted(self.features, 'feature')} skewed in {counted(self.rows, 'answer')}"
        return f"{told}, {self.behind} behind" if self.behind else told


@dataclass(frozen=True, kw_only=True)
class Baseline(StepOutput):
    """The bins that every window is counted in.

    Attributes:
        grids: column → its bins.
        features: how many features are watched.
        outputs: how many outputs are.
    """

    grids: Mapping[str, Mapping[str, Any]]
    features: int
    outputs: int

    def summary(self) -> str:
        return f"{counted(self.features, 'feature')}, {counted(self.outputs, 'output')}"


@dataclass(frozen=True, kw_only=True)
class WindowDrift(StepOutput):
    """A window beside the baseline.

    Attributes:
        start: of the window, ISO 8601.
        end: of it.
        columns: for each watched column its drift, a verdict and the reasons.
    """

    start: str
    end: str
    columns: Sequence[Mapping[str, Any]]

    def summary(self) -> str:
        loud = [each for each in self.columns if each["verdict"] in LOUD]
        if not loud:
            return "no drift"
        return f"{len(loud)} of {len(self.columns)} drifted, most {loud[0]['column']}: {loud[0]['reasons'][0]}"


@dataclass(frozen=True, kw_only=True)
class MeasuredAnswers(StepOutput):
    """What the answers of a version count, and what people say of them, by window.

    Attributes:
        windows: how many there are.
        changed: how many were measured now.
        rows: answers.
        metrics: of the latest window, those that have a value.
    """

    windows: int
    changed: int
    rows: int
    metrics: Mapping[str, float]

    def summary(self) -> str:
        shown = [
            f"{name.removeprefix('prediction_')} {self.metrics[name]:.4g}" for name in SHOWN if name in self.metrics
        ]
        told = f"{counted(self.rows, 'answer')} in {counted(self.windows, 'window')}, no labels"
        return "; last ".join((told, ", ".join(shown))) if shown else told


@dataclass(frozen=True, kw_only=True)
class JudgedRules(StepOutput):
    """The rules of a version's alerts, on all windows so far.

    Attributes:
        alerts: ids of the alerts that hold.
        broken: the rules of these.
        rules: how many rules there are.
    """

    alerts: Sequence[int]
    broken: Sequence[str]
    rules: int

    def summary(self) -> str:
        told = ", ".join(f"{rule} is broken" for rule in self.broken)
        return told or f"{counted(self.rules, 'rule')}, none broken"


@dataclass(frozen=True, kw_only=True)
class MeasuredKpi(StepOutput):
    """A business figure of all versions.

    Attributes:
        values: version → its mean over all time; None where there is no value yet.
        windows: how many windows there are.
        rows: observations that have a value.
        unit: of the values.
        reason: why nothing could be computed; else empty.
    """

    values: Mapping[str, float | None]
    windows: int
    rows: int
    unit: str
    reason: str

    def summary(self) -> str:
        if self.reason:
            return self.reason
        unit = f" {self.unit}" if self.unit else ""
        told = ", ".join(
            f"version {version} {'has no value yet' if value is None else f'{value:.4g}{unit}'}"
            for version, value in self.values.items()
        )
        return f"{told}, of {counted(self.rows, 'row')}"
