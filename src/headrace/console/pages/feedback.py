"""What people say of answers: the rates of each version, and their latest comments with the answers that they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.core.errors import HeadraceError, NotFoundError
from headrace.operations.feedback import feedback_models, list_feedback, summarize_feedback

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At

COMMENTS = 50


def index(request: Request, at: At) -> Response:
    """The feedback on each model that takes it, or on one: `?model=`."""
    models, wanted, why = (), request.query_params.get("model", ""), None
    try:
        models = feedback_models(at)
    except HeadraceError as error:  # no code may run here, or it is broken: nothing says which feedback is taken
        why = error
    if wanted and why is None and wanted not in models:
        raise NotFoundError(
            "model that takes feedback", wanted, models, hint="hr.Deployment(…, feedback=hr.Feedback(…))"
        )
    return page(
        request,
        "feedback",
        title="Feedback",
        models=models,
        why=why,
        wanted=wanted,
        comments=COMMENTS,
        shown=[
            (summarize_feedback(at, name), list_feedback(at, name, limit=COMMENTS, texts=True))
            for name in (models if why or not wanted else [wanted])
        ],
    )


ROUTES = [Route("/{env}/feedback", reads(index))]
