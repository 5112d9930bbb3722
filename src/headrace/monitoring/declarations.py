"""Declarations of monitoring."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal

from headrace.core.declaration import check, check_durations, check_names, check_numbers, check_texts, check_whole
from headrace.core.errors import DeclarationError
from headrace.training.metrics.base import metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.metrics.base import Metric

Granularity = Literal["1h", "1d", "1w", "1mo"]
GRANULARITIES = ("1h", "1d", "1w", "1mo")
EVERY_MODEL = ("psi", "null_share", "label_coverage")  # metrics that rules may be on, whatever the task
OF = re.compile(r"([1-9][0-9]?) of ([1-9][0-9]?)")


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
        metric: a metric of the model, by name or as `hr.metric(…)` returns it; or `"drift"` and the other names that
            `docs/monitoring.md` lists.
        below: the rule is broken under this value, in the metric's own unit.
        above: the rule is broken over this value. One of the two limits is needed.
        for_: how many of how many windows must break it; defaults to `"2 of 3"`.
        cool_down: how long after an alert was closed no other one is opened by the same rule; defaults to `"1d"`.

    Returns:
        The rule, for `hr.Monitor(alerts=[…])`.

    Raises:
        DeclarationError: no limit or two, or not `<n> of <m>`.
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
class Monitor:
    """Watching predictions.

    Args:
        window: how predictions are cut: `"1h"`, `"1d"`, `"1w"` (Monday) or `"1mo"`, UTC.
        alerts: rules on the windows.
        min_rows: a window with fewer rows (labelled ones, for quality) is shown and never judged.
        slices: features or columns of the predictions by whose values drift and quality are shown too.
    """

    _: KW_ONLY
    window: Granularity = "1d"
    alerts: Sequence[AlertRule] = field(default_factory=tuple)
    min_rows: int = 500
    slices: Sequence[str] = field(default_factory=tuple)

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
