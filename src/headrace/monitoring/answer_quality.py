"""What a window of answers says of their quality without labels: what they count, and what people say of them.

It is kept where the quality of other models is, in `metrics.model_quality`, so that alerts and tables are the same. An answer
counts in the window of its moment, whenever feedback on it arrives; feedback that is late does not count.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from headrace.core.ids import digest
from headrace.lakehouse.identifiers import column, literal, quoted
from headrace.monitoring import feedback, windows
from headrace.monitoring.declarations import EMPTY, FEEDBACK
from headrace.monitoring.feedback import Rate, Z, wilson
from headrace.monitoring.label_join import NotCounted
from headrace.monitoring.performance import Performance, Quality, Report
from headrace.training.generated import NUMBERS, PREDICTION, RETRIEVED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback
    from headrace.monitoring.declarations import Granularity
    from headrace.training.declarations import Model

UNLABELLED = "served questions have no labels"
SHARES = (f"{PREDICTION}_refused",)  # outputs that are 0 or 1


def measured(
    lakehouse: Lakehouse,
    model: Model,
    answers: str,
    before: Sequence[Quality],
    *,
    version: int,
    as_of: datetime,
    granularity: Granularity,
    min_rows: int,
    said: Feedback | None,
    retrieves: bool,
) -> Report:
    """The windows of a version's answers.

    Args:
        lakehouse: the tables.
        model: that answered.
        answers: the inference table.
        before: the windows as they were kept last.
        version: of the model.
        as_of: decisions of a later time do not exist.
        granularity: of the windows.
        min_rows: with fewer answers a window is not judged, and with fewer words of people what they say is not.
        said: what people may say; None for nothing.
        retrieves: whether the model searches in an index.
    """
    counts = _counts(lakehouse, model.name, answers, version, as_of, granularity)
    opinions = _opinions(lakehouse, model.name, version, granularity, said, as_of)
    known = {window.start: window for window in before}
    found: list[Quality] = []
    for row in counts:
        start, rows = row["start"], int(row["rows"])
        end = windows.end_of(start, granularity)
        measures = [
            *_means(row, rows),
            *(_empty(row, rows) if retrieves else ()),
            *(
                _opinion(kind, opinions.get((start, kind), []), rows)
                for kind in (said.takes if said else ())
                if kind in FEEDBACK
            ),
        ]
        measures = [_judged(each, ended=end <= as_of, min_rows=min_rows) for each in measures]
        measures += [_unlabelled(metric.name, rows) for metric in model.measured]
        found.append(
            Quality(
                granularity=granularity,
                start=start,
                end=end,
                rows=rows,
                labelled=0,
                label_mean=None,
                prediction_mean=None,
                mature=False,
                reopened=False,
                measures=tuple(measures),
                state=digest([[each.metric, each.value, each.labelled, each.judged] for each in measures]),
                basis=digest([min_rows]),
                as_of=as_of,
            )
        )
    changed = {
        each.start
        for each in found
        if each.start not in known or (known[each.start].state, known[each.start].basis) != (each.state, each.basis)
    }
    kept = [each if each.start in changed else known[each.start] for each in found]
    return Report(
        windows=tuple(kept),
        measured=frozenset(changed),
        not_counted=NotCounted(unknown=0, replaced=0, not_yet=0),
    )


def _counts(
    lakehouse: Lakehouse, model: str, answers: str, version: int, as_of: datetime, granularity: Granularity
) -> list[dict[str, Any]]:
    there = lakehouse.snapshot(answers).schema.names
    numbers = [name for name in NUMBERS if name in there]
    sums = [
        f"avg({column(name)}) as {column(f'mean {name}')}, stddev_samp({column(name)}) as {column(f'deviation {name}')}, "
        f"count({column(name)}) as {column(f'count {name}')}"
        for name in numbers
    ]
    empty = f"count(*) filter (where {column(RETRIEVED)} = 0)" if RETRIEVED in there else "0"
    moment = "decision_time::timestamptz"
    with lakehouse.connect({answers: None}) as connection:
        rows = connection.sql(
            f"""
            select {", ".join([f"{windows.sql(moment, granularity)} as start", "count(*) as rows", f"{empty} as empty", *sums])}
            from {quoted(answers)}
            where model = {literal(model)} and model_version = {int(version)}
                and {moment} < timestamptz '{as_of.isoformat()}'
            group by start order by start
            """
        ).to_arrow_table()
    return [{**row, "start": row["start"].astimezone(UTC)} for row in rows.to_pylist()]


def _opinions(
    lakehouse: Lakehouse, model: str, version: int, granularity: Granularity, said: Feedback | None, as_of: datetime
) -> dict[tuple[datetime, str], list[dict[str, Any]]]:
    """Window and kind → the last words of people on its answers that are not late."""
    rows = None if said is None else feedback.joined(lakehouse, model, within=said.within)
    found: dict[tuple[datetime, str], list[dict[str, Any]]] = {}
    for row in rows.to_pylist() if rows is not None else ():
        if row["model_version"] == version and row["matched"] and not row["late"] and row["at"] < as_of:
            found.setdefault((windows.start_of(row["requested_at"], granularity), row["kind"]), []).append(row)
    return found


def _means(row: Mapping[str, Any], rows: int) -> list[Performance]:
    found: list[Performance] = []
    for name in NUMBERS:
        count = row.get(f"count {name}", 0)
        if not count:
            continue
        mean, deviation = row[f"mean {name}"], row[f"deviation {name}"]
        if name in SHARES:
            found.append(_share(name, wilson(round(mean * count), count), rows, count))
            continue
        half = None if deviation is None else Z * deviation / math.sqrt(count)
        found.append(_performance(name, mean, half, rows, count))
    return found


def _empty(row: Mapping[str, Any], rows: int) -> list[Performance]:
    count = row.get(f"count {RETRIEVED}", 0)
    return [_share(EMPTY, wilson(int(row["empty"]), count), rows, count)] if count else []


def _opinion(kind: str, said: Sequence[Mapping[str, Any]], rows: int) -> Performance:
    name = f"feedback.{kind}"
    values = [each["value"] for each in said if each["value"] is not None]
    if kind == "thumbs":
        return _share(name, wilson(sum(value > 0 for value in values), len(values)), rows, len(values))
    if kind == "score":
        mean = sum(values) / len(values) if values else None
        spread = (
            math.sqrt(sum((each - mean) ** 2 for each in values) / (len(values) - 1))
            if mean is not None and len(values) > 1
            else None
        )
        half = None if spread is None else Z * spread / math.sqrt(len(values))
        return _performance(name, mean, half, rows, len(values))
    about = {each["prediction_id"] for each in said}
    return _share(name, wilson(min(len(about), rows), rows), rows, rows)


def _share(name: str, rate: Rate | None, rows: int, count: int) -> Performance:
    if rate is None:
        return _performance(name, None, None, rows, count)
    return Performance(
        metric=name, value=rate.value, low=rate.low, high=rate.high, rows=rows, labelled=count, judged=True
    )


def _performance(name: str, value: float | None, half: float | None, rows: int, count: int) -> Performance:
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    return Performance(metric=name, value=value, low=low, high=high, rows=rows, labelled=count, judged=True)


def _judged(measure: Performance, *, ended: bool, min_rows: int) -> Performance:
    reason = ""
    if measure.value is None:
        reason = f"{measure.metric}: nobody has said anything"
    elif measure.labelled < min_rows:
        reason = f"{measure.metric}: {measure.labelled:,} rows; {min_rows:,} are needed (hr.Monitor(min_rows=…))"
    elif not ended:
        reason = "the window has not ended"
    return replace(measure, judged=not reason, reason=reason)


def _unlabelled(metric: str, rows: int) -> Performance:
    return Performance(
        metric=metric, value=None, low=None, high=None, rows=rows, labelled=0, judged=False, reason=UNLABELLED
    )
