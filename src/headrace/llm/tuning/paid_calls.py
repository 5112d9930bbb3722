"""The two functions that cost money: counted, limited, and remembered by what they were called with."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError, LimitError, UserCodeError
from headrace.core.ids import digest
from headrace.llm.tuning.records import Candidate, Example, Propose, Score, ScoredExample

if TYPE_CHECKING:
    from headrace.core.journal import Journal


class PaidCalls:
    """Calls of `score` and `propose`, each made once: a result in the journal is taken from there.

    What was in the journal before counts when it is used, so that a resumed tuning spends what an undisturbed one does.

    Args:
        journal: of results.
        score: the user's function.
        propose: the user's function.
        budget: different calls of `score` that may be made.
    """

    def __init__(self, journal: Journal, score: Score, propose: Propose, budget: int) -> None:
        self.budget = budget
        self.proposals = 0
        self._journal, self._score, self._propose = journal, score, propose
        self._scored: set[str] = set()
        self._asked = Counter[str]()

    @property
    def calls(self) -> int:
        """Different calls of `score` up to now."""
        return len(self._scored)

    def score(self, candidate: Candidate, example: Example) -> ScoredExample:
        """What `score` returns for these.

        Raises:
            LimitError: the budget is spent.
            UserCodeError: `score` raised, or returned something else.
        """
        key = digest({"score": dict(candidate), "example": example})
        if key not in self._scored and self.calls >= self.budget:
            raise LimitError(f"the budget of {self.budget:,} calls is spent.")
        self._scored.add(key)
        if (stored := self._journal.get(key)) is not None:
            return ScoredExample(float(str(stored["score"])), str(stored["feedback"]), str(stored["output"]))
        try:
            result = self._score(dict(candidate), dict(example))
        except HeadraceError:
            raise
        except Exception as error:
            raise UserCodeError(f"score raised {type(error).__name__}: {error}") from error
        result = _checked(result)
        self._journal.put(key, {"score": result.score, "feedback": result.feedback, "output": result.output})
        return result

    def propose(self, prompt: str) -> str:
        """What `propose` returns; asked the same again, it is called again, for a language model may answer otherwise.

        Raises:
            UserCodeError: `propose` raised, or returned no text.
        """
        self._asked[prompt] += 1
        self.proposals += 1
        key = digest({"propose": prompt, "time": self._asked[prompt]})
        if (stored := self._journal.get(key)) is not None:
            return str(stored["text"])
        try:
            text = self._propose(prompt)
        except HeadraceError:
            raise
        except Exception as error:
            raise UserCodeError(f"propose raised {type(error).__name__}: {error}") from error
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserCodeError(f"propose returned {text!r:.80}, not a text.")
        self._journal.put(key, {"text": text})
        return text


def _checked(result: object) -> ScoredExample:
    if not isinstance(result, ScoredExample):
        raise UserCodeError(f"score returned {result!r:.80}.", hint="Return a ScoredExample(score, feedback).")
    if not isinstance(result.score, int | float) or not math.isfinite(result.score):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UserCodeError(f"score returned the score {result.score!r:.80}.", hint="Return a finite number.")
    return ScoredExample(float(result.score), str(result.feedback), str(result.output))
