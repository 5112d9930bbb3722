"""Feedback joined with the answers that it is on, and its rates for each version."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.clock import duration
from headrace.llm.feedback.table import TABLE
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse

Z = 1.959963984540054  # of 95 %
OF_ANSWER = {"split": "split", "inputs": "inputs", "outputs": "outputs"}
JOINED = """
WITH answered AS (
    SELECT prediction_id, requested_at, model_version{of_answer}
    FROM {log}
    WHERE model = $model AND role <> 'shadow'
), paired AS (
    -- a decision that is asked again has the same id: feedback is on the last answer before it
    SELECT said.*, answered.* EXCLUDE (prediction_id, model_version), answered.model_version AS answered_by
    FROM "metrics"."feedback" AS said LEFT JOIN answered USING (prediction_id)
    WHERE said.model = $model AND ($until IS NULL OR "at" <= $until)
    QUALIFY row_number() OVER (
        PARTITION BY feedback_id
        ORDER BY (requested_at <= "at") DESC NULLS LAST, requested_at DESC, answered_by DESC
    ) = 1
), timed AS (
    SELECT *, coalesce("at" > requested_at + to_seconds($within), false) AS late
    FROM paired
), latest AS (
    -- the last word of each person on each answer; one that is late only where no other is there
    SELECT *
    FROM timed
    QUALIFY row_number() OVER (
        PARTITION BY prediction_id, kind, coalesce("user", ''), coalesce(api_key, '')
        ORDER BY late, "at" DESC, feedback_id DESC
    ) = 1
)
SELECT
    feedback_id, prediction_id, coalesce(answered_by, model_version) AS model_version, kind, value, text, "user",
    api_key, source, "at", ingested_at, requested_at{names},
    requested_at IS NOT NULL AS matched,
    late
FROM latest
ORDER BY "at", feedback_id
"""
NO_LOG = """(
    SELECT NULL::VARCHAR AS prediction_id, NULL::TIMESTAMPTZ AS requested_at, NULL::BIGINT AS model_version,
        NULL::VARCHAR AS split, NULL::VARCHAR AS inputs, NULL::VARCHAR AS outputs, NULL::VARCHAR AS model,
        NULL::VARCHAR AS role
    WHERE false
)"""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share with its 95 % interval of Wilson (J. Am. Stat. Assoc. 22, 1927).

    Attributes:
        value: the share, between 0 and 1.
        low: the lower end of the interval.
        high: its upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class KindOfVersion:
    """What people said of the answers of a version, in one kind.

    Attributes:
        version: its number; None for feedback whose answer is in no log and that names no version.
        kind: of the feedback.
        count: how many people's last words on an answer.
        mean: of the values; None for texts.
        rate: thumbs: the share that is up. What people do: the share of the answers. None for scores, texts and where there is
            nothing to count.
        answers: of the version in the log.
        delay: the median time from the answer to the feedback, in seconds; None where no answer is known.
        lag: the median time from the feedback to its row in the table, in seconds.
    """

    version: int | None
    kind: str
    count: int
    mean: float | None
    rate: Rate | None
    answers: int
    delay: float | None
    lag: float


def wilson(hits: int, of: int) -> Rate | None:
    """The share of hits with its interval; None of nothing."""
    if of <= 0:
        return None
    share, z2 = hits / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Rate(value=share, low=0.0 if hits == 0 else low, high=1.0 if hits == of else high)


def joined(
    lakehouse: Lakehouse,
    model: str,
    *,
    within: str,
    of_answer: Mapping[str, str] = OF_ANSWER,
    until: datetime | None = None,
) -> pa.Table | None:
    """The last word of each person on each answer, a row for each kind, with the answer.

    Args:
        lakehouse: the tables.
        model: its name.
        within: how long after an answer feedback counts; what came later is `late`.
        of_answer: what is told of the answer: name → SQL over the inference log.
        until: said by then; None for all.

    Returns:
        The rows by their moment: those of the feedback; `model_version`, `requested_at` and `of_answer` of the answer, null where
        the log does not have it; `matched` and `late`. None where there is no feedback table yet.
    """
    if not lakehouse.exists(TABLE):
        return None
    log = log_table(model)
    there = lakehouse.exists(log)
    schema, _, name = log.partition(".")
    sql = JOINED.format(
        log=f'"{schema}"."{name}"' if there else NO_LOG,
        of_answer="".join(f', {said} AS "{each}"' for each, said in of_answer.items()),
        names="".join(f', "{each}"' for each in of_answer),
    )
    values = {"model": model, "within": duration(within).total_seconds(), "until": until}
    with lakehouse.connect(dict.fromkeys((TABLE, *((log,) if there else ())))) as connection:
        return connection.sql(sql, params=values).to_arrow_table()


def logged(lakehouse: Lakehouse, model: str, version: int) -> pa.Table | None:
    """The answers of a version in the log, by their moment, without those as a shadow; None where there is no log."""
    log = log_table(model)
    if not lakehouse.exists(log):
        return None
    schema, _, name = log.partition(".")
    with lakehouse.connect({log: None}) as connection:
        return connection.sql(
            f"""
            SELECT prediction_id, requested_at, model_version, inputs, outputs
            FROM "{schema}"."{name}"
            WHERE model = $model AND model_version = $version AND role <> 'shadow'
            ORDER BY requested_at, prediction_id
            """,
            params={"model": model, "version": version},
        ).to_arrow_table()


def answers_of(lakehouse: Lakehouse, model: str) -> dict[int, int]:
    """Version → how many answers the log has, without those of shadows."""
    log = log_table(model)
    if not lakehouse.exists(log):
        return {}
    schema, _, name = log.partition(".")
    with lakehouse.connect({log: None}) as connection:
        found = connection.execute(
            f'SELECT model_version, count(DISTINCT prediction_id) FROM "{schema}"."{name}" '  # its name
            "WHERE model = $model AND role <> 'shadow' GROUP BY model_version",
            {"model": model},
        ).fetchall()
    return dict(found)


def rates(said: Sequence[dict[str, Any]], answers: dict[int, int]) -> list[KindOfVersion]:
    """The rates of each version and kind, of feedback that is not late.

    Args:
        said: rows of `joined`.
        answers: what `answers_of` gives.
    """
    groups: dict[tuple[int | None, str], list[dict[str, Any]]] = {}
    for row in said:
        if not row["late"]:
            groups.setdefault((row["model_version"], row["kind"]), []).append(row)
    return [
        _kind(version, kind, rows, answers.get(version or 0, 0))
        for (version, kind), rows in sorted(groups.items(), key=lambda each: (each[0][0] or 0, each[0][1]))
    ]


def _kind(version: int | None, kind: str, rows: Sequence[dict[str, Any]], answers: int) -> KindOfVersion:
    values = [row["value"] for row in rows if row["value"] is not None]
    rate = None
    if kind == "thumbs":
        rate = wilson(sum(value > 0 for value in values), len(values))
    elif kind in ("retry", "copy", "handover"):
        about = {row["prediction_id"] for row in rows if row["matched"]}
        rate = wilson(len(about), answers)
    return KindOfVersion(
        version=version,
        kind=kind,
        count=len(rows),
        mean=sum(values) / len(values) if values else None,
        rate=rate,
        answers=answers,
        delay=_median([_seconds(row["requested_at"], row["at"]) for row in rows if row["matched"]]),
        lag=_median([_seconds(row["at"], row["ingested_at"]) for row in rows]) or 0.0,
    )


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()


def _median(values: Sequence[float]) -> float | None:
    from statistics import median

    return median(values) if values else None
