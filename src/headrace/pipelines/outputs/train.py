"""What a training leaves in the ledger, a record for each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
