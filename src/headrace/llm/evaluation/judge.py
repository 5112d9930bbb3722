"""The declaration of a metric that a model or a function judges."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from headrace.core.declaration import caller, check, check_names
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.core.ids import digest
from headrace.environments.function_digest import function_digest
from headrace.lakehouse.declarations import Source, Table
from headrace.llm.evaluation.rubrics import INPUTS, RUBRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FunctionType
    from typing import Literal

    from headrace.llm.evaluation.rubrics import Input

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
WIDEST = 100
LONGEST = 20_000  # characters of instructions


@dataclass(frozen=True, kw_only=True)
class JudgedRow:
    """What there is to judge.

    Attributes:
        question: as it was asked.
        answer: what is judged.
        passages: what was retrieved for it, in order.
        reference: an answer that is right; None where there is none.
    """

    question: str
    answer: str
    passages: tuple[str, ...] = ()
    reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A metric whose value of a row is a score that a model or a function gives.

    Attributes:
        name: of the metric.
        question: the instructions to the model; empty where a function judges.
        scale: the lowest and the highest score. These are the bounds of the metric.
        inputs: what of a row the model is shown.
        needs_reference: whether a row without a reference cannot be judged: `inputs` names it, or the rubric compares with it.
        route: the name of the route to the model; None for the route that the evaluation chooses.
        function: judges in place of a model.
        labels: the name of the table of answers that people scored, with which the judge is compared; None for none.
        content: a digest of what verdicts depend on, with the text of the function: those of equal content can be used again.
    """

    name: str
    question: str
    scale: tuple[int, int]
    inputs: tuple[Input, ...]
    needs_reference: bool
    route: str | None
    function: Callable[[JudgedRow], float] | None = field(repr=False, compare=False)
    labels: str | None = None
    content: str

    @property
    def direction(self) -> Literal["maximize"]:
        """A high score is good."""
        return "maximize"


def judge(
    name: str,
    *,
    question: str | None = None,
    scale: tuple[int, int] | None = None,
    inputs: Sequence[Input] | None = None,
    route: str | None = None,
    function: Callable[[JudgedRow], float] | None = None,
    labels: Source | Table | str | None = None,
) -> Judge:
    """A metric that a model judges by instructions, or a function: `hr.judge("faithful", route="large")`.

    Four judges need no instructions: `faithful` (0 or 1: do the passages support the answer), `relevant` (1 to 5: does it
    address the question), `correct` (1 to 5: does it agree with the reference) and `harmless` (0 or 1). The model replies
    with a whole number and a reason. The texts that it judges are marked as data, so that an answer which asks for a high
    score does not get one for it. A verdict that cannot be read is asked for once more, and then the evaluation fails.

    Args:
        name: of the metric: up to 63 letters from a to z, digits and underscores, no digit first.
        question: the instructions, which say what each score means. Defaults to those of the judge of this name.
        scale: the lowest and the highest score, whole numbers; high is good. Defaults to 1 to 5, to 0 to 1 for a function.
        inputs: what the model is shown of `"question"`, `"answer"`, `"passages"` and `"reference"`; the answer always.
            A row has to have a reference that is named here. Defaults to all that a row has.
        route: the name of the route to the judging model. Defaults to the route that the evaluation chooses.
        function: a row, with `.question`, `.answer`, `.passages` and `.reference`, → a number on the scale. It judges in
            place of a model.
        labels: a table of answers that people scored, by its name or declaration: `question`, `answer`, `score`, and where the
            judge is shown them `passages` and `reference`. Each training has them judged too, and keeps the agreement with the
            metrics of the version, `faithful_kappa` with its 95 % interval. From 20 labels on. Defaults to none.

    Returns:
        The judge, for `hr.Evaluate(metrics=[…])`.

    Raises:
        DeclarationError: one of these is not possible, or they do not go together.
        NotFoundError: there are no instructions, no function, and no judge of this name.

    Example:
        >>> hr.judge("faithful", route="large").scale
        (0, 1)
        >>> polite = hr.judge("polite", question="Score 1: the answer is polite. Score 0: it is not.", scale=(0, 1))
        >>> polite.inputs
        ('question', 'answer', 'passages', 'reference')
        >>> short = hr.judge("short", function=lambda row: len(row.answer) < 200)
        >>> hr.judge("faithful", route="large", labels="gold.faithful_labels").labels
        'gold.faithful_labels'
        >>> short.direction, short.scale
        ('maximize', (0, 1))
    """
    of = f"{caller()}: judge({name!r})"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DeclarationError(
            f"{of} has no possible name.", hint="Up to 63 letters from a to z, digits and underscores, no digit first."
        )
    if question is not None and function is not None:
        raise DeclarationError(f"{of} has a question= and a function=.", hint="Either a model judges or a function.")
    if function is not None and not callable(function):
        raise DeclarationError(f"{of}: function={function!r} is not a function.", hint="def short(row): return …")
    if function is not None and (route is not None or inputs is not None):
        raise DeclarationError(f"{of}: a function takes no route= and no inputs=.", hint="It gets the whole row.")
    rubric = RUBRICS.get(name) if question is None and function is None else None
    if question is None and function is None and rubric is None:
        raise NotFoundError("judge", name, RUBRICS, hint=f'For one of your own: hr.judge({name!r}, question="…").')
    check(of, lambda value: value is None or _is_text(value), f"Write up to {LONGEST:,} characters.", question=question)
    check(of, lambda value: value is None or _is_name(value), 'Write the name of a route: "large".', route=route)
    check(of, lambda value: value is None or _is_scale(value), "Write two whole numbers: (1, 5).", scale=scale)
    if rubric is not None and scale is not None and tuple(scale) != rubric.scale:
        raise DeclarationError(
            f"{of}: scale={scale!r}, and its instructions are for {rubric.scale}.", hint='Write question="…" with it.'
        )
    table = labels.name if isinstance(labels, Source | Table) else labels
    check(of, lambda value: value is None or _is_name(value), 'A table: "gold.faithful_labels".', labels=table)
    low, high = scale or (rubric.scale if rubric else (1, 5) if function is None else (0, 1))
    seen = _inputs(of, inputs, rubric.inputs if rubric else INPUTS) if function is None else ()
    text = rubric.question if rubric else (question or "").strip()
    return Judge(
        name=name,
        question=text,
        scale=(low, high),
        inputs=seen,
        needs_reference="reference" in seen and (rubric is not None or inputs is not None),
        route=route,
        function=function,
        labels=table,
        content=digest([name, text, [low, high], list(seen), route, _source(function) if function else None]),
    )


def _inputs(of: str, inputs: object, default: tuple[Input, ...]) -> tuple[Input, ...]:
    if inputs is None:
        return default
    check_names(of, inputs=inputs)
    names = cast("Sequence[Input]", inputs)
    check(of, lambda _: set(names) <= set(INPUTS), f"Of {', '.join(INPUTS)}.", inputs=inputs)
    return tuple(each for each in INPUTS if each in names or each == "answer")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_scale(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    ends = cast("Sequence[object]", value)
    whole = [each for each in ends if isinstance(each, int) and not isinstance(each, bool) and abs(each) <= WIDEST]
    return len(ends) == len(whole) == 2 and whole[0] < whole[1]


def _source(function: object) -> str:
    """What the function says, with what it refers to in its project; its name where that cannot be read."""
    try:
        return function_digest(cast("FunctionType", function))
    except (DeclarationError, AttributeError, TypeError):
        return getattr(function, "__qualname__", repr(type(function)))
