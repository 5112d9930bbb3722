"""The search: GEPA's loop over candidates, with our calls, our limits and our history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.errors import MissingExtraError, UserCodeError
from headrace.core.ids import digest
from headrace.llm.tuning.records import Trial
from headrace.llm.tuning.reflection import proposed, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from headrace.llm.tuning.paid_calls import PaidCalls
    from headrace.llm.tuning.records import Candidate, Check, Example, Outcome, ScoredExample

IDLE = 10  # steps without a paid call, besides two rounds through the examples, after which nothing new will come


class SearchStopped(BaseException):  # GEPA catches every Exception, and asks again
    """Carries an error through GEPA."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the search goes on.

    Attributes:
        reserved: calls of the budget that are not the search's.
        proposals: that may be asked for.
        minibatch: examples on which a proposal is compared with its parent.
        perfect: the score of an example from which nothing is to be learnt.
    """

    reserved: int
    proposals: int
    minibatch: int
    perfect: float


@dataclass(kw_only=True)
class Search:
    """One search. It is GEPA's adapter, its stopper and its listener: the three know the same few things.

    Attributes:
        paid: the calls.
        train: the examples to learn from.
        validation: the examples by which candidates are compared.
        check: why a candidate is none.
        limits: how long it goes on.
        trials: every candidate up to now.
        stopped: why the search ended.
    """

    paid: PaidCalls
    train: Sequence[Example]
    validation: Sequence[Example]
    check: Check | None
    limits: Limits
    trials: list[Trial] = field(default_factory=list[Trial])
    stopped: str = ""
    propose_new_texts: Any = field(init=False)
    _numbers: list[int] = field(default_factory=list[int])  # GEPA's number of a candidate → that of its trial
    _pool: set[str] = field(default_factory=set[str])
    _refusals: dict[str, str] = field(default_factory=dict[str, str])
    _parent: int = 0
    _latest: Mapping[str, str] = field(default_factory=dict[str, str])
    _spent: int = -1
    _idle: int = 0

    def __post_init__(self) -> None:
        self.propose_new_texts = self._propose_texts

    def run(self, seed_candidate: Candidate, seed: int) -> None:
        """Searches until a limit is reached.

        Raises:
            MissingExtraError: GEPA is not installed.
            UserCodeError: a function of the user failed.
        """
        try:
            _gepa().optimize(
                seed_candidate=dict(seed_candidate),
                trainset=list(self.train),
                valset=list(self.validation),
                adapter=self,
                reflection_minibatch_size=self.limits.minibatch,
                perfect_score=self.limits.perfect,
                stop_callbacks=self._should_stop,
                callbacks=[self],
                logger=self,
                seed=seed,
                track_best_outputs=False,
                raise_on_exception=True,
            )
        except SearchStopped as stopped:
            raise stopped.error from stopped.error.__cause__

    # What GEPA calls on its adapter

    def evaluate(self, batch: list[Example], candidate: dict[str, str], capture_traces: bool = False) -> object:
        """The scores of a candidate on some examples."""
        from gepa.core.adapter import EvaluationBatch

        try:
            results = [self.paid.score(candidate, example) for example in batch]
        except Exception as error:
            raise SearchStopped(error) from error
        return EvaluationBatch(
            outputs=[result.output for result in results],
            scores=[result.score for result in results],
            trajectories=list(zip(batch, results, strict=True)) if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],  # noqa: ARG002
        eval_batch: Any,
        components_to_update: list[str],
    ) -> dict[str, list[dict[str, object]]]:
        """What the proposing model reads about the examples."""
        pairs: list[tuple[Example, ScoredExample]] = eval_batch.trajectories
        records: list[dict[str, object]] = [
            {"Input": dict(example), "Answer": result.output, "Score": result.score, "Feedback": result.feedback}
            for example, result in pairs
        ]
        return dict.fromkeys(components_to_update, records)

    def _propose_texts(
        self, candidate: dict[str, str], dataset: Mapping[str, Sequence[Mapping[str, object]]], components: list[str]
    ) -> dict[str, str]:
        """New texts of these components; none where the proposal is refused."""
        texts: dict[str, str] = {}
        try:
            for component in components:
                now = candidate[component]
                key = digest([component, now])
                answer = self.paid.propose(request(component, now, dataset[component], self._refusals.get(key, "")))
                child = {**candidate, **texts, component: proposed(answer)}
                if reason := self._refusal(child, component):
                    self._refusals[key] = reason
                    self._add("refused", child, None, reason)
                else:
                    texts[component] = child[component]
        except Exception as error:
            raise SearchStopped(error) from error
        self._latest = {**candidate, **texts}
        return texts

    def _refusal(self, child: Mapping[str, str], component: str) -> str:
        if not child[component]:
            return "it is empty."
        if digest(dict(child)) in self._pool:
            return "it was tried before."
        if self.check is None:
            return ""
        try:
            return self.check(dict(child)) or ""
        except Exception as error:
            raise UserCodeError(f"check raised {type(error).__name__}: {error}") from error

    # What GEPA tells

    def log(self, message: str) -> None:
        """GEPA's lines are not shown."""

    def on_candidate_selected(self, event: Mapping[str, Any]) -> None:
        """Which candidate the next proposal is made from."""
        self._parent = event["candidate_idx"]

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        """A candidate was scored on all validation examples."""
        self._add("accepted" if self._numbers else "seed", event["candidate"], float(event["average_score"]))
        self._numbers.append(len(self.trials) - 1)
        self._pool.add(digest(dict(event["candidate"])))

    def on_candidate_rejected(self, _event: Mapping[str, Any]) -> None:
        """A candidate was not better than its parent on a few examples."""
        self._add("rejected", self._latest, None)

    def _add(self, outcome: Outcome, texts: Mapping[str, str], score: float | None, reason: str = "") -> None:
        parent = self._numbers[self._parent] if self._numbers else None
        self.trials.append(
            Trial(outcome=outcome, texts=dict(texts), parent=parent, score=score, calls=self.paid.calls, reason=reason)
        )

    def _should_stop(self, _state: object) -> bool:
        """Whether the next step could go over a limit: GEPA asks before each."""
        spent = self.paid.calls + self.paid.proposals
        self._idle = self._idle + 1 if spent == self._spent else 0
        self._spent = spent
        rounds = -(-len(self.train) // self.limits.minibatch)
        step = 2 * self.limits.minibatch + len(self.validation)
        if self.paid.calls + step > self.paid.budget - self.limits.reserved:
            self.stopped = f"{self.paid.calls} of {self.paid.budget} calls are spent, and the next step may need {step}"
        elif self.paid.proposals >= self.limits.proposals:
            self.stopped = f"{self.paid.proposals} of {self.limits.proposals} proposals are spent"
        elif self._idle > IDLE + 2 * rounds:
            self.stopped = "every example has a perfect score"
        return bool(self.stopped)


def _gepa() -> ModuleType:
    try:
        import gepa
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "gepa", "llm", "Tuning prompts") from None
    return gepa
