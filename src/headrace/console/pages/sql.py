"""SQL: one SELECT with its answer as a table, a picture or a file; and queries that are saved under a name.

Everything works as a form. The script of the page sends the same form, so that a question can be cancelled, and proposes
names of tables and columns.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headrace.console.handlers import acts, answers, reads
from headrace.console.question import LONGEST, MOST, Question
from headrace.console.rendering import page
from headrace.console.requests import COOKIE, Problem, place, read_form
from headrace.console.sessions import SignedOutError, acting
from headrace.console.shown_answers import LETTERS, shown_answer
from headrace.core.errors import HeadraceError, LimitError
from headrace.operations.query_export import as_csv, as_parquet
from headrace.operations.saved_queries import (
    CHART_KINDS,
    PARAMETER_KINDS,
    delete_query,
    list_queries,
    save_query,
    show_query,
)
from headrace.operations.sql import list_columns, query

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from headrace.console.requests import Form
    from headrace.console.shown_answers import Answer
    from headrace.operations.operation import At
    from headrace.operations.sql import QueryResult


def index(request: Request, at: At) -> Response:
    """An empty form, or a saved query: `?saved=NAME`."""
    name = request.query_params.get("saved", "")
    question = Question.of_saved(show_query(at, name)) if name else Question(kinds={}, given={})
    return _page(request, at, question)


def run(request: Request, at: At, form: Form) -> Response:
    """The answer, below the question."""
    question = Question.of_form(form)
    try:
        answer = shown_answer(_asked(request, at, question, form), question.drawn)
    except HeadraceError as error:
        return _page(request, at, question, Problem(error=_as_here(error), form=form))
    return _page(request, at, question, answer=answer)


def _download(write: Callable[[QueryResult], bytes], ending: str, kind: str) -> Callable[[Request, At, Form], Response]:
    def download(request: Request, at: At, form: Form) -> Response:
        question = Question.of_form(form)
        try:
            content = write(_asked(request, at, question, form))
        except HeadraceError as error:
            return _page(request, at, question, Problem(error=_as_here(error), form=form))
        return Response(content, media_type=kind, headers={"content-disposition": _file(question.name, ending)})

    return download


def save(request: Request, at: At, form: Form) -> str:  # noqa: ARG001
    """Keeps the question under a name. Operations say who may, and whether somebody else was first."""
    question, name = Question.of_form(form), form.text("save_as")
    saved = save_query(
        at,
        name,
        question.text,
        parameters=question.parameters,
        chart=question.drawn,
        replaces=question.saved_as(name),
    )
    return f"/{at.env}/sql?saved={quote(saved.name, safe='')}"


def delete(request: Request, at: At, form: Form) -> str:  # noqa: ARG001
    """Removes the saved query that was looked at."""
    question = Question.of_form(form)
    delete_query(at, question.name, version=question.replaces)
    return f"/{at.env}/sql"


def again(request: Request, at: At, problem: Problem | None) -> Response:
    """The form as it was sent, with the reason why nothing was saved or deleted."""
    assert problem is not None
    return _page(request, at, Question.of_form(problem.form), problem)


def names(request: Request, at: At) -> Response:  # noqa: ARG001
    """Tables with their columns, for the script that proposes them."""
    return JSONResponse({each.table: list(each.columns) for each in list_columns(at)})


async def cancel(request: Request) -> Response:
    """Ends a question of this browser: 204, or 404 where it is answered already."""
    form = await read_form(request)
    place(request)
    try:
        with acting(request):
            pass
    except SignedOutError:
        return Response(status_code=401)
    found = request.app.state.running.cancel(request.cookies.get(COOKIE, ""), form.text("question"))
    return Response(status_code=204 if found else 404)


def _asked(request: Request, at: At, question: Question, form: Form) -> QueryResult:
    seconds, rows = question.limits
    values = question.values
    with request.app.state.running.answering(
        request.cookies.get(COOKIE, ""), form.text("question") or secrets.token_hex(8)
    ) as cancelled:
        return query(at, question.text, timeout=seconds, max_rows=rows, values=values, cancelled=cancelled)


def _as_here(error: HeadraceError) -> HeadraceError:
    """The same error, with the fields of this page where it names options of the command line."""
    if isinstance(error, LimitError) and "--" in error.hint:
        error.hint = "Add a WHERE or a LIMIT, aggregate, or allow more with Seconds and Rows below."
    elif "--param" in error.hint:
        error.hint = "Its field is below the SELECT."
    return error


def _page(
    request: Request, at: At, question: Question, problem: Problem | None = None, *, answer: Answer | None = None
) -> Response:
    return page(
        request,
        "sql",
        title=question.name or "SQL",
        problem=problem,
        question=question,
        save_as=problem.form.text("save_as") if problem and problem.form.text("save_as") else question.name,
        id=secrets.token_urlsafe(12),
        answer=answer,
        saved=list_queries(at),
        chart_kinds=CHART_KINDS,
        parameter_kinds=PARAMETER_KINDS,
        most_seconds=LONGEST,
        most_rows=MOST,
        letters=LETTERS,
    )


def _file(name: str, ending: str) -> str:
    """The header that names a file: of any name, and of its plain letters for who does not read that."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "query"
    whole = quote(re.sub(r'[/\\:*?"<>|]+', "-", name) or "query", safe="")
    return f"attachment; filename=\"{plain[:80]}.{ending}\"; filename*=UTF-8''{whole}.{ending}"


CSV = _download(as_csv, "csv", "text/csv; charset=utf-8")
PARQUET = _download(as_parquet, "parquet", "application/vnd.apache.parquet")
ROUTES = [
    Route("/{env}/sql", reads(index), methods=["GET"]),
    Route("/{env}/sql", answers(run), methods=["POST"]),
    Route("/{env}/sql/csv", answers(CSV), methods=["POST"]),
    Route("/{env}/sql/parquet", answers(PARQUET), methods=["POST"]),
    Route("/{env}/sql/save", acts(save, again), methods=["POST"]),
    Route("/{env}/sql/delete", acts(delete, again), methods=["POST"]),
    Route("/{env}/sql/names", reads(names)),
    Route("/{env}/sql/cancel", cancel, methods=["POST"]),
]
