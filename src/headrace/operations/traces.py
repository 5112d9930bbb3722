"""The latest answers of models that answer, from the inference log.

What a deployment keeps out of its log (`redact`, `sample`, `log="none"`) is not there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.errors import DeclarationError
from headrace.operations.answer_log import (
    ANSWER,
    CUT,
    LAST_WORDS,
    LOG,
    QUESTION,
    WORDS,
    AnswerReport,
    LogReport,
    answering,
    declared_log,
    read_log,
    shown,
    words_on,
)
from headrace.operations.language_models import generation_models
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.workspace.workspace import Workspace

    Place = tuple[datetime, str, int]  # of an answer: the moment, the request and the row

Said = Literal["up", "down", "text", "any"]
LATEST, MOST = 50, 1_000
PLACE = 3  # parts of `before`
SAID: Mapping[str, str] = {
    "up": "kind = 'thumbs' AND value > 0",
    "down": "kind = 'thumbs' AND value <= 0",
    "text": "kind IN ('text', 'correction')",
    "any": "true",
}
# the JSON is searched first: what it does not hold, no value of it holds
FOUND = f"""
((contains(lower(inputs), lower($json)) AND contains(lower({QUESTION}), lower($contains)))
OR (contains(lower(outputs), lower($json)) AND contains(lower({ANSWER}), lower($contains))))
"""


def _output(name: str, kind: str) -> str:
    return f"try_cast(try(json_extract_string(outputs, '$.prediction_{name}')) AS {kind}) AS {name}"


LISTED = f"""
SELECT requested_at, request_id, "row", prediction_id, model_version, role, latency_us,
    left({QUESTION}, $cut) AS question, length({QUESTION}) AS question_length,
    left({ANSWER}, $cut) AS answer, length({ANSWER}) AS answer_length, {_output("finish_reason", "VARCHAR")},
    {_output("input_tokens", "DOUBLE")}, {_output("output_tokens", "DOUBLE")}, {_output("cost", "DOUBLE")},
    {_output("latency_ms", "DOUBLE")}
"""


@dataclass(frozen=True, kw_only=True)
class AnswerList(Record):
    """Answers of models, the latest first.

    Attributes:
        env: the environment.
        models: those that answer, whether or not they have answered.
        logs: what is logged of each model that is listed.
        answers: the latest first.
        before: what lists the answers before these; None where there are none.
    """

    env: str
    models: tuple[str, ...]
    logs: tuple[LogReport, ...]
    answers: tuple[AnswerReport, ...]
    before: str | None


@operation("trace list", of="model")
def list_answers(
    workspace: Workspace,
    model: str | None = None,
    *,
    contains: str = "",
    feedback: Said | None = None,
    before: str | None = None,
    limit: int = LATEST,
) -> AnswerList:
    """The latest answers of models that answer, from the inference log.

    Args:
        workspace: the environment.
        model: its name; None: all of them.
        contains: only answers that have this text in the question or in the answer, in small or capital letters.
        feedback: only answers with thumbs `up`, thumbs `down`, a `text` (a comment or a correction), or `any` feedback.
        before: only answers before the last one of another list: its `before`.
        limit: how many; 1 to 1,000.

    Raises:
        NotFoundError: there is no such model, or it does not answer.
        DeclarationError: there is no such feedback, `before` is of no list, or so many cannot be listed.
    """
    if feedback is not None and feedback not in get_args(Said):
        raise DeclarationError(
            f"no answers are listed by the feedback {feedback!r}.", hint=f"Any of {', '.join(SAID)}."
        )
    if not 1 <= limit <= MOST:
        raise DeclarationError(f"{limit} answers cannot be listed.", hint=f"Ask for 1 to {MOST:,}.")
    place = None if before is None else _place(before)
    models = generation_models(workspace)
    chosen = answering(models, model)
    found = sorted(
        ((key, name) for name in chosen for key in _keys(workspace, name, contains, feedback, place, limit + 1)),
        reverse=True,
    )
    page = found[:limit]
    return AnswerList(
        env=workspace.environment.name,
        models=models,
        logs=tuple(declared_log(workspace, name) for name in chosen),
        answers=_listed(workspace, page),
        before=_cursor(page[-1][0]) if len(found) > limit else None,
    )


def _keys(
    workspace: Workspace,
    model: str,
    contains: str,
    feedback: Said | None,
    place: Place | None,
    limit: int,
) -> list[Place]:
    """The latest answers of a model: the moment, the request and the row of each."""
    where = ["model = $model"]
    values: dict[str, object] = {"limit": limit}
    if place is not None:
        where.append('(requested_at, request_id, "row") < ($at, $request, $place)')
        values |= {"at": place[0], "request": place[1], "place": place[2]}
    if contains:
        where.append(FOUND)
        values |= {"contains": contains, "json": json.dumps(contains, ensure_ascii=False)[1:-1]}
    if feedback is not None:
        if not workspace.lakehouse.exists(WORDS):
            return []
        where.append(f"prediction_id IN (SELECT prediction_id FROM ({LAST_WORDS}) AS said WHERE {SAID[feedback]})")
    rows = read_log(
        workspace,
        model,
        f"""
        SELECT requested_at, request_id, "row" FROM {LOG} WHERE {" AND ".join(where)}
        ORDER BY requested_at DESC, request_id DESC, "row" DESC LIMIT $limit
        """,
        **values,
    )
    return [(row["requested_at"], row["request_id"], row["row"]) for row in rows]


def _listed(workspace: Workspace, page: Sequence[tuple[Place, str]]) -> tuple[AnswerReport, ...]:
    """The answers of these places: their texts are read for these alone."""
    found: dict[tuple[Place, str], AnswerReport] = {}
    for name in {name for _, name in page}:
        keys = [key for key, of in page if of == name]
        rows = read_log(
            workspace,
            name,
            f"""
            {LISTED} FROM {LOG}
            WHERE model = $model AND requested_at BETWEEN $first AND $last AND list_contains($requests, request_id)
            """,
            cut=CUT,
            first=min(keys)[0],
            last=max(keys)[0],
            requests=[key[1] for key in keys],
        )
        words = words_on(workspace, name, [row["prediction_id"] for row in rows])
        for row in rows:
            key = (row["requested_at"], row["request_id"], row["row"])
            found[key, name] = AnswerReport(**shown(name, row, words.get(row["prediction_id"], [])))
    return tuple(found[each] for each in page if each in found)


def _cursor(place: Place) -> str:
    return f"{place[0].isoformat()}~{place[2]}~{place[1]}"


def _place(before: str) -> Place:
    try:
        at, row, request = before.split("~", PLACE - 1)
        place = datetime.fromisoformat(at), request, int(row)
    except ValueError:
        place = None
    if place is None or place[0].tzinfo is None or abs(place[2]) >= 2**63:
        raise DeclarationError(
            f"{before!r} is the place of no answer.",
            hint="A list of answers says what lists those before it: `before`.",
        ) from None
    return place
