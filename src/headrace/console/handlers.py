"""How a page is asked for and how a form is taken: as whom, where, and what is shown where it is refused.

A page is a function of the request and the place that it is about; the environment is opened once for all that it asks.
What a form does is one operation, done as whoever has signed in; when it is refused, the page comes again with the
reason and with what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from headrace.console.requests import Problem, place, read_form
from headrace.console.sessions import SignedOutError, acting, sign_in_address
from headrace.console.sign_in_page import expired
from headrace.core.errors import HeadraceError, UnavailableError
from headrace.operations.access import current_caller
from headrace.operations.language_models import language_model_use
from headrace.operations.operation import visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from headrace.console.requests import Form
    from headrace.operations.language_models import LanguageModelUse
    from headrace.operations.operation import At

    Shown = Callable[[Request, At], Response]
    Done = Callable[[Request, At, Form], str]
    Answered = Callable[[Request, At, Form], Response]
    ShownAgain = Callable[[Request, At, Problem | None], Response]


def _known(request: Request, at: At) -> None:
    """Who looks, and whether there are language models here: which pages all pages lead to."""
    request.state.me = current_caller(at)
    uses: dict[str | None, LanguageModelUse] = request.app.state.language_models
    uses[at.env] = language_model_use(at, known=uses.get(at.env))


def reads(shown: Shown) -> Callable[[Request], Response]:
    """A page that only reads: the environment is opened once, and each operation is permitted as whoever has signed in."""

    def endpoint(request: Request) -> Response:
        at = place(request)
        try:
            with acting(request), visit(at) as here:
                _known(request, here)
                return shown(request, here)
        except SignedOutError:
            return RedirectResponse(sign_in_address(request), 303)

    return endpoint


def answers(answered: Answered) -> Callable[[Request], Awaitable[Response]]:
    """What a form asks, without changing anything: its page, or a file."""

    def answer(request: Request, form: Form) -> Response:
        with acting(request), visit(place(request)) as here:
            _known(request, here)
            return answered(request, here, form)

    async def endpoint(request: Request) -> Response:
        form = await read_form(request)
        try:
            return await run_in_threadpool(answer, request, form)
        except SignedOutError:
            return expired(request, form)

    return endpoint


def acts(done: Done, shown: ShownAgain) -> Callable[[Request], Awaitable[Response]]:
    """What a form does.

    Args:
        done: does it, and gives the address of the page that shows it.
        shown: the page again, where it was refused.
    """

    def act(request: Request, form: Form) -> Response:
        at = place(request)
        with acting(request):
            try:
                return RedirectResponse(done(request, at, form), 303)
            except HeadraceError as error:
                problem = Problem(error=error, form=form)
            except SQLAlchemyError as error:
                down = UnavailableError(
                    f"The state database does not answer: {type(error).__name__}. Nothing was done that is not recorded.",
                    hint="What was written is still below. headrace doctor says what is wrong.",
                )
                problem = Problem(error=down, form=form)
            with visit(at) as here:
                _known(request, here)
                return shown(request, here, problem)

    async def endpoint(request: Request) -> Response:
        form = await read_form(request)
        try:
            return await run_in_threadpool(act, request, form)
        except SignedOutError:
            return expired(request, form)

    return endpoint
