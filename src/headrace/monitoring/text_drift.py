"""Drift of what texts mean: their vectors in a window beside those of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.monitoring.energy import energy_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from headrace.core.ids import Json
    from headrace.llm.embedding.base import Embedder
    from headrace.monitoring.drift import Verdict

SAMPLE = 300  # texts of a window that are compared: embedding them takes seconds
FEWEST = 20  # texts on either side, below which nothing is said
CHANCE = 0.01
WARN, ALERT = 0.05, 0.15  # distance


@dataclass(frozen=True, kw_only=True)
class TextDrift:
    """An input of a window beside the same one of the reference.

    Attributes:
        column: `question.embedding`.
        rows: texts of the window that were compared.
        reference_rows: texts of the reference that were.
        distance: energy distance, from 0 to 1; None where it was not measured.
        p_value: of so large a distance by chance alone.
        verdict: over 0.05 a warning, over 0.15 an alert, where chance explains it with less than 1 %.
        reasons: in words.
    """

    column: str
    rows: int
    reference_rows: int
    distance: float | None
    p_value: float | None
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """For the run ledger, with the names that every column has there."""
        kept = {name: getattr(self, name) for name in ("column", "distance", "p_value", "verdict")}
        none = {"psi": None, "null_share": None, "new_share": None, "frozen": None}
        return cast("dict[str, Json]", {**kept, **none, "reasons": list(self.reasons)})


def column_of(name: str) -> str:
    """What an input's vectors are called where columns are listed."""
    return f"{name}.embedding"


def sample(connection: duckdb.DuckDBPyConnection, relation: str, expression: str) -> list[str]:
    """Texts of a relation, always the same ones.

    Args:
        connection: in which it can be read.
        relation: SQL of the rows, as it stands after FROM.
        expression: SQL of the text.
    """
    rows = connection.sql(
        f"""
        select {expression} as text from {relation}
        where text is not null and text <> ''
        order by md5(prediction_id || text), text limit {SAMPLE}
        """
    ).fetchall()
    return [text for (text,) in rows]


def compare(name: str, reference: Sequence[str], current: Sequence[str], embedder: Embedder) -> TextDrift:
    """The texts of an input in a window against those of the reference."""
    few = min(len(reference), len(current))
    if few < FEWEST:
        of = "" if len(current) < FEWEST else " in the reference"
        return _unmeasured(name, reference, current, f"{few} texts{of}; {FEWEST} are needed")
    if list(reference) == list(current):
        found = (0.0, 1.0)
    else:
        tested = energy_test(embedder.embed(reference), embedder.embed(current))
        found = (tested.distance, tested.p_value)
    distance, p_value = found
    verdict: Verdict = "ok"
    if p_value <= CHANCE and distance > WARN:
        verdict = "alert" if distance > ALERT else "warn"
    told = f"energy distance {distance:.2f} (p = {p_value:.3f})"
    return TextDrift(
        column=column_of(name),
        rows=len(current),
        reference_rows=len(reference),
        distance=distance,
        p_value=p_value,
        verdict=verdict,
        reasons=() if verdict == "ok" else (told,),
    )


def skipped(name: str, reason: str) -> TextDrift:
    """An input whose texts cannot be compared."""
    return _unmeasured(name, (), (), reason)


def _unmeasured(name: str, reference: Sequence[str], current: Sequence[str], reason: str) -> TextDrift:
    return TextDrift(
        column=column_of(name),
        rows=len(current),
        reference_rows=len(reference),
        distance=None,
        p_value=None,
        verdict="not judged",
        reasons=(reason,),
    )
