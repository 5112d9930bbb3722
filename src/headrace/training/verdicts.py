"""Judges' verdicts on the answers of a model, beside them in the output, where the metrics of judges read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.chains.gateways import current
from headrace.chains.pacing import PATIENCE, Pace
from headrace.chains.routes import identities
from headrace.core.errors import DeclarationError
from headrace.llm.evaluation.judging import judge_rows, judged_rows
from headrace.llm.gateway.declarations import Route
from headrace.llm.gateway.requests import CallTags, ChatRequest
from headrace.training.generated import PASSAGES, references
from headrace.training.metrics.judged import verdict_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from headrace.chains.routes import Identities
    from headrace.core.journal import Journal
    from headrace.llm.evaluation.judge import Judge, JudgedRow
    from headrace.llm.evaluation.judging import Ask
    from headrace.llm.evaluation.verdicts import Message, Verdict
    from headrace.training.declarations import Model

THREADS = 4


def with_verdicts(
    model: Model,
    rows: pd.DataFrame,
    y: pd.Series,
    output: pd.DataFrame,
    *,
    judges: Sequence[Judge] | None = None,
    journal: Journal | None = None,
) -> pd.DataFrame:
    """The output with a column of scores for each judge among the model's metrics; as it is where there is none.

    Args:
        model: its judges, and the route that they ask where they name none: the last one that the model uses.
        rows: full rows; all inputs together are the question.
        y: the labels, same length.
        output: the answers, same length.
        judges: those of them that are asked; defaults to all.
        journal: keeps each verdict as it comes, see `judge_rows`. Defaults to none.

    Raises:
        DataError: a judge gave no verdict on a row: the evaluation fails.
        DeclarationError: a judge has no route to ask.
        RateLimitedError: no verdict was let through for three minutes.
    """
    asked = model.judges if judges is None else judges
    if not asked:
        return output
    (selected,) = model.inputs
    names = list(selected.columns)  # pyright: ignore[reportAttributeAccessIssue,reportFunctionMemberAccess]  # `Model` made it
    questions = ["\n".join(map(str, each)) for each in rows[names].itertuples(index=False)]
    passages = [[passage["text"] for passage in json.loads(each)] for each in output[PASSAGES]]
    right = [(references(each) or [None])[0] for each in y]
    judged = judged_rows(questions, output["prediction"].tolist(), passages, right)
    columns = {
        verdict_column(judge.name): [each.score for each in verdicts(model, judge, judged, journal=journal)]
        for judge in asked
    }
    return output.assign(**columns)


def verdicts(model: Model, judge: Judge, rows: Sequence[JudgedRow], *, journal: Journal | None = None) -> list[Verdict]:
    """What one of a model's judges says of rows, in their order. It raises what `with_verdicts` raises."""
    return judge_rows(judge, rows, ask=_ask(model, judge), journal=journal, threads=THREADS)


def judge_routes(model: Model) -> Identities:
    """The language models behind the judges of a model: verdicts depend on them.

    Raises:
        DeclarationError: a judge has no route to ask, or none are configured.
        NotFoundError: its route is not configured.
    """
    asking = [each for each in model.judges if each.function is None]
    return identities(model.name, [_route(model, each) for each in asking], current())


def _route(model: Model, judge: Judge) -> str:
    used = [name for each in model.uses if isinstance(each, Route) for name in each.names]
    route = judge.route or (used[-1] if used else None)
    if route is None:
        raise DeclarationError(
            f"the judge {judge.name!r} of model {model.name!r} has no route to ask.",
            hint='hr.judge("faithful", route="large"), with [env.dev.llm.routes.large] in headrace.toml.',
        )
    return route


def _ask(model: Model, judge: Judge) -> Ask | None:
    if judge.function is not None:
        return None
    route, pace = _route(model, judge), Pace(PATIENCE)
    tags = CallTags(application=model.name, prompt=f"judge {judge.name}", prompt_version=judge.content)
    gateway = current()
    if gateway is None:
        raise DeclarationError(
            f"the judge {judge.name!r} of model {model.name!r} asks the route {route!r}, and no routes are configured here.",
            hint=f"[env.dev.llm.routes.{route}] in headrace.toml",
        )

    def ask(messages: list[Message]) -> str:
        request = ChatRequest([{"role": role, "content": content} for role, content in messages], temperature=0.0)
        return pace.call(lambda: gateway.complete(request, route=route, tags=tags)).text

    return ask
