"""Reports that travel: one file each, nothing loaded, nothing run, all numbers in it."""

import html
import re

import pytest
from tests.console import year_of_drift
from tests.console.conftest import Browser, Links

from headrace.console import reports
from headrace.console.app import create_app
from headrace.console.rendering import value as as_shown
from headrace.operations.model_card import show_card
from headrace.operations.monitor_report import report_monitoring
from headrace.operations.operation import At

LARGEST = 2_000_000  # bytes
FEATURES = [f"feature_{number}" for number in range(199)] + ["</style><script>alert(1)</script>"]


def stands_alone(text):
    """Whether a page needs and does nothing but itself."""
    found = Links(text)
    return (
        not found.loads
        and not {"script", "form", "iframe", "link", "button"} & set(found.tags)
        and all(link.startswith("#") for link in found.links)
        and "url(" not in text
        and "@import" not in text
        and text.count("<style>") == text.count("</style>") == 1
    )


def test_a_report_of_monitoring_has_all_numbers_in_one_file(monitored):
    document = report_monitoring(At(folder=monitored), "days")
    made = reports.monitoring_report(At(folder=monitored), "days")

    assert made.name == "days-2-monitoring.html"
    assert stands_alone(made.html)
    assert "@page { size: A4" in made.html
    for each in document.monitoring.quality:
        assert f"{as_shown(each.low)} to {as_shown(each.high)}" in made.html
    for each in document.monitoring.drift:
        assert f">{each.psi:.3f}" in made.html
    assert [each.column for each in document.columns] == ["amount", "prediction"]
    for each in document.columns:
        assert f'aria-label="{each.column}: {each.reference} and now"' in made.html
    assert html.escape(document.alerts[0].rule) in made.html


def test_a_card_says_what_a_version_is_and_where_it_comes_from(monitored):
    card = show_card(At(folder=monitored), "days", version=1)
    made = reports.model_card(At(folder=monitored), "days", version=1)
    text = html.unescape(made.html)

    assert made.name == "days-1-card.html"
    assert stands_alone(made.html)
    assert "For a row of shop.orders, at the moment in its 'placed_at', it predicts 'days' of shop.labels." in text
    assert card.features == ("amount", "orders")
    assert "amount, orders" in text
    assert {each.table for each in card.data} == {"shop.orders", "shop.labels", "stats.customers"}
    for each in card.data:
        assert f'<td>{each.table}</td><td class="number">{each.version}</td><td>{each.at:%Y-%m-%d %H:%M:%S}Z' in text
    for name, metric in card.details.metrics.items():
        assert f'<td>{name}</td><td class="number">{as_shown(metric)}</td>' in text
    assert any(each.startswith("numpy==") for each in card.libraries)
    assert set(card.libraries) <= set(re.search("<dt>libraries</dt><dd>(.*?)</dd>", text)[1].split(", "))
    assert card.details.code in text
    assert "depth 3, rate 0.1000" in text
    assert card.quality
    assert all(f"{as_shown(each.low)} to {as_shown(each.high)}" in text for each in card.quality)
    assert "request" in text
    for asked in card.requests:
        assert asked.evidence_hash in text


def test_a_card_says_on_which_slices_a_version_is_worse(monitored):
    card = show_card(At(folder=monitored), "days", version=1)
    overall = card.details.metrics["rmse"]
    worse = [each for each in card.details.slices if each.metrics["rmse"] > overall]
    told = [each for each in card.limitations if each.startswith("On its test rows with")]

    assert len(told) == min(len(worse), 5) > 0
    assert all(f"{each.metrics['rmse']:.4g}, worse than {overall:.4g}" in " ".join(told) for each in worse[:1])
    assert card.serves == ("Nothing: it is at stage Archived.",)
    assert show_card(At(folder=monitored), "days").serves[0].startswith("It is in Production, and answers 100 %")


def test_a_card_of_what_nobody_has_monitored_says_so(console, made):
    browser, _ = console
    answer = browser.get("/dev/models/days/1/card")

    assert "No window of its predictions is judged: how good it is at work is not known." in answer.text
    assert "waits for</dt><dd>governance" in answer.text


def test_two_hundred_features_of_a_year_are_under_two_megabytes(monitored, tmp_path):
    project = year_of_drift.add(monitored, tmp_path / "mini", FEATURES, windows=365)
    # of the last window of the year: what the project itself has is later
    document = report_monitoring(At(folder=project), "days", windows=365)
    made = reports.monitoring_report(At(folder=project), "days")

    assert len(document.columns) <= 12
    assert stands_alone(made.html)
    assert len(made.html.encode()) < LARGEST
    assert {name for name in FEATURES if html.escape(name, quote=False) in made.html} == set(FEATURES)


def test_reports_are_downloaded_from_the_console(monitored):
    browser = Browser(create_app(monitored))
    for path, name in (
        ("/dev/models/days/1/card", "days-1-card.html"),
        ("/dev/monitors/days/report?version=1", "days-1-monitoring.html"),
    ):
        answer = browser.get(path)
        assert answer.status == 200
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert stands_alone(answer.text)
    assert browser.get("/dev/models/days/9/card").status == 404
    assert browser.get("/dev/monitors/dayz/report").status == 404


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("model", "card", "days"), "days-2-card.html"),
        (("monitor", "report", "days", "--version", "1"), "days-1-monitoring.html"),
    ],
    ids=["card", "monitoring"],
)
def test_the_command_line_writes_them(headrace, monitored, tmp_path, command, name):
    asked = headrace.run(monitored, *command, "--output", tmp_path / "report.html")
    own = headrace.run(monitored, *command)
    kept = monitored / name
    text = kept.read_text(encoding="utf-8")
    kept.unlink()
    nowhere = headrace.run(monitored, *command, "--output", tmp_path / "nothing" / "report.html")

    assert (asked.code, own.code) == (0, 0), asked.stderr + own.stderr
    assert own.stdout.strip() == name
    assert asked.stdout.strip() == str(tmp_path / "report.html")
    assert stands_alone(text)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert nowhere.code == 2
    assert "is not there" in nowhere.stderr
