"""The business figures of a model as monitoring stored them: by version, by window, and one version against another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError
from headrace.core.text import said
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.kpis import Figure, StoredKpi
    from headrace.registry.records import Stage
    from headrace.workspace.workspace import Workspace

WINDOWS = 12
FEWEST = 30  # values of each version, for a sentence on their difference
SHOWN = 5  # versions that the one in Production is compared with, the newest ones


@dataclass(frozen=True, kw_only=True)
class KpiVersion(Record):
    """A figure of a version over all time.

    Attributes:
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        rows: observations.
        counted: those with a value.
        mean: of these; None where there is none.
        low: of the 95 % interval; None where there is none.
        high: of the same.
        total: their sum.
        reason: why there is no value or no interval; else empty.
    """

    version: int
    stage: Stage
    rows: int
    counted: int
    mean: float | None
    low: float | None
    high: float | None
    total: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class KpiWindow(Record):
    """A figure of a version in one window.

    Attributes:
        version: its number.
        start: of the window.
        end: the first moment after it.
        rows: observations.
        counted: those with a value.
        mean: of these; None where there is none.
        low: of the 95 % interval; None where there is none.
        high: of the same.
        total: their sum.
        reason: why there is no value or no interval; else empty.
    """

    version: int
    start: datetime
    end: datetime
    rows: int
    counted: int
    mean: float | None
    low: float | None
    high: float | None
    total: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class KpiComparison(Record):
    """One version against another in the windows that both have.

    Attributes:
        a: the number of the one.
        b: the number of the other one.
        difference: the mean of `a` less that of `b`, in the unit of the figure; None where they cannot be compared.
        low: of its 95 % interval.
        high: of the same.
        windows: how many windows both have, of those that are shown.
        since: the beginning of the first of them; None where the figure has no windows.
        until: the end of the last one.
        verdict: `better`, `worse`, `no difference` or `not compared`.
        sentence: the same for people.
    """

    a: int
    b: int
    difference: float | None
    low: float | None
    high: float | None
    windows: int
    since: datetime | None
    until: datetime | None
    verdict: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class KpiReport(Record):
    """A business figure.

    Attributes:
        name: of it.
        description: what it is, for people.
        unit: of its values; may be empty.
        better: `higher` or `lower`.
        granularity: of its windows.
        measured_at: when a figure changed last.
        reason: why nothing could be computed; else empty.
        versions: the newest first.
        windows: by version, then in order of time; the latest ones.
        comparisons: the version in Production against each other one, the newest first; without one in Production, the newest
            that has a value.
    """

    name: str
    description: str
    unit: str
    better: str
    granularity: Granularity
    measured_at: datetime
    reason: str
    versions: tuple[KpiVersion, ...]
    windows: tuple[KpiWindow, ...]
    comparisons: tuple[KpiComparison, ...]


@dataclass(frozen=True, kw_only=True)
class KpisReport(Record):
    """The business figures of a model.

    Attributes:
        env: the environment.
        model: its name.
        kpis: by name.
    """

    env: str
    model: str
    kpis: tuple[KpiReport, ...]


@operation("monitor kpis", of="name")
def show_kpis(workspace: Workspace, name: str, *, windows: int = WINDOWS) -> KpisReport:
    """What a model is worth, by version and window, as `headrace run monitor` stored it last; nothing is computed from rows.

    Args:
        workspace: the environment.
        name: of the model.
        windows: how many of the latest windows of each figure; at least 1. Versions are compared in these.

    Raises:
        NotFoundError: there is no such model.
        DeclarationError: fewer than one window is asked for.
    """
    from headrace.monitoring.kpis import stored

    if windows < 1:
        raise DeclarationError(f"{windows} windows cannot be shown.", hint="Ask for 1 or more; 12 is the default.")
    stages: dict[int, Stage] = {each.version: each.stage for each in workspace.registry.versions(name)}
    kept = stored(workspace.lakehouse, name, since=windows)
    return KpisReport(env=workspace.environment.name, model=name, kpis=tuple(_report(each, stages) for each in kept))


def _report(kpi: StoredKpi, stages: Mapping[int, Stage]) -> KpiReport:
    whole = [each for each in kpi.figures if each.start is None and each.version is not None]
    return KpiReport(
        name=kpi.name,
        description=kpi.description,
        unit=kpi.unit,
        better=kpi.better,
        granularity=kpi.granularity,
        measured_at=kpi.measured_at,
        reason=next((each.reason for each in kpi.figures if each.version is None), ""),
        versions=tuple(_version(each, stages) for each in reversed(whole)),
        windows=tuple(_windows(kpi.figures)),
        comparisons=tuple(_comparisons(kpi, whole, stages)),
    )


def _version(figure: Figure, stages: Mapping[int, Stage]) -> KpiVersion:
    number = figure.version or 0
    return KpiVersion(
        version=number,
        stage=stages.get(number, "None"),
        rows=figure.rows,
        counted=figure.counted,
        mean=figure.mean,
        low=figure.low,
        high=figure.high,
        total=figure.total,
        reason=figure.reason,
    )


def _windows(figures: Sequence[Figure]) -> Iterator[KpiWindow]:
    for each in figures:
        if each.version is None or each.start is None or each.end is None:
            continue
        yield KpiWindow(
            version=each.version,
            start=each.start,
            end=each.end,
            rows=each.rows,
            counted=each.counted,
            mean=each.mean,
            low=each.low,
            high=each.high,
            total=each.total,
            reason=each.reason,
        )


def _comparisons(kpi: StoredKpi, whole: Sequence[Figure], stages: Mapping[int, Stage]) -> Iterator[KpiComparison]:
    numbers = [each.version for each in whole if each.version is not None and each.mean is not None]
    if not numbers:
        return
    current = next((number for number in numbers if stages.get(number) == "Production"), numbers[-1])
    for other in [number for number in reversed(numbers) if number != current][:SHOWN]:
        yield _compared(kpi, current, other)


def _compared(kpi: StoredKpi, a: int, b: int) -> KpiComparison:
    """Where a figure has windows, in those that both versions have, so that a bad month is not blamed on a version."""
    from headrace.monitoring.means import difference

    timed = any(each.start is not None for each in kpi.figures)
    mine, theirs = (
        {each.start: each for each in kpi.figures if each.version == number and (each.start is not None) is timed}
        for number in (a, b)
    )
    both = [start for start in mine if start in theirs and min(mine[start].counted, theirs[start].counted) > 1]
    pairs = [(mine[start].sample, theirs[start].sample) for start in both]
    strata = [(one, other) for one, other in pairs if one is not None and other is not None]
    found = difference(strata)
    values = [sum(pair[place].rows for pair in strata) for place in (0, 1)]
    verdict, sentence = "not compared", f"Version {a} and version {b} are not compared: "
    if found is None or found.low is None or found.high is None:
        sentence += "no window has two values of each." if timed else "one of them has fewer than two values."
    elif min(values) < FEWEST:
        few = min(values)
        sentence += f"one of them has {few} values in the windows of both, and {FEWEST} are needed."
    else:
        verdict, sentence = _verdict(kpi, a, b, found.value, found.low, found.high)
        if verdict == "no difference" and found.low == found.high:
            sentence = f"Version {a} and version {b} have the same values."
    shown = None if verdict == "not compared" else found
    ends = [each for start in both if (each := mine[start].end) is not None]
    return KpiComparison(
        a=a,
        b=b,
        difference=None if shown is None else shown.value,
        low=None if shown is None else shown.low,
        high=None if shown is None else shown.high,
        windows=len(both) if timed else 0,
        since=min((start for start in both if start is not None), default=None),
        until=max(ends, default=None),
        verdict=verdict,
        sentence=sentence,
    )


def _verdict(kpi: StoredKpi, a: int, b: int, value: float, low: float, high: float) -> tuple[str, str]:
    """Better or worse only where the whole interval is on one side of zero."""
    unit = f" {kpi.unit}" if kpi.unit else ""
    subject = kpi.description or kpi.name
    if low <= 0 <= high:
        ends = f"{said(low)} to {said(high)}{unit}"
        return (
            "no difference",
            f"Whether version {a} or version {b} is better cannot be told: {subject} differs by {ends}.",
        )
    way = "higher" if value > 0 else "lower"
    verdict = "better" if way == kpi.better else "worse"
    least, most = sorted((abs(low), abs(high)))
    amount = f"{said(abs(value))}{unit} {way} ({said(least)} to {said(most)})"
    return verdict, f"Version {a} is {verdict} than version {b}: {subject} is {amount}."
