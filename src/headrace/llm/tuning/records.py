"""What a tuning takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Literal

Candidate = Mapping[str, str]  # component → its text
Example = Mapping[str, object]  # plain data, as JSON holds it


@dataclass(frozen=True)
class ScoredExample:
    """How good a candidate was on one example.

    Attributes:
        score: higher is better; finite.
        feedback: what was good or wrong, in words that the proposing model reads.
        output: what the candidate answered; defaults to nothing.
    """

    score: float
    feedback: str
    output: str = ""


Score = Callable[[Candidate, Example], ScoredExample]
Propose = Callable[[str], str]
Check = Callable[[Candidate], str | None]
Outcome = Literal["seed", "accepted", "rejected", "refused"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate that was tried.

    Attributes:
        outcome: `"seed"`; `"accepted"`, better than its parent on a few examples and then scored on all;
            `"rejected"`, not better than its parent on a few; `"refused"`, not scored, for a reason.
        texts: component → text.
        parent: the text that it was made from is that of the trial with this number; None for the seed.
        score: mean over the validation examples; None where it was not scored on them.
        calls: calls of `score` that were spent when the trial ended.
        reason: why it was refused; else empty.
    """

    outcome: Outcome
    texts: Mapping[str, str]
    parent: int | None
    score: float | None
    calls: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The best candidate against the seed on the same held-out examples.

    Attributes:
        seed_scores: of the seed, one an example.
        best_scores: of the best candidate, in the same order.
    """

    seed_scores: tuple[float, ...]
    best_scores: tuple[float, ...]

    @property
    def seed(self) -> float:
        """Mean score of the seed."""
        return fmean(self.seed_scores)

    @property
    def best(self) -> float:
        """Mean score of the best candidate."""
        return fmean(self.best_scores)


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """What a tuning found.

    Attributes:
        best: the candidate with the highest mean score on the validation examples; the seed where none is higher.
        improved: whether `best` is another than the seed, and better than it on the held-out examples too.
        seed_score: mean score of the seed on the validation examples.
        best_score: that of `best`.
        held_out: both on the held-out examples, which the search never saw.
        trials: every candidate, in order; the seed is the first.
        calls: different calls of `score`, those of earlier runs that were resumed included.
        proposals: calls of `propose`, counted in the same way.
        stopped: why the search ended.
    """

    best: Mapping[str, str]
    improved: bool
    seed_score: float
    best_score: float
    held_out: HeldOut
    trials: tuple[Trial, ...]
    calls: int
    proposals: int
    stopped: str

    def to_json(self) -> dict[str, object]:
        """The result as plain data."""
        return asdict(self)
