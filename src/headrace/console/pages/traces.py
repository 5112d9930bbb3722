"""The latest answers of models that answer, and one of them with how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from starlette.routing import Route

from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.trace_details import show_answer
from headrace.operations.traces import list_answers

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At
    from headrace.operations.traces import Said

LETTERS = 500  # of what is looked for


def index(request: Request, at: At) -> Response:
    """The latest answers: `?model=`, `?q=` (in the question or the answer), `?feedback=down`, `?before=`."""
    given = {name: request.query_params.get(name, "") for name in ("model", "q", "feedback")}
    given["q"] = given["q"].strip()[:LETTERS]
    found = list_answers(
        at,
        given["model"] or None,
        contains=given["q"],
        feedback=cast("Said | None", given["feedback"] or None),
        before=request.query_params.get("before") or None,
    )
    kept = {name: value for name, value in given.items() if value}
    return page(
        request,
        "traces",
        title="Traces",
        found=found,
        given=given,
        later="before" in request.query_params,
        filters=urlencode(kept),
        older=urlencode({**kept, "before": found.before}) if found.before else "",
    )


def show(request: Request, at: At) -> Response:
    """One answer: its messages, passages, calls and feedback."""
    answer = show_answer(
        at,
        str(request.path_params["trace"]),
        model=request.query_params.get("model") or None,
        request=request.query_params.get("request") or None,
    )
    return page(request, "trace", title=f"Answer of {answer.model} {answer.version}", answer=answer)


ROUTES = [
    Route("/{env}/traces", reads(index)),
    Route("/{env}/traces/{trace:path}", reads(show)),
]
