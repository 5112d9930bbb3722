"""Two versions of a model with `predict=` on the same questions: their prompts, their routes, and their answers beside each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.llm.prompts.version import PromptVersion
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

SHOWN = 10  # questions


@dataclass(frozen=True, kw_only=True)
class PromptComparison(Record):
    """A prompt of two versions.

    Attributes:
        name: of the prompt.
        a: the digest of its text in version A; None where A has no such prompt.
        b: the same of version B.
        diff: the lines that differ, as a unified diff; empty where none do.
    """

    name: str
    a: str | None
    b: str | None
    diff: str


@dataclass(frozen=True, kw_only=True)
class RouteComparison(Record):
    """A route of two versions.

    Attributes:
        name: of the route.
        a: the model behind it when version A was evaluated, and its address; None where A does not use it.
        b: the same of version B.
    """

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, kw_only=True)
class PairedMetric(Record):
    """A metric on the questions that both versions answered when they were evaluated.

    Attributes:
        metric: its name.
        rows: the number of questions on which both have a value.
        a: the mean of version A.
        b: the mean of version B.
        difference: B less A.
        low: the lower end of the 95 % interval of the difference.
        high: its upper end.
        p_value: the probability of a difference at least as large, either way, if the versions did not differ.
    """

    metric: str
    rows: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class AnswerComparison(Record):
    """The answers of two versions to one question.

    Attributes:
        inputs: of the question, by name.
        reference: the right answers.
        a: what version A answered.
        b: what version B answered.
        scores_a: the metrics on the answer of A; None where one has no value.
        scores_b: the same of B.
    """

    inputs: Mapping[str, str]
    reference: tuple[str, ...]
    a: str
    b: str
    scores_a: Mapping[str, float | None]
    scores_b: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class AnswersComparison(Record):
    """What answers of two versions are made with, and what they are worth on the same questions.

    Attributes:
        prompts: by name.
        routes: by name.
        same_questions: the number of questions that both answered when they were evaluated.
        metrics: on these questions.
        answers: to the questions where they differ most by the first metric, at most ten; those with the same text in both are
            left out.
    """

    prompts: tuple[PromptComparison, ...]
    routes: tuple[RouteComparison, ...]
    same_questions: int
    metrics: tuple[PairedMetric, ...]
    answers: tuple[AnswerComparison, ...]


def compare_answers(workspace: Workspace, a: Version, b: Version) -> AnswersComparison | None:
    """The comparison; None for a model that answers nothing. Nobody is asked again.

    Args:
        workspace: the environment.
        a: version A.
        b: version B.
    """
    first, second = _evaluated(workspace, a), _evaluated(workspace, b)
    if first is None or second is None:
        return None
    both = [key for key in first if key in second]
    names = list(dict.fromkeys(name for key in both for name in first[key]["scores"]))
    return AnswersComparison(
        prompts=_prompts(workspace, a, b),
        routes=tuple(
            RouteComparison(name=name, a=_route(a, name), b=_route(b, name)) for name in sorted({*a.routes, *b.routes})
        ),
        same_questions=len(both),
        metrics=tuple(
            found for name in names if (found := _paired(name, [(first[key], second[key]) for key in both])) is not None
        ),
        answers=_differing([(first[key], second[key]) for key in both], names[0] if names else None),
    )


def _evaluated(workspace: Workspace, version: Version) -> dict[str, dict[str, Any]] | None:
    """Question → the answer that was kept when the version was evaluated; None where none was."""
    from headrace.training.evaluated_answers import TABLE

    if not workspace.lakehouse.exists(TABLE, own=True):
        return None
    schema, _, name = TABLE.partition(".")
    with workspace.lakehouse.connect({TABLE: None}) as connection:
        kept = connection.sql(
            f'SELECT question_id, inputs, reference, answer, scores FROM "{schema}"."{name}" '  # its name
            "WHERE model = $model AND run_id = $run",
            params={"model": version.model, "run": version.run_id},
        ).to_arrow_table()
    found = {
        row["question_id"]: {
            "inputs": json.loads(row["inputs"]),
            "reference": tuple(json.loads(row["reference"])),
            "answer": row["answer"],
            "scores": json.loads(row["scores"]),
        }
        for row in kept.to_pylist()
    }
    return found or None


def _prompts(workspace: Workspace, a: Version, b: Version) -> tuple[PromptComparison, ...]:
    from headrace.llm.prompts.version import diff

    before, after = _packaged(workspace, a), _packaged(workspace, b)
    found: list[PromptComparison] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        text = diff(old, new).text if old is not None and new is not None else ""
        digests = (None if each is None else each.digest for each in (old, new))
        found.append(PromptComparison(name=name, a=next(digests), b=next(digests), diff=text))
    return tuple(found)


def _packaged(workspace: Workspace, version: Version) -> Mapping[str, PromptVersion]:
    """The prompts of a version, by name. No code of it is loaded."""
    from headrace.llm.prompts.version import load

    with workspace.tracking.logged_folder(version.model_uri) as folder:
        return load(folder / "estimator")


def _route(version: Version, name: str) -> str | None:
    behind = version.routes.get(name)
    return None if behind is None else f"{behind['model']} at {behind['url']}"


def _paired(name: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> PairedMetric | None:
    """A metric on pairs of answers; None where fewer than two have it of both."""
    from headrace.llm.evaluation.paired import compare

    before, after = ([each["scores"].get(name) for each in side] for side in zip(*pairs, strict=True))
    try:
        found = compare(before, after)
    except DataError:
        return None
    return PairedMetric(
        metric=name,
        rows=found.rows,
        a=found.before,
        b=found.after,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
    )


def _differing(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], metric: str | None
) -> tuple[AnswerComparison, ...]:
    """Answers whose texts differ, those first whose scores do most."""

    def apart(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> float:
        values = [each["scores"].get(metric) for each in pair]
        return 0.0 if None in values else -abs(values[1] - values[0])

    changed = sorted((each for each in pairs if each[0]["answer"] != each[1]["answer"]), key=apart)
    return tuple(
        AnswerComparison(
            inputs=a["inputs"],
            reference=a["reference"],
            a=a["answer"],
            b=b["answer"],
            scores_a=a["scores"],
            scores_b=b["scores"],
        )
        for a, b in changed[:SHOWN]
    )
