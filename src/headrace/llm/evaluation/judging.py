"""Asking a judge for its verdict on each row. One row without a verdict fails the evaluation."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from headrace.core.credentials import hidden
from headrace.core.declaration import check_whole
from headrace.core.errors import DataError, DeclarationError
from headrace.core.ids import digest
from headrace.environments.user_code import running
from headrace.llm.evaluation.judge import JudgedRow
from headrace.llm.evaluation.values import is_missing, list_of, same_length, shown
from headrace.llm.evaluation.verdicts import (
    MalformedVerdictError,
    Verdict,
    again,
    is_shortened,
    messages,
    read_verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.core.journal import Journal
    from headrace.llm.evaluation.judge import Judge
    from headrace.llm.evaluation.verdicts import Message

    Ask = Callable[[list[Message]], str]


def judged_rows(
    questions: Sequence[object],
    answers: Sequence[object],
    passages: Sequence[object] | None = None,
    references: Sequence[object] | None = None,
) -> list[JudgedRow]:
    """Rows to judge, of columns.

    Args:
        questions: texts.
        answers: texts.
        passages: a list of texts, one text, or None, for each row. Defaults to none.
        references: a text or None for each row; of a list the first. Defaults to none.

    Raises:
        DataError: the lengths differ, or a question or an answer is missing or no text; names the rows.
    """
    count = same_length("the rows to judge", questions=questions, answers=answers)
    found = passages if passages is not None else [None] * count
    right = references if references is not None else [None] * count
    same_length("the rows to judge", questions=questions, passages=found, references=right)
    wrong: list[str] = []
    rows: list[JudgedRow] = []
    for row, (question, answer, retrieved, reference) in enumerate(zip(questions, answers, found, right, strict=True)):
        texts, one = list_of(retrieved) or [], (list_of(reference) or [None])[0]
        cells = {"question": [question], "answer": [answer], "passages": texts}
        cells["reference"] = [] if is_missing(one) else [one]
        bad = {name: each for name, members in cells.items() for each in members if not isinstance(each, str)}
        wrong += [f"row {row}: the {name} is {shown(value)}" for name, value in bad.items()]
        if not bad:
            rows.append(
                JudgedRow(
                    question=str(question),
                    answer=str(answer),
                    passages=tuple(map(str, texts)),
                    reference=None if is_missing(one) else str(one),
                )
            )
    if wrong:
        raise DataError(
            f"{len(wrong):,} cells of the rows to judge are no texts.",
            findings=wrong,
            hint="Give texts; none is skipped.",
        )
    return rows


def judge_rows(
    judge: Judge,
    rows: Sequence[JudgedRow],
    *,
    ask: Ask | None = None,
    journal: Journal | None = None,
    threads: int = 1,
) -> list[Verdict]:
    """The verdict on each row, in their order. Equal rows are judged once.

    Args:
        judge: what is asked.
        rows: what is judged.
        ask: messages of a role and a text → the reply of the model. It is called from `threads` threads. An error of
            Headrace that it raises, such as a budget that is spent, passes.
        journal: keeps each verdict as soon as it has come, by the judge and the row, whatever happens to the others; what it
            has is not asked for again. It is of one judging model. Not used where a function judges. Defaults to none.
        threads: how many verdicts are asked for at the same time. Defaults to 1.

    Raises:
        DataError: rows have no verdict after being asked twice, or lack the reference that the judge compares with;
            names them.
        DeclarationError: a model judges and there is no `ask`.
        UserCodeError: the function, or `ask`, raised or returned something that is no score.
    """
    check_whole("judge_rows", 1, 256, threads=threads)
    if judge.function is not None:
        return [_called(judge, judge.function, row, place) for place, row in enumerate(rows)]
    if ask is None:
        raise DeclarationError(
            f"a model judges {judge.name!r}, and there is no way to ask one.", hint='Declare its route: route="large".'
        )
    _need_references(judge, rows)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(_key(judge, row), []).append(place)
    found, malformed = _ask_all(judge, rows, {key: at[0] for key, at in places.items()}, ask, journal, threads)
    if malformed:
        failed = sorted((place, problem) for key, problem in malformed.items() for place in places[key])
        raise DataError(
            f"the judge {judge.name!r} gave no verdict on {len(failed):,} of {len(rows):,} rows, each asked twice.",
            findings=[f"row {place}: {problem}" for place, problem in failed],
            hint="No row is left out, so the evaluation fails. Use a stronger model, or simpler instructions.",
        )
    verdicts: list[Verdict | None] = [None] * len(rows)
    for key, at in places.items():
        for place in at:
            verdicts[place] = found[key]
    return [each for each in verdicts if each is not None]


def _ask_all(
    judge: Judge, rows: Sequence[JudgedRow], places: dict[str, int], ask: Ask, journal: Journal | None, threads: int
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """The verdicts by key, and by key what is wrong with those that are none."""
    found: dict[str, Verdict] = {}
    malformed: dict[str, str] = {}

    def judged(key: str, place: int) -> Verdict | str:
        kept = journal.get(key) if journal is not None else None
        if kept is not None:
            return _verdict(judge, rows[place], float(str(kept["score"])), str(kept["reason"]))
        answer = _asked(judge, rows[place], place, ask)
        if journal is not None and isinstance(answer, Verdict):  # by the thread that paid: also when another one fails
            journal.put(key, {"score": answer.score, "reason": answer.reason})
        return answer

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="judge") as pool:
        keys = {pool.submit(judged, key, place): key for key, place in places.items()}
        try:
            for future in as_completed(keys):
                answer = future.result()
                if isinstance(answer, Verdict):
                    found[keys[future]] = answer
                else:
                    malformed[keys[future]] = answer
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found, malformed


def _asked(judge: Judge, row: JudgedRow, place: int, ask: Ask) -> Verdict | str:
    """The verdict of a model, or what was wrong with its second reply."""
    conversation, problem = messages(judge, row), ""
    for _ in range(2):
        with running(f"the judge {judge.name!r} on row {place}"):
            reply = ask(conversation)
        try:
            score, reason = read_verdict(reply, judge.scale)
        except MalformedVerdictError as error:
            problem = f"{error}: {hidden(shown(reply))}"
            conversation = again(conversation, reply, str(error), judge.scale)
        else:
            return _verdict(judge, row, score, reason)
    return problem


def _verdict(judge: Judge, row: JudgedRow, score: float, reason: str) -> Verdict:
    return Verdict(score=score, reason=reason, shortened=is_shortened(judge, row))


def _called(judge: Judge, function: Callable[[JudgedRow], float], row: JudgedRow, place: int) -> Verdict:
    with running(f"the judge {judge.name!r} on row {place}"):
        score: object = function(row)
    low, high = judge.scale
    try:
        value = float(score)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(score, str) or not low <= value <= high:
        raise DataError(
            f"the judge {judge.name!r} returned {shown(score)} on row {place}; a score is a number from {low} to {high}.",
            hint="Declare another scale, scale=(low, high), or return a number on it.",
        )
    return Verdict(score=value, reason="")


def _need_references(judge: Judge, rows: Sequence[JudgedRow]) -> None:
    if not judge.needs_reference:
        return
    lacking = [place for place, row in enumerate(rows) if row.reference is None]
    if lacking:
        raise DataError(
            f"the judge {judge.name!r} compares with a reference, and {len(lacking):,} of {len(rows):,} rows have none.",
            findings=[f"row {place}" for place in lacking],
            hint="Give references, or judge 'relevant' and 'faithful', which need none.",
        )


def _key(judge: Judge, row: JudgedRow) -> str:
    return digest(["verdict", judge.content, row.question, row.answer, list(row.passages), row.reference])
