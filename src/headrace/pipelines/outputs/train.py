"""What a training leaves in the ledger, a record for each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.text import counted
from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.training.declarations import Params


@dataclass(frozen=True, kw_only=True)
class TrainingSetTable(StepOutput):
    """The table of decisions with features and labels as of the training moment.

    Attributes:
        table: its name.
        version: its version in the lakehouse.
        id: of the table itself, which another one of the same name does not have.
        counts: rows by part (`fit`, `calibrate`, `test`) and by what was left out.
        fit_from: the first moment of a fitting row, ISO 8601.
        fit_to: the last one.
        inputs: table → version that it was made from.
    """

    table: str
    version: int
    id: str
    counts: Mapping[str, int]
    fit_from: str
    fit_to: str
    inputs: Mapping[str, int]

    def summary(self) -> str:
        return ", ".join(
            f"{self.counts[part]:,} to {verb}"
            for part, verb in (("fit", "fit"), ("calibrate", "calibrate"), ("test", "test"))
        )


@dataclass(frozen=True, kw_only=True)
class TrialValue(StepOutput):
    """A trial of a search.

    Attributes:
        metric: what is searched by.
        value: of it, on the validation rows.
        params: that were tried.
    """

    metric: str
    value: float
    params: Mapping[str, bool | float | str]

    def summary(self) -> str:
        return f"{self.metric} {self.value:.4f}, {shortened(self.params)}"


@dataclass(frozen=True, kw_only=True)
class LoggedModel(StepOutput):
    """The model that is kept, as it was logged.

    Attributes:
        run_id: the MLflow run.
        model_uri: where its logged model is.
        artifact_hash: of its package.
        logged_hash: of all files that MLflow keeps.
        params: that it was fitted with.
        searched: names of those that a search found.
    """

    run_id: str
    model_uri: str
    artifact_hash: str
    logged_hash: str | None
    params: Mapping[str, bool | float | str]
    searched: Sequence[str]

    def summary(self) -> str:
        told = {name: self.params[name] for name in self.searched or self.params}
        return ", ".join(filter(None, (f"MLflow run {self.run_id[:8]}", shortened(told))))


@dataclass(frozen=True, kw_only=True)
class AnsweredRows(StepOutput):
    """Answers of the logged model to some rows of the evaluation data.

    Attributes:
        columns: of the output.
        rows: an answer each, its values in that order.
        notes: what a person should know of the endpoints: that one says it has another model than is configured, or that a
            fallback answered.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    notes: Sequence[str]

    def remarks(self) -> Sequence[str]:
        return self.notes

    def summary(self) -> str:
        cost = sum(float(row[self.columns.index("prediction_cost")] or 0) for row in self.rows)
        return f"{len(self.rows)} answers" + (f" for ${cost:.4f}" if cost else "")


@dataclass(frozen=True, kw_only=True)
class WrittenTraces(StepOutput):
    """Answers to the evaluation data that are traces in MLflow.

    Attributes:
        traces: how many.
    """

    traces: int

    def summary(self) -> str:
        return counted(self.traces, "trace")


@dataclass(frozen=True, kw_only=True)
class JudgeAgreement(StepOutput):
    """How far a judge agrees with people, on answers that people scored.

    Attributes:
        judge: its name.
        table: with the labels.
        version: of that table.
        labels: how many there are.
        agreement: the share of answers that got the same score from both; None with fewer than 20 labels.
        kappa: Cohen's, with quadratic weights; None where it has no value.
        kappa_low: the lower end of its 95 % interval.
        kappa_high: the upper end.
        bias: the mean of the judge's score less that of people.
        words: all this in a sentence.
    """

    judge: str
    table: str
    version: int
    labels: int
    agreement: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    bias: float | None
    words: str

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """What is kept with the metrics of the version, by name."""
        return {
            f"{self.judge}_labels": float(self.labels),
            f"{self.judge}_agreement": self.agreement,
            f"{self.judge}_kappa": self.kappa,
            f"{self.judge}_kappa_low": self.kappa_low,
            f"{self.judge}_kappa_high": self.kappa_high,
        }

    def summary(self) -> str:
        return self.words

    def remarks(self) -> Sequence[str]:
        if self.kappa_low is None:
            return [f"how far the judge {self.judge!r} agrees with people is not known: {self.words}"]
        if self.kappa_low <= 0:
            return [f"the judge {self.judge!r} may agree with people by chance alone: {self.words}"]
        return ()


@dataclass(frozen=True, kw_only=True)
class HeldOutMetrics(StepOutput):
    """What the logged model reached on the test rows.

    Attributes:
        metrics: name → value; None where it has none on these rows.
    """

    metrics: Mapping[str, float | None]

    def summary(self) -> str:
        return f"test {', '.join(f'{name} {value:.4f}' for name, value in self.metrics.items() if value is not None)}"


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion(StepOutput):
    """The version that the model became.

    Attributes:
        version: its number.
        stage: where it begins.
    """

    version: int
    stage: str

    def summary(self) -> str:
        return f"version {self.version}, stage {self.stage}"


def shortened(params: Params) -> str:
    """Parameters in one line, with four digits of each number."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )
