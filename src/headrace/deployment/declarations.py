"""What a user declares about a model at work: its gates, how it is served, scored, watched and trained again."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.core.clock import duration
from headrace.core.declaration import Location, caller
from headrace.core.errors import DeclarationError
from headrace.jobs.schedule import Cron
from headrace.training.declarations import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.inference.declarations import Score
    from headrace.inference.streaming.declarations import Stream
    from headrace.monitoring.declarations import Monitor
    from headrace.serving.declarations import Serve
    from headrace.training.declarations import Model


@dataclass(frozen=True)
class Signature:
    """The artifact is whole, its signature is that of the plan, and it predicts its own samples as MLflow's pyfunc does."""

    name: ClassVar[str] = "signature"


@dataclass(frozen=True)
class Documented:
    """The model and the tables that it reads have a description."""

    name: ClassVar[str] = "documented"


@dataclass(frozen=True)
class ForbidInputs:
    """Columns that no feature may be made from directly."""

    name: ClassVar[str] = "forbid_inputs"
    columns: tuple[str, ...]


@dataclass(frozen=True)
class AtLeast:
    """The metric on the version's own test rows is at least as good as a limit."""

    name: ClassVar[str] = "at_least"
    metric: str
    limit: float


@dataclass(frozen=True)
class NotWorse:
    """The version is not worse than the one in Production by more than a margin, on rows that neither was trained on.

    Attributes:
        metric: of the model.
        margin: how much worse is still accepted, in the metric's unit.
        alpha: the one-sided level at which "worse by more than the margin" must be ruled out.
        min_rows: with fewer labelled rows there is no decision, which is not a pass.
    """

    name: ClassVar[str] = "not_worse"
    metric: str
    margin: float
    alpha: float = 0.05
    min_rows: int = 500


@dataclass(frozen=True)
class Approval:
    """A person with this role, who did not make the request, approves the move to Production."""

    name: ClassVar[str] = "approval"
    role: str


Gate = Signature | Documented | ForbidInputs | AtLeast | NotWorse | Approval


def signature() -> Signature:
    """The version is what was registered and predicts its samples to the last bit as MLflow's pyfunc does."""
    return Signature()


def documented() -> Documented:
    """The model and the tables that it reads say what they are."""
    return Documented()


def forbid_inputs(*columns: str) -> ForbidInputs:
    """No feature is one of these columns: `hr.forbid_inputs("date_of_birth")`."""
    if not columns:
        raise DeclarationError("forbid_inputs() names no column.")
    return ForbidInputs(columns)


def at_least(metric: str, limit: float) -> AtLeast:
    """The metric on the test rows reaches a limit (is at most the limit, where low is good)."""
    return AtLeast(metric, limit)


def not_worse(metric: str, *, margin: float = 0.0, alpha: float = 0.05, min_rows: int = 500) -> NotWorse:
    """Not worse than Production by more than a margin; the first version is compared with a constant prediction.

    Raises:
        DeclarationError: a negative margin, or a level outside 0 to 0.5.
    """
    if margin < 0 or not 0 < alpha < 0.5 or min_rows < 2:
        raise DeclarationError(
            f"not_worse({metric!r}, margin={margin}, alpha={alpha}, min_rows={min_rows}) is not possible."
        )
    return NotWorse(metric, margin, alpha, min_rows)


def approval(role: str) -> Approval:
    """Somebody with this role approves; never the one who asked."""
    return Approval(role)


@dataclass(frozen=True)
class Retrain:
    """Training again.

    A version that was trained on an alert must do better than the one in Production by every `not_worse` gate; otherwise it
    does not help, and is archived.

    Args:
        on: `"alert"`: when an alert of the model is open; `"schedule"`: by `every`; `"manual"`.
        every: the schedule.
        cool_down: how long after the last training no other one begins by itself.
        tune: search parameters again; otherwise those of the version in Production are kept.
        min_coverage: the share of the decisions to fit on whose labels must be known.
        give_up: after this many trainings in a row whose version did not pass, none begins until a person says so.
    """

    _: KW_ONLY
    on: Literal["alert", "schedule", "manual"] = "manual"
    every: Cron | None = None
    cool_down: str = "7d"
    tune: bool = False
    min_coverage: float = 0.8
    give_up: int = 2

    def __post_init__(self) -> None:
        duration(self.cool_down)
        if self.on not in ("alert", "schedule", "manual"):
            raise DeclarationError(f"Retrain(on={self.on!r}) is not known.", hint="'alert', 'schedule' or 'manual'.")
        if (self.on == "schedule") != (self.every is not None):
            raise DeclarationError("Retrain(every=…) and on='schedule' go together.")
        if not 0 <= self.min_coverage <= 1 or self.give_up < 1:
            raise DeclarationError(
                f"Retrain(min_coverage={self.min_coverage}, give_up={self.give_up}) is not possible."
            )


def _no_metric(said: str, model: str, known: Iterable[str]) -> DeclarationError:
    return DeclarationError(f"{said} is not possible for {model}.", hint=f"There is {', '.join(known)}.")


@dataclass(frozen=True)
class Deployment:
    """How a model is put to work.

    Args:
        model: it has one deployment.
        score: batch scoring of its spine.
        gates: what a version must pass on its way to Production. Without any, whoever may promote promotes.
        serve: answering over HTTP.
        stream: scoring decisions as they come in.
        monitor: watching its predictions.
        retrain: training again.
        owner: who is told.
    """

    namespace: ClassVar[str] = "deployment"

    model: Model
    _: KW_ONLY
    score: Score
    gates: Sequence[Gate] = field(default_factory=tuple)
    serve: Serve | None = None
    stream: Stream | None = None
    monitor: Monitor | None = None
    retrain: Retrain | None = None
    owner: str = ""
    where: Location = field(default_factory=caller, compare=False, repr=False)

    def __post_init__(self) -> None:
        from headrace.inference.streaming.declarations import Stream
        from headrace.monitoring.declarations import EVERY_MODEL, AlertRule

        metrics = METRICS[type(self.model.task).__name__]
        if self.monitor is not None:
            _ = self.score.table  # what is watched is read again
        for gate in self.gates:
            if not isinstance(gate, Gate):
                raise DeclarationError(f"{gate!r} is no gate.", hint="Call it: hr.signature().")
            if isinstance(gate, AtLeast | NotWorse) and gate.metric not in metrics:
                raise _no_metric(f"{gate.name}({gate.metric!r})", self.model.name, metrics)
        for rule in self.monitor.alerts if self.monitor else ():
            if not isinstance(rule, AlertRule):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DeclarationError(f"{rule!r} is no alert.", hint='hr.alert("roc_auc", below=0.7)')
            if rule.metric not in (*metrics, *EVERY_MODEL):
                raise _no_metric(f"alert({rule.metric!r})", self.model.name, (*metrics, *EVERY_MODEL))
        if self.stream is not None and not isinstance(self.stream, Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
            hint = 'hr.Stream(source=hr.kafka("topic"), into="gold.predictions")'
            raise DeclarationError(f"stream={self.stream!r} is no stream.", hint=hint)
        for schedule in (self.score.every, self.retrain.every if self.retrain else None):
            if schedule is not None and not isinstance(schedule, Cron):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DeclarationError(f"every={schedule!r} is no schedule.", hint='hr.cron("0 4 * * *")')

    @property
    def name(self) -> str:
        """The model's name: a model has one deployment."""
        return self.model.name
