"""Makes texts better on examples: the search, then the comparison on examples that it never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import BusyError, ConfigError, DataError
from headrace.core.ids import digest
from headrace.core.journal import Journal
from headrace.core.locks import hold
from headrace.llm.tuning.paid_calls import PaidCalls
from headrace.llm.tuning.records import HeldOut, TuningResult
from headrace.llm.tuning.search import Limits, Search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.llm.tuning.records import Candidate, Check, Example, Propose, Score

LOCK = "lock"


def tune(
    seed_candidate: Candidate,
    score: Score,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    propose: Propose,
    budget_calls: int,
    seed: int,
    state_folder: Path,
    check: Check | None = None,
    validation: Sequence[Example] | None = None,
    budget_proposals: int | None = None,
    minibatch: int = 3,
    perfect: float = 1.0,
    scored_by: str = "",
) -> TuningResult:
    """Searches for better texts with GEPA (Agrawal et al. 2025), and compares the best with the seed on held-out examples.

    The same arguments and functions give the same result. Each call is on disk before the next begins: a process that died
    and runs again with the same arguments pays for none twice, but for the one that was under way, and returns what an
    undisturbed one returns. With a larger budget a finished tuning goes on.

    Args:
        seed_candidate: component → its text, such as the section `system` of a prompt.
        score: how good a candidate is on an example. It is called once for each pair of the two.
        train: examples to learn from; plain data, as JSON holds it.
        held_out: examples for the comparison at the end; none of them is in `train` or `validation`.
        propose: a language model: a prompt → its answer.
        budget_calls: how often `score` may be called, the comparison included. It is never more.
        seed: of every random choice.
        state_folder: holds the journal of calls; made where there is none. One process at a time.
        check: why a candidate cannot be used, such as a variable that the prompt does not have; None where it can. A
            candidate with a reason is not scored. Defaults to no check.
        validation: examples by which candidates are compared; defaults to `train`.
        budget_proposals: how often `propose` may be called; defaults to `budget_calls`.
        minibatch: examples on which a proposal is compared with its parent before it is scored on all; defaults to 3.
        perfect: the score of an example from which nothing is to be learnt; defaults to 1.
        scored_by: what the scores depend on besides the texts, such as the name of the model and the judge. Calls of
            another are not taken for these. Defaults to nothing.

    Raises:
        ConfigError: a budget is too small for one step, or an argument is not possible.
        DataError: no examples, one that is no plain data, or one that is both held out and learnt from.
        BusyError: another process tunes in the folder.
        RefusedError: the folder is of a tuning with other texts, examples or settings.
        UserCodeError: a function failed. What was paid for is kept: run it again.
        MissingExtraError: GEPA is not installed.
    """
    compared = train if validation is None else validation
    if not seed_candidate:
        raise ConfigError("there is no text to tune.", hint='Pass {"system": "…"}.')
    keys = _check_examples(train, compared, held_out)
    minibatch = min(_whole("minibatch", minibatch, 1), len(train))
    reserved = 2 * len(held_out)
    _whole("budget_calls", budget_calls, 0)
    proposals = _whole("budget_proposals", budget_calls if budget_proposals is None else budget_proposals, 0)
    least = 2 * len(compared) + 2 * minibatch + reserved
    if budget_calls < least:
        raise ConfigError(
            f"{budget_calls} calls are not enough for one step of the search.",
            hint=f"With {len(compared)} validation and {len(held_out)} held-out examples it needs at least {least}.",
        )
    of = digest([dict(seed_candidate), keys, seed, minibatch, perfect, scored_by])
    state_folder.mkdir(parents=True, exist_ok=True)
    try:
        with hold(state_folder / LOCK):
            journal = Journal(state_folder, of)
            try:
                paid = PaidCalls(journal, score, propose, budget_calls)
                search = Search(
                    paid=paid,
                    train=train,
                    validation=compared,
                    check=check,
                    limits=Limits(reserved=reserved, proposals=proposals, minibatch=minibatch, perfect=perfect),
                )
                search.run(seed_candidate, seed)
                return _result(search, held_out)
            finally:
                journal.close()
    except BlockingIOError:
        raise BusyError(
            f"another process tunes in {str(state_folder)!r}.", hint="Wait until it ends, or tune in another folder."
        ) from None


def _result(search: Search, held_out: Sequence[Example]) -> TuningResult:
    first = search.trials[0]
    scored = [(trial.score, trial) for trial in search.trials if trial.score is not None]
    best_score, best = max(scored, key=lambda pair: pair[0])  # of equals the first: a change has to be worth it
    seed_score = search.trials[0].score or 0.0
    paid = search.paid
    comparison = HeldOut(
        seed_scores=tuple(paid.score(first.texts, example).score for example in held_out),
        best_scores=tuple(paid.score(best.texts, example).score for example in held_out),
    )
    return TuningResult(
        best=best.texts,
        improved=best is not first and comparison.best > comparison.seed,
        seed_score=seed_score,
        best_score=best_score,
        held_out=comparison,
        trials=tuple(search.trials),
        calls=paid.calls,
        proposals=paid.proposals,
        stopped=search.stopped,
    )


def _check_examples(*groups: Sequence[Example]) -> list[list[str]]:
    """The digests of the examples of each group: train, validation, held out.

    Raises:
        DataError: a group is empty, an example is no plain data, or one of the last group is in another.
    """
    names = ("train", "validation", "held_out")
    keys: list[list[str]] = []
    for name, group in zip(names, groups, strict=True):
        if not group:
            raise DataError(
                f"there are no examples in {name}.", hint="Tuning needs some to learn from and some held out."
            )
        keys.append([_key(example, f"{name}[{number}]") for number, example in enumerate(group)])
    seen = {key for group in keys[:-1] for key in group}
    if both := [number for number, key in enumerate(keys[-1]) if key in seen]:
        raise DataError(
            f"{len(both)} held-out examples are also learnt from, the first is held_out[{both[0]}].",
            hint="Split the examples so that none is on both sides: a score on what was learnt says nothing.",
        )
    return keys


def _key(example: Example, name: str) -> str:
    try:
        return digest(dict(example))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not plain data: {error}") from None


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{name}={value!r} is not possible.", hint=f"Write a whole number from {least}.")
    return value
