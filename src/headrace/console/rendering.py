"""Pages as HTML: Jinja's templates with escaping on, and how moments, numbers and lists are written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.responses import HTMLResponse

from headrace.console import charts
from headrace.console.next_page import next_page
from headrace.console.requests import COOKIE, signed
from headrace.console.sessions import signed_in
from headrace.core.clock import now
from headrace.core.extras import need
from headrace.core.text import percent, said, visible
from headrace.operations.llm import shown_dollars

if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request

    from headrace.console.requests import Problem
    from headrace.operations.language_models import LanguageModelUse

NAVIGATION = (
    ("Home", ""),
    ("Models", "/models"),
    ("Endpoints", "/endpoints"),
    ("Monitors", "/monitors"),
    ("Features", "/features"),
    ("Tables", "/tables"),
    ("SQL", "/sql"),
    ("Dashboards", "/dashboards"),
    ("Alerts", "/alerts"),
    ("Runs", "/runs"),
    ("Schedule", "/schedule"),
    ("Access", "/access"),
    ("Audit", "/audit"),
)
OF_LANGUAGE_MODELS = (("Prompts", "/prompts"), ("Traces", "/traces"), ("Feedback", "/feedback"))  # where there are any
FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
STEPS = ((timedelta(days=2), timedelta(days=1), "d"), (timedelta(hours=2), timedelta(hours=1), "h"), (timedelta(minutes=2), timedelta(minutes=1), "min"))  # fmt: skip
WRONG = {
    "failed",
    "interrupted",
    "rejected",
    "no decision",
    "open",
    "expired",
    "late",
    "broken",
    "slow",
    "held",
    "stopped",
    "alert",
    "critical",
}
RIGHT = {"done", "passed", "unchanged", "approved", "Production", "closed", "on time", "holds", "within", "ok"}


def environment() -> Any:
    """Jinja with the filters of the templates.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    jinja = need("jinja2", "console", "the console")
    made = jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True
    )
    made.filters |= {
        "moment": moment,
        "ago": ago,
        "value": value,
        "difference": difference,
        "cell": cell,
        "tone": tone,
        "ms": milliseconds,
        "share": percent,
        "said": said,
        "next_page": next_page,
        "dollars": dollars,
        "text": text,
    }
    made.globals["charts"] = charts  # before the parts, which draw with them
    made.globals |= {"against": charts.against}
    made.globals |= {"parts": made.get_template("parts.html").module}
    return made


def page(
    request: Request,
    template: str,
    *,
    title: str,
    status: int = 200,
    problem: Problem | None = None,
    live: str | None = None,
    **values: object,
) -> HTMLResponse:
    """A page of an environment, or of none.

    Args:
        request: for it.
        template: its file in `templates/`, without `.html`.
        title: of the page.
        status: of the answer; that of the problem where there is one.
        problem: what a form asked for and was refused.
        live: what the environment has come to, as the page shows it: it is loaded again when that changes; None: it is not.
        values: what the template shows.
    """
    state = request.app.state
    cookie = request.cookies.get(COOKIE) or secrets.token_urlsafe(24)
    text = state.templates.get_template(f"{template}.html").render(
        **values,
        problem=problem,
        live=live if problem is None else None,
        title=title,
        project=state.project,
        environments=state.environments,
        env=request.path_params.get("env", ""),
        highest=state.environments[-1],
        path=request.url.path,
        query=request.url.query,
        me=getattr(request.state, "me", None),
        navigation=_navigation(request),
        signed_in=signed_in(request),
        form=signed(request, cookie),
        at=now(),
    )
    response = HTMLResponse(text, status if problem is None else problem.status)
    if COOKIE not in request.cookies:
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")
    return response


def download(name: str, html: str) -> HTMLResponse:
    """A file that the browser keeps, instead of showing it.

    Args:
        name: of the file: letters, digits, underscores, hyphens and points.
        html: what is in it.
    """
    return HTMLResponse(html, headers={"content-disposition": f'attachment; filename="{name}"'})


def _navigation(request: Request) -> tuple[tuple[str, str], ...]:
    """The pages that every page leads to: those about language models where the project uses them."""
    found: LanguageModelUse | None = request.app.state.language_models.get(request.path_params.get("env"))
    return (*NAVIGATION, *OF_LANGUAGE_MODELS) if found is not None and found.used else NAVIGATION


def moment(at: datetime | date | None) -> str:
    """`2026-01-31 12:00:00Z`; a dash where there is none."""
    if at is None:
        return "-"
    if isinstance(at, datetime):
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"{at:%Y-%m-%d}"


def ago(at: datetime | None) -> str:
    """How long it was ago: `5 s`, `3 min`, `4 h`, `9 d`."""
    if at is None:
        return "-"
    passed = max(now() - at, timedelta())
    for least, unit, name in STEPS:
        if passed >= least:
            return f"{passed // unit} {name}"
    return f"{int(passed.total_seconds())} s"


def value(given: object) -> str:
    """A value as people read it: numbers with four digits, names and their values one after the other.

    A float has four digits after the point, and four that count where it is smaller or larger than they show.
    """
    if given is None or given == "":
        return "-"
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, float):
        return f"{given:,.4f}" if given == 0 or 0.001 <= abs(given) < 1e9 else f"{given:.4g}"
    if isinstance(given, int):
        return f"{given:,}"
    if isinstance(given, datetime | date):
        return moment(given)
    if isinstance(given, Mapping):
        return ", ".join(f"{name} {value(each)}" for name, each in cast("Mapping[str, object]", given).items()) or "-"
    if isinstance(given, list | tuple | set | frozenset):
        return ", ".join(value(each) for each in cast("list[object]", given)) or "-"
    return str(given)


def difference(new: object, old: object) -> str:
    """How much a number has grown, with its sign; empty where one of them is none, or nothing has changed."""
    if isinstance(new, bool) or isinstance(old, bool) or new == old:
        return ""
    if not isinstance(new, int | float) or not isinstance(old, int | float):
        return ""
    grown = new - old
    if grown != grown:  # noqa: PLR0124  # NaN
        return ""
    return value(grown) if grown < 0 else f"+{value(grown)}"


def milliseconds(seconds: float | None) -> str:
    """A latency: `12.3 ms`, `1.5 s`; a dash where there is none."""
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def cell(given: object) -> str:
    """A value of a table as it is there: numbers as numbers, since one may be a year or an id."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else value(given)


def tone(status: object) -> str:
    """`bad`, `good` or nothing: how a status is coloured. The word stands beside it."""
    return "bad" if status in WRONG else "good" if status in RIGHT else ""


def dollars(amount: float | None) -> str:
    """An amount as people read it: `$12.50`, `$0.000345`; a dash where there is none."""
    return "-" if amount is None else shown_dollars(float(f"{amount:.4g}") if abs(amount) < 1 else round(amount, 2))


def text(given: object, most: int = 20_000) -> str:
    """A text of somebody: what is not seen in it is spelled, and of a long one the beginning is shown."""
    whole = str(given)
    if len(whole) <= most:
        return visible(whole)
    return f"{visible(whole[:most])}… ({len(whole):,} characters)"
