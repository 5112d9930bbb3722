"""Declarations of a deployed model: its gates (`gates/`), how it is served, scored, monitored and retrained."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast, get_args

from headrace.core.clock import duration
from headrace.core.declaration import (
    Location,
    caller,
    check,
    check_durations,
    check_flags,
    check_numbers,
    check_whole,
)
from headrace.core.errors import DeclarationError
from headrace.core.text import share
from headrace.deployment.gates.base import PHASES, Gate
from headrace.jobs.schedule import Cron
from headrace.llm.feedback.declarations import METRICS, PREFIX, direction
from headrace.registry.records import VALID
from headrace.training.metrics.base import metric_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.inference.declarations import Score
    from headrace.inference.streaming.declarations import Stream
    from headrace.llm.feedback.declarations import Feedback
    from headrace.monitoring.declarations import Monitor
    from headrace.registry.records import RolloutPlan
    from headrace.serving.declarations import LoadTest, Serve
    from headrace.training.declarations import Model
    from headrace.training.metrics.base import Metric

ERROR_RATE = "error_rate"
Pattern = Literal["code", "models", "hybrid"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
LATENCIES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}  # the share of the requests that are as quick


@dataclass(frozen=True)
class Retrain:
    """When a model is trained again, and what prevents a training that would not help.

    A version that was trained on an alert must do better than the one in Production by every `not_worse` gate; otherwise it
    does not help, and is archived.

    Args:
        on: what starts a training: `"alert"`, an open alert of the model; `"schedule"`, the schedule `every`; `"manual"`,
            only the command `headrace run retrain`. Defaults to `"manual"`.
        every: the schedule, `hr.cron("0 3 * * 1")`; needed for `on="schedule"`, and not possible otherwise.
        cool_down: for how long after a training no other one begins by itself; defaults to `"7d"`.
        tune: whether parameters are searched again; defaults to no, which keeps those of the version in Production.
        min_coverage: the share of the latest decisions that must have a label, from 0 to 1; defaults to 0.8.
        give_up: how many trainings in a row may give a version that is archived without having been in Production. After
            them none begins by itself; `headrace run retrain --force` trains anyway. Defaults to 2.

    Raises:
        DeclarationError: an unknown `on`, a schedule without `on="schedule"` or the reverse, or a value that is not possible.

    Example:
        >>> hr.Retrain(on="schedule", every=hr.cron("0 3 * * 1"), cool_down="7d").every.expression
        '0 3 * * 1'
        >>> hr.Retrain(on="drift")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Retrain(on='drift') is not known.
        'alert', 'schedule' or 'manual'.
    """

    _: KW_ONLY
    on: Literal["alert", "schedule", "manual"] = "manual"
    every: Cron | None = None
    cool_down: str = "7d"
    tune: bool = False
    min_coverage: float = 0.8
    give_up: int = 2

    def __post_init__(self) -> None:
        check_durations("Retrain", cool_down=self.cool_down)
        check_flags("Retrain", tune=self.tune)
        check_numbers("Retrain", min_coverage=self.min_coverage)
        check_whole("Retrain", give_up=self.give_up)
        if self.on not in ("alert", "schedule", "manual"):
            raise DeclarationError(f"Retrain(on={self.on!r}) is not known.", hint="'alert', 'schedule' or 'manual'.")
        if (self.on == "schedule") != (self.every is not None):
            raise DeclarationError("Retrain(every=…) and on='schedule' go together.")
        if not 0 <= self.min_coverage <= 1:
            raise DeclarationError(f"Retrain(min_coverage={self.min_coverage}) is not possible.", hint="From 0 to 1.")


@dataclass(frozen=True)
class Guardrail:
    """What ends a rollout.

    Attributes:
        metric: `error_rate` (answers with a status of 500 or more), a latency (`p50`, `p90`, `p95`, `p99`, seconds), a
            metric of the model where labels are known, or feedback (`feedback.thumbs`).
        above: the most that is accepted.
        below: the least that is accepted.
        worse_by: how much worse than the version in Production, in the same period, is accepted.
        late: labels come after the rollout, which ends without them.
    """

    metric: str
    above: float | None = None
    below: float | None = None
    worse_by: float | None = None
    late: bool = False

    @property
    def name(self) -> str:
        """`error_rate > 0.01`, `p99 > 50ms`, `roc_auc worse by 0.02`."""
        if self.worse_by is not None:
            return f"{self.metric} worse by {self.worse_by:g}"
        if self.metric in LATENCIES and self.above is not None:
            return f"{self.metric} > {1000 * self.above:g}ms"
        return f"{self.metric} > {self.above:g}" if self.above is not None else f"{self.metric} < {self.below:g}"


def guardrail(
    metric: str | Metric,
    *,
    above: float | str | None = None,
    below: float | None = None,
    worse_by: float | None = None,
    late: bool = False,
) -> Guardrail:
    """A rule that ends a rollout and leaves Production as it is: `hr.guardrail("p99", above="50ms")`.

    It fires only when the difference is more than chance, however often it is evaluated. If there is too little data to
    evaluate it by the end of the rollout, the rollout is held there.

    Args:
        metric: `"error_rate"`, a latency (`"p50"`, `"p90"`, `"p95"`, `"p99"`), a metric of the model, by name or as
            `hr.metric(…)` returns it, or a declared kind of feedback, `"feedback.thumbs"`.
        above: fires over this value: a share for the error rate, `"50ms"` for a latency, else in the metric's own unit.
        below: fires under this value, in the metric's own unit.
        worse_by: fires where the candidate is worse than Production by more, in the metric's own unit. One of the three
            limits is needed.
        late: for labels that come later than the rollout ends: the rollout then ends without the rule. Defaults to no.

    Returns:
        The rule, for `hr.Rollout(guardrails=[…])`.

    Raises:
        DeclarationError: not exactly one limit, one that is not possible, or a latency that is not counted.

    Example:
        >>> hr.guardrail("p99", above="50ms").name
        'p99 > 50ms'
        >>> hr.guardrail("roc_auc", worse_by=0.02, late=True).name
        'roc_auc worse by 0.02'
        >>> hr.guardrail("error_rate", below=0.01)
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: guardrail('error_rate') takes above= or worse_by= between 0 and 1, not 0.01.
    """
    metric = metric_name("guardrail", metric)
    if [above, below, worse_by].count(None) != 2:
        raise DeclarationError(f"guardrail({metric!r}) needs one of above=, below= and worse_by=.")
    if late and (metric == ERROR_RATE or metric in LATENCIES):
        raise DeclarationError(f"guardrail({metric!r}, late=True) is not possible: servers count it at once.")
    if metric in LATENCIES:
        return Guardrail(metric, above=_latency(metric, above))
    check_flags("guardrail", late=late)
    limit = next(each for each in (above, below, worse_by) if each is not None)
    check_numbers(
        "guardrail", **{"above" if below is worse_by else "below" if above is worse_by else "worse_by": limit}
    )
    if worse_by is not None and worse_by <= 0:
        raise DeclarationError(
            f"guardrail({metric!r}, worse_by={worse_by}) is not possible.",
            hint="Above 0: two versions that are equal differ by chance.",
        )
    if metric == ERROR_RATE and (below is not None or isinstance(limit, str) or not 0 < limit < 1):
        raise DeclarationError(f"guardrail('error_rate') takes above= or worse_by= between 0 and 1, not {limit!r}.")
    if metric.startswith(PREFIX):
        _check_feedback(metric, limit, below=below, above=above)
    return Guardrail(metric, above=None if above is None else float(above), below=below, worse_by=worse_by, late=late)


def _check_feedback(metric: str, limit: float | str, *, below: float | None, above: float | str | None) -> None:
    """Refuses a limit that feedback cannot have.

    Raises:
        DeclarationError: no kind that has a metric, a share that is none, or the limit on the good side.
    """
    good = direction(metric)
    if good is None:
        known = ", ".join(f"{PREFIX}{kind}" for kind in METRICS)
        raise DeclarationError(f"guardrail({metric!r}) is no metric of feedback.", hint=f"There is {known}.")
    if metric != f"{PREFIX}score" and (isinstance(limit, str) or not 0 < limit < 1):
        raise DeclarationError(f"guardrail({metric!r}) takes a share between 0 and 1, not {limit!r}.")
    wrong = "above" if good == "maximize" else "below"
    if (above if wrong == "above" else below) is not None:
        raise DeclarationError(f"guardrail({metric!r}, {wrong}=…) would stop what is good.", hint="Use the other.")


def _latency(metric: str, above: float | str | None) -> float:
    from headrace.serving.metrics import BUCKETS

    known = {f"{1000 * bound:g}ms": bound for bound in BUCKETS}
    if not isinstance(above, str) or above not in known:
        raise DeclarationError(
            f"guardrail({metric!r}, above={above!r}) is not possible: servers count latencies up to certain bounds.",
            hint=f"above= one of {', '.join(known)}.",
        )
    return known[above]


@dataclass(frozen=True)
class Rollout:
    """How an approved version comes into Production: with a growing share of the entities, as long as no guardrail fires.

    Without a rollout, an approved version comes to Production at once. The first version of a model and a rollback always do.

    Args:
        steps: rising shares below 100 %, as texts or numbers from 0 to 1; after the last one comes Production. Defaults to
            `("5%", "25%", "50%")`.
        every: how long each step takes at least; defaults to `"1h"`. All steps together take less than 7 days,
            for which an approval is valid.
        guardrails: rules that end it, `[hr.guardrail("error_rate", above=0.01)]`; defaults to none.
        min_requests: how many requests the candidate must have answered in each step; defaults to 500.
        by: columns of a request that name the entity; all requests of an entity are answered by the same version. Defaults to
            the key of the decision.
        alpha: the probability that a version which breaks no rule is stopped, over all rules and evaluations together: above
            0 and below 0.5; defaults to 0.05.
        metric: makes the rollout an experiment: by this metric, of the model or `"feedback.thumbs"`, the candidate must be
            better than Production before it comes there; where it is worse, the rollout is stopped, and while that is undecided
            the last step goes on. A false winner has a probability of `alpha` of its own. Defaults to none: no worse is enough.

    Raises:
        DeclarationError: shares that do not rise, a guardrail that is none, too many or too long steps, or a value that is
            not possible.
        ConfigError: a step that is no share.

    Example:
        >>> rollout = hr.Rollout(steps=("5%", "50%"), every="2h", guardrails=[hr.guardrail("error_rate", above=0.01)])
        >>> rollout.plan.steps
        (0.05, 0.5)
        >>> hr.Rollout(steps=("50%", "25%"))
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Rollout(steps=('50%', '25%')) is not possible.
        Rising shares below 100%, which is Production: ('5%', '25%', '50%').
    """

    _: KW_ONLY
    steps: Sequence[str | float] = ("5%", "25%", "50%")
    every: str = "1h"
    guardrails: Sequence[Guardrail] = field(default_factory=tuple)
    min_requests: int = 500
    by: Sequence[str] = field(default_factory=tuple)
    alpha: float = 0.05
    metric: str | Metric | None = None

    def __post_init__(self) -> None:
        check("Rollout", lambda steps: isinstance(steps, list | tuple), "Write ('5%', '25%', '50%').", steps=self.steps)
        shares = [share(each) for each in self.steps]
        if not shares or sorted(set(shares)) != shares or shares[-1] >= 1:
            raise DeclarationError(
                f"Rollout(steps={tuple(self.steps)!r}) is not possible.",
                hint="Rising shares below 100%, which is Production: ('5%', '25%', '50%').",
            )
        if not isinstance(self.by, list | tuple) or not all(isinstance(each, str) for each in self.by):
            raise DeclarationError(f"Rollout(by={self.by!r}) is no list of columns.", hint='Write by=("customer",).')
        check_whole("Rollout", min_requests=self.min_requests)
        check_numbers("Rollout", alpha=self.alpha)
        if not 0 < self.alpha < 0.5:
            raise DeclarationError(f"Rollout(alpha={self.alpha}) is not possible.", hint="Above 0, and below 0.5.")
        check(
            "Rollout",
            lambda given: isinstance(given, list | tuple),
            'Write [hr.guardrail("error_rate", above=0.01)].',
            guardrails=self.guardrails,
        )
        if self.metric is not None and metric_name("Rollout", self.metric) in (ERROR_RATE, *LATENCIES):
            raise DeclarationError(
                f"Rollout(metric={self.metric!r}) is nothing that answers are better by.",
                hint=f"guardrails=[hr.guardrail({self.metric!r}, above=…)] ends a rollout by it.",
            )
        check_durations("Rollout", every=self.every)
        for rule in self.guardrails:
            if not isinstance(rule, Guardrail):
                raise DeclarationError(f"{rule!r} is no guardrail.", hint='hr.guardrail("error_rate", above=0.01)')
        if duration(self.every) * len(shares) >= VALID:
            raise DeclarationError(
                f"Rollout(every={self.every!r}) with {len(shares)} steps takes {duration(self.every) * len(shares)}.",
                hint=f"An approval is good for {VALID.days} days, and the last step must be over by then.",
            )

    @property
    def plan(self) -> RolloutPlan:
        """As evidence of a request for Production keeps it."""
        from headrace.registry.records import RolloutPlan

        return RolloutPlan(
            steps=tuple(share(each) for each in self.steps),
            every=duration(self.every).total_seconds(),
            min_requests=self.min_requests,
            guardrails=tuple(
                {name: value for name, value in vars(each).items() if value is not None and value is not False}
                for each in self.guardrails
            ),
            alpha=self.alpha,
            by=tuple(self.by),
            metric=None if self.metric is None else metric_name("Rollout", self.metric),
        )


def _no_metric(said: str, model: str, known: Iterable[str]) -> DeclarationError:
    return DeclarationError(
        f"{said} is not possible for {model}.",
        hint=f"There is {', '.join(known)}; an own metric also goes into hr.Evaluate(metrics=[…]).",
    )


BY_MODEL = cast("Score", None)  # the default, which the declaration replaces by one that depends on the model


@dataclass(frozen=True)
class Deployment:
    """How versions of a model are checked, promoted, used and monitored.

    Args:
        model: the model; it has one deployment.
        score: batch scoring of its spine; defaults to `hr.Score(into="gold.<model>_predictions")`.
        gates: what a version must pass on its way to Production, `[hr.signature(), hr.approval("governance")]`. Defaults to
            none: whoever has the right to promote a version promotes it without a check.
        serve: how it answers over HTTP; defaults to not at all.
        stream: how decisions are scored as they arrive; defaults to not at all.
        rollout: how an approved version comes into Production; defaults to at once. It needs `serve`.
        monitor: how its predictions are monitored; defaults to not at all.
        retrain: when it is trained again; defaults to none, by hand only.
        feedback: what people may say of its answers, `hr.Feedback("thumbs")`; defaults to nothing. It needs `serve`.
        traces: the share of the answers of a model with `predict=`, served or of batch scoring, that become traces in MLflow,
            from 0 to 1, chosen by the id of the prediction; defaults to all, of served ones at most 5,000 each time when the log is
            ingested.
        pattern: how versions come into higher environments. `"code"`: each environment trains its own, from the code that it runs.
            `"models"`: the lowest environment trains, and `headrace model promote` copies a version up, unchanged.
            `"hybrid"`: a version comes up from below, and retraining makes further ones where the model is used. Defaults to
            `"code"`.
        load_test: the load that a server of it has to bear in `headrace test integration`; defaults to 200 requests, four at a
            time, without a limit of latency. It needs `serve`.
        owner: who takes care of its alerts; defaults to nobody.

    Raises:
        DeclarationError: a value of the wrong kind, a gate, alert or guardrail on a metric that the model does not have, a
            rollout, feedback or load test without `serve`, or `retrain` of a model without `fit`.

    Example:
        >>> flights = hr.Table("silver.flights", key="flight_id", sql="SELECT * FROM bronze.flights")
        >>> arrivals = hr.Table("gold.arrivals", key="flight_id", time="landed_at", sql="SELECT * FROM bronze.arrivals")
        >>> late = hr.Model("late_arrival", task=hr.Binary(label=arrivals["late"]), spine=flights.at("predict_at"),
        ...                 features=[flights.select("distance")])
        >>> delivery = hr.Deployment(late, gates=[hr.at_least("roc_auc", 0.6)], serve=hr.Serve(p95="20ms"))
        >>> delivery.score.into
        'gold.late_arrival_predictions'
        >>> hr.Deployment(late, gates=[hr.at_least("rmse", 12)])
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: at_least('rmse') is not possible for late_arrival.
        There is roc_auc, log_loss, brier, average_precision, accuracy; an own metric also goes into hr.Evaluate(metrics=[…]).
    """

    namespace: ClassVar[str] = "deployment"

    model: Model
    _: KW_ONLY
    score: Score = BY_MODEL
    gates: Sequence[Gate] = field(default_factory=tuple)
    serve: Serve | None = None
    stream: Stream | None = None
    rollout: Rollout | None = None
    monitor: Monitor | None = None
    retrain: Retrain | None = None
    feedback: Feedback | None = None
    traces: float = 1.0
    pattern: Pattern = "code"
    load_test: LoadTest | None = None
    owner: str = ""
    where: Location = field(default_factory=caller, compare=False, repr=False)

    def __post_init__(self) -> None:
        from headrace.inference.declarations import Score
        from headrace.inference.streaming.declarations import Stream
        from headrace.llm.feedback.declarations import Feedback
        from headrace.monitoring.declarations import EVERY_MODEL, AlertRule, Monitor, metrics_of_answers
        from headrace.serving.declarations import LoadTest, Serve
        from headrace.training.declarations import Model

        check("Deployment", lambda model: isinstance(model, Model), "Write a model: hr.Model(…).", model=self.model)
        if self.score is BY_MODEL:
            object.__setattr__(self, "score", Score(into=f"gold.{self.model.name.lower()}_predictions"))
        check(
            "Deployment", lambda score: isinstance(score, Score), 'hr.Score(into="gold.predictions")', score=self.score
        )
        check("Deployment", lambda gates: isinstance(gates, list | tuple), "Write [hr.signature()].", gates=self.gates)
        kinds: dict[str, type] = {
            "serve": Serve,
            "monitor": Monitor,
            "retrain": Retrain,
            "rollout": Rollout,
            "feedback": Feedback,
            "load_test": LoadTest,
        }
        for name, kind in kinds.items():
            check(
                "Deployment",
                lambda value, kind=kind: value is None or isinstance(value, kind),
                f"Write hr.{kind.__name__}(…).",
                **{name: getattr(self, name)},
            )
        if self.pattern not in PATTERNS:
            raise DeclarationError(
                f"Deployment(pattern={self.pattern!r}) is not known.", hint=f"{', '.join(map(repr, PATTERNS))}."
            )
        metrics = self.model.known_metrics
        for name in (*EVERY_MODEL, ERROR_RATE, *LATENCIES):
            if name in metrics:
                raise DeclarationError(
                    f"{self.model.name} has a metric {name!r}, as alerts and guardrails call something else.",
                    hint="Give it another name: hr.metric(…, name=…).",
                )
        if self.monitor is not None:
            _ = self.score.table  # what is watched is read again
        for gate in self.gates:
            if isinstance(gate, Gate) and (gate.phase not in PHASES or (gate.phase == "approve" and not gate.roles)):
                raise DeclarationError(
                    f"{self.model.name}: the gate {gate!r} would never be asked: its phase is {gate.phase!r}"
                    + (" and it names no role." if gate.phase == "approve" else "."),
                    hint=f"A phase is one of {', '.join(PHASES)}.",
                )
            if not isinstance(gate, Gate):  # pyright: ignore[reportUnnecessaryIsInstance]
                hint = "Call it: hr.signature(); for a function of your own: hr.gate(function)."
                raise DeclarationError(f"{gate!r} is no gate.", hint=hint)
            for metric in gate.metrics:
                if metric not in metrics:
                    raise _no_metric(f"{gate.name}({metric!r})", self.model.name, metrics)
        watched = (*metrics, *EVERY_MODEL)
        if self.model.predict is not None and self.serve is not None:
            watched += metrics_of_answers(self.feedback.takes if self.feedback else ())
        for rule in self.monitor.alerts if self.monitor else ():
            if not isinstance(rule, AlertRule):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DeclarationError(f"{rule!r} is no alert.", hint='hr.alert("roc_auc", below=0.7)')
            if rule.metric not in watched:
                raise _no_metric(f"alert({rule.metric!r})", self.model.name, watched)
        if self.stream is not None and not isinstance(self.stream, Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
            hint = 'hr.Stream(source=hr.kafka("topic"), into="gold.predictions")'
            raise DeclarationError(f"stream={self.stream!r} is no stream.", hint=hint)
        self._check_rollout(metrics)
        if self.feedback is not None and self.serve is None:
            raise DeclarationError(
                f"nobody could send the feedback on {self.model.name}: the deployment declares no serving.",
                hint="Add serve=hr.Serve().",
            )
        if self.load_test is not None and self.serve is None:
            raise DeclarationError(
                f"no server of {self.model.name} could be tested with a load: the deployment declares no serving.",
                hint="Add serve=hr.Serve().",
            )
        if self.retrain is not None and self.model.fit is None:
            raise DeclarationError(
                f"the deployment of {self.model.name} declares retrain=, and the model no fit= to train it with.",
                hint="Leave it out; headrace model import brings the next version. Or give the model fit=.",
            )
        check(
            "Deployment",
            lambda share: isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1,
            "Write a share from 0 to 1: traces=0.1.",
            traces=self.traces,
        )
        for schedule in (self.score.every, self.retrain.every if self.retrain else None):
            if schedule is not None and not isinstance(schedule, Cron):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DeclarationError(f"every={schedule!r} is no schedule.", hint='hr.cron("0 4 * * *")')

    def _check_rollout(self, metrics: Mapping[str, Metric]) -> None:
        if self.rollout is None:
            return
        if self.serve is None:
            raise DeclarationError(
                f"the rollout of {self.model.name} has no traffic to divide: the deployment declares no serving.",
                hint="Add serve=hr.Serve().",
            )
        if (main := self.rollout.plan.metric) is not None:
            self._check_main_metric(main, metrics)
        for rule in self.rollout.guardrails:
            if rule.metric == ERROR_RATE or rule.metric in LATENCIES:
                continue
            if rule.metric.startswith(PREFIX):
                self._check_feedback_metric(f"guardrail({rule.metric!r})", rule.metric)
                continue
            if rule.metric not in metrics:
                raise _no_metric(f"guardrail({rule.metric!r})", self.model.name, (ERROR_RATE, *LATENCIES, *metrics))
            wrong = "above" if metrics[rule.metric].direction == "maximize" else "below"
            if getattr(rule, wrong) is not None:
                raise DeclarationError(
                    f"guardrail({rule.metric!r}, {wrong}=…) would stop what is good.", hint="Use the other."
                )
            if self.model.task.label.table.time is None:
                raise DeclarationError(
                    f"guardrail({rule.metric!r}) needs to know when labels came: {self.model.task.label.table.name!r} has no time=."
                )

    def _check_main_metric(self, metric: str, metrics: Mapping[str, Metric]) -> None:
        if metric.startswith(PREFIX):
            self._check_feedback_metric(f"Rollout(metric={metric!r})", metric)
        elif metric not in metrics:
            known = (*metrics, *(self.feedback.metrics if self.feedback else ()))
            raise _no_metric(f"Rollout(metric={metric!r})", self.model.name, known)
        elif self.model.task.label.table.time is None:
            raise DeclarationError(
                f"Rollout(metric={metric!r}) needs to know when labels came: {self.model.task.label.table.name!r} has no time=."
            )

    def _check_feedback_metric(self, said: str, metric: str) -> None:
        if self.feedback is None:
            raise DeclarationError(
                f"{said} goes by feedback, and the deployment of {self.model.name} takes none.",
                hint='Add feedback=hr.Feedback("thumbs").',
            )
        if metric not in self.feedback.metrics:
            raise DeclarationError(
                f"{said} is not possible for {self.model.name}, whose feedback is {', '.join(self.feedback.takes)}.",
                hint=f"There is {', '.join(self.feedback.metrics) or 'no metric of that'}; another kind goes into hr.Feedback(…).",
            )

    @property
    def name(self) -> str:
        """The model's name: a model has one deployment."""
        return self.model.name
