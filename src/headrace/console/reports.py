"""Reports that travel: one HTML file each, with its style inside and no script, that opens anywhere and prints on A4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from headrace.console import monitoring
from headrace.console.rendering import FOLDER, environment
from headrace.core.clock import now
from headrace.operations.model_card import show_card
from headrace.operations.monitor_report import report_monitoring

if TYPE_CHECKING:
    from typing import Any

    from headrace.operations.operation import At

STYLES = ("console.css", "report.css")


@dataclass(frozen=True, kw_only=True)
class Report:
    """A file for people.

    Attributes:
        name: of the file, such as `arrival_delay-3-card.html`.
        html: what is in it.
    """

    name: str
    html: str


def model_card(at: At, name: str, *, version: int | None = None) -> Report:
    """The card of a version.

    Args:
        at: where.
        name: of the model.
        version: its number; None: the one in Production, else the newest.

    Raises:
        NotFoundError: there is no such model or version.
        MissingExtraError: Jinja is not installed.
    """
    card = show_card(at, name, version=version)
    html = render("card", title=f"{name} {card.details.version}: model card", env=card.env, card=card)
    return Report(name=f"{name}-{card.details.version}-card.html", html=html)


def monitoring_report(at: At, name: str, *, version: int | None = None) -> Report:
    """What monitoring has stored of a version.

    Args:
        at: where.
        name: of the model.
        version: its number; None: the one in Production, else the newest one of which something is stored.

    Raises:
        NotFoundError: there is no such model or version, or the model has no deployment.
        MissingExtraError: Jinja is not installed.
    """
    document = report_monitoring(at, name, version=version)
    shown = document.monitoring
    last = max((each.start for each in shown.drift), default=None)
    html = render(
        "monitor",
        title=f"{name} {shown.version}: monitoring",
        env=shown.env,
        report=shown,
        alerts=document.alerts,
        map=monitoring.heat_map(shown),
        charts=monitoring.quality_charts(shown),
        coverage=monitoring.coverage_said(shown),
        columns=[
            {
                "found": each,
                "series": monitoring.series_picture(each),
                "distribution": monitoring.distribution_picture(each),
                "measure": monitoring.measure(each),
            }
            for each in document.columns
        ],
        latest=[each for each in shown.drift if each.start == last],
        last=last,
        measured=monitoring.measured,
        bar_name=monitoring.bar_name,
        window_name=monitoring.window_name,
    )
    return Report(name=f"{name}-{shown.version}-monitoring.html", html=html)


def render(template: str, **values: Any) -> str:
    """The text of a file, from the template `report_NAME.html`."""
    style = "\n".join((FOLDER / "static" / each).read_text(encoding="utf-8") for each in STYLES)
    return (
        environment()
        .get_template(f"report_{template}.html")
        .render(
            **values,
            style=Markup(style),  # noqa: S704  # files of this package
            at=now(),
        )
    )
