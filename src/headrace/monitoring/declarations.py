"""Declarations of monitoring."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal

from headrace.core.declaration import (
    Location,
    caller,
    check,
    check_durations,
    check_names,
    check_numbers,
    check_texts,
    check_whole,
)
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import Sql
from headrace.training.generated import NUMBERS
from headrace.training.metrics.base import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.metrics.base import Metric

Granularity = Literal["1h", "1d", "1w", "1mo"]
UNDECLARED: Granularity = "1mo"  # windows of quality of a deployment without monitor=
GRANULARITIES = ("1h", "1d", "1w", "1mo")
EVERY_MODEL = ("psi", "null_share", "label_coverage")  # metrics that rules may be on, whatever the task
EMPTY, EMBEDDING_DRIFT = "empty_retrieval", "embedding_drift"
FEEDBACK = ("thumbs", "score", "retry", "copy", "handover")  # kinds of feedback that have a rate or a mean
OF = re.compile(r"([1-9][0-9]?) of ([1-9][0-9]?)")
KPI_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def metrics_of_answers(feedback: Sequence[str]) -> tuple[str, ...]:
    """Metrics that rules may be on beside those of every model, for a model with `predict=`.

    Args:
        feedback: kinds that people may send.
    """
    return (*NUMBERS, EMPTY, EMBEDDING_DRIFT, *(f"feedback.{kind}" for kind in feedback if kind in FEEDBACK))


@dataclass(frozen=True)
class AlertRule:
    """A threshold on a metric, and for how many of the last windows it must be broken.

    Attributes:
        metric: of the model, or `psi` (the worst column), `null_share`, `label_coverage`.
        below: broken under it.
        above: broken over it.
        broken: how many of the last `windows` must be broken.
        windows: how many are looked at.
        cool_down: after it fired, how long it stays silent.
    """

    metric: str
    below: float | None
    above: float | None
    broken: int
    windows: int
    cool_down: str

    @property
    def name(self) -> str:
        """`roc_auc < 0.73, 2 of 3`."""
        sign, limit = ("<", self.below) if self.below is not None else (">", self.above)
        return f"{self.metric} {sign} {limit:g}, {self.broken} of {self.windows}"


def alert(
    metric: str | Metric,
    *,
    below: float | None = None,
    above: float | None = None,
    for_: str = "2 of 3",
    cool_down: str = "1d",
) -> AlertRule:
    """A rule on the windows of monitoring: `hr.alert("roc_auc", below=0.73, for_="2 of 3")`.

    Args:
        metric: a metric of the model, by name or as `hr.metric(…)` returns it; `"psi"` or `"null_share"` for drift, of the
            column where it is worst; or `"label_coverage"`, the share of the predictions that have a label. Of a served model
            with `predict=`, also the mean of a number of its answers (`"prediction_refused"`, `"prediction_cost"`, …),
            `"empty_retrieval"`, the share of the answers for which nothing was found, `"embedding_drift"`, how far questions
            have moved, from 0 to 1, and `"feedback.thumbs"`, the share that is up, or another kind of its feedback.
        below: the rule is broken under this value, in the metric's own unit.
        above: the rule is broken over this value. One of the two limits is needed.
        for_: how many of how many windows must break it; defaults to `"2 of 3"`.
        cool_down: for how long after the window that closed an alert the same rule opens no other one; defaults to `"1d"`.

    Returns:
        The rule, for `hr.Monitor(alerts=[…])`.

    Raises:
        DeclarationError: no limit or two, a `for_` that is not `<n> of <m>`, or no duration.

    Example:
        >>> hr.alert("roc_auc", below=0.73, for_="2 of 3").name
        'roc_auc < 0.73, 2 of 3'
        >>> hr.alert("psi", above=0.2, for_="3 of 2")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: alert(for_='3 of 2') is not possible.
        Write '2 of 3': two of the last three windows.
    """
    metric = metric_name("alert", metric)
    if (below is None) == (above is None):
        raise DeclarationError(f"alert({metric!r}) needs either below= or above=.")
    check_numbers("alert", **{name: value for name, value in (("below", below), ("above", above)) if value is not None})
    check_texts("alert", "Write '2 of 3': two of the last three windows.", for_=for_)
    match = OF.fullmatch(for_)
    if not match or int(match[1]) > int(match[2]):
        raise DeclarationError(
            f"alert(for_={for_!r}) is not possible.", hint="Write '2 of 3': two of the last three windows."
        )
    check_durations("alert", cool_down=cool_down)
    return AlertRule(metric, below, above, int(match[1]), int(match[2]), cool_down)


@dataclass(frozen=True)
class Kpi:
    """A business figure: the mean of a value for each version of a model, by window.

    Attributes:
        name: such as `saved_minutes`.
        sql: one SELECT with the columns `model_version`, `value` and, where there are windows, `decision_time`.
        unit: of the value.
        better: which way is good.
        window: the period of one window; None: that of `hr.Monitor`.
        description: for people.
        where: the place in the program.
    """

    name: str
    sql: Sql
    unit: str
    better: Literal["higher", "lower"]
    window: Granularity | None
    description: str
    where: Location = field(compare=False, repr=False)


def kpi(
    name: str,
    sql: str | Sql,
    *,
    better: Literal["higher", "lower"],
    unit: str = "",
    window: Granularity | None = None,
    description: str = "",
) -> Kpi:
    """What a model is worth to the business, as SQL over logged predictions and what came of them.

    Every run of monitoring computes it anew for each version and window, with a 95 % interval by Student's t. Outcomes that
    come late so change the windows that they belong to.

    Args:
        name: lower case, `"saved_minutes"`.
        sql: one SELECT over declared tables and predictions, as a text or `hr.sql_file(…)`, with a row for each observation:
            `model_version`, `value` (a number, or true and false for a share; null while the outcome is not known), and
            `decision_time`, by which a row is in a window. Without it there is one figure for all time. Rows have to be
            independent of each other: where a customer has several, select one row a customer.
        better: `"higher"` or `"lower"`: which way is good.
        unit: of the value, `"min"`; defaults to none.
        window: `"1h"`, `"1d"`, `"1w"` or `"1mo"`; defaults to the window of `hr.Monitor`.
        description: what it is, for people, `"Minutes saved a flight"`; defaults to the name.

    Returns:
        The figure, for `hr.Monitor(kpis=[…])`.

    Raises:
        DeclarationError: a value that is not possible. The SQL is checked by `headrace run monitor --dry-run` and at each run.

    Example:
        >>> saved = hr.kpi("saved_minutes", "select model_version, decision_time, saved as value from gold.saved",
        ...                better="higher", unit="min")
        >>> hr.Monitor(kpis=[saved]).kpis[0].unit
        'min'
        >>> hr.kpi("cost", "select 1", better="less")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: kpi(better='less') is not possible.
        'higher' or 'lower'.
    """
    where = caller()
    check(
        "kpi",
        lambda name: isinstance(name, str) and KPI_NAME.fullmatch(name) is not None,
        "Write it in lower case, with digits and _: 'saved_minutes'.",
        name=name,
    )
    check(
        "kpi",
        lambda sql: isinstance(sql, Sql) or (isinstance(sql, str) and bool(sql.strip())),
        "Write 'select model_version, decision_time, value from …', or hr.sql_file('…').",
        sql=sql,
    )
    check("kpi", lambda better: better in ("higher", "lower"), "'higher' or 'lower'.", better=better)
    check(
        "kpi",
        lambda window: window is None or window in GRANULARITIES,
        f"One of {', '.join(GRANULARITIES)}.",
        window=window,
    )
    check_texts("kpi", "Write a text.", unit=unit, description=description)
    return Kpi(name, sql if isinstance(sql, Sql) else Sql(sql, where.file), unit, better, window, description, where)


@dataclass(frozen=True)
class Monitor:
    """How predictions are monitored: quality and drift, window by window, and the alerts on them.

    Args:
        window: the period of one window, by calendar in UTC: `"1h"`, `"1d"`, `"1w"` (from Monday) or `"1mo"`; defaults to
            `"1d"`.
        alerts: rules on the windows, `[hr.alert("roc_auc", below=0.73)]`; defaults to none.
        min_rows: a window with fewer rows (labelled ones, for quality) is shown, and no alert is evaluated on it; defaults
            to 500.
        slices: features or columns of the predictions, `["airline"]`: drift and quality are also shown for each of their
            values. Defaults to none.
        kpis: business figures, `[hr.kpi("saved_minutes", "select …", better="higher")]`; defaults to none.

    Raises:
        DeclarationError: an unknown window, two business figures of one name, or a value that is not possible.

    Example:
        >>> monitor = hr.Monitor(window="1mo", alerts=[hr.alert("roc_auc", below=0.73)], slices=["airline"])
        >>> [rule.name for rule in monitor.alerts]
        ['roc_auc < 0.73, 2 of 3']
        >>> hr.Monitor(window="2d")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Monitor(window='2d') is not possible.
        One of 1h, 1d, 1w, 1mo.
    """

    _: KW_ONLY
    window: Granularity = "1d"
    alerts: Sequence[AlertRule] = field(default_factory=tuple)
    min_rows: int = 500
    slices: Sequence[str] = field(default_factory=tuple)
    kpis: Sequence[Kpi] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.window not in GRANULARITIES:
            raise DeclarationError(
                f"Monitor(window={self.window!r}) is not possible.", hint=f"One of {', '.join(GRANULARITIES)}."
            )
        check_whole("Monitor", min_rows=self.min_rows)
        check_names("Monitor", slices=self.slices)
        check(
            "Monitor",
            lambda alerts: isinstance(alerts, list | tuple),
            'Write [hr.alert("psi", above=0.2)].',
            alerts=self.alerts,
        )
        check(
            "Monitor",
            lambda kpis: isinstance(kpis, list | tuple) and all(isinstance(each, Kpi) for each in kpis),
            'Write [hr.kpi("saved_minutes", "select …", better="higher")].',
            kpis=self.kpis,
        )
        names = [each.name for each in self.kpis]
        if twice := [each for each in self.kpis if names.count(each.name) > 1]:
            raise DeclarationError(
                f"{twice[-1].where}: the business figure {twice[-1].name!r} is declared twice.",
                findings=[str(each.where) for each in twice],
                hint="Give each a name of its own.",
            )
