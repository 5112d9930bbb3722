"""Monitors: the list, a version by window, a column beside its training; and quality on the pages of models and versions."""

import html
import re
from urllib.parse import quote

import pytest
from tests.console import year_of_drift
from tests.console.conftest import Browser, Links

from headrace.console.app import create_app
from headrace.console.rendering import value as as_shown
from headrace.operations.monitored_columns import show_columns
from headrace.operations.monitoring import show_monitoring
from headrace.operations.monitors import list_monitored
from headrace.operations.operation import At

HOSTILE = ["<script>alert(1)</script>", "a/b \"c\" & 'd'", "🦊\x1b[31m red", "x" * 300]


@pytest.fixture(scope="module")
def pages(monitored):
    """A browser of the console of the monitored project."""
    return Browser(create_app(monitored))


@pytest.fixture(scope="module")
def hostile(monitored, tmp_path_factory):
    """The same where columns have names that would do harm, in twenty weeks."""
    return year_of_drift.add(monitored, tmp_path_factory.mktemp("hostile") / "mini", HOSTILE, windows=20)


def cells(text):
    """Column → the cells of its row of the heat map: class, text."""
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', text)
    return {
        html.unescape(re.sub("<.*?>", "", name)): re.findall(r'<td(?: class="heat-(\d)")?[^>]*>([\d.-]+)', row)
        for name, row in rows
    }


def test_every_monitored_model_has_its_health_and_why(monitored, pages):
    (found,) = list_monitored(At(folder=monitored))
    text = pages.get("/dev/monitors").text

    assert (found.model, found.version, found.stage, found.health) == ("days", 2, "Production", "alert")
    assert found.reasons[0].startswith(f"alert {found.alerts[0]}, version 2: rmse > 0.1, 1 of 1, open")
    assert html.escape(found.reasons[0]) in text
    assert f"rmse {as_shown(found.value)}" in text
    assert f"{as_shown(found.low)} to {as_shown(found.high)}" in text
    assert '<span class="status bad">alert</span>' in text
    assert "/dev/monitors/days" in Links(text).links
    assert 'aria-current="page">Monitors' in text


def test_a_model_that_was_never_monitored_says_what_comes_next(console):
    browser, _ = console
    text = browser.get("/dev/monitors").text

    assert "nothing stored" in text
    assert "headrace run monitor --model days --env dev" in text
    assert "headrace run score --model days" in browser.get("/dev/monitors/days").text
    assert "No quality is stored" in browser.get("/dev/models/days").text


def test_the_heat_map_has_the_stored_drift_in_each_cell(monitored, pages):
    report = show_monitoring(At(folder=monitored), "days")
    answer = pages.get("/dev/monitors/days")
    shown = cells(answer.text)
    edges = [0.05, 0.1, 0.2, 0.5, 1.0]

    assert {
        column: [
            (str(sum(each.psi >= edge for edge in edges)), f"{each.psi:.3f}")
            for each in report.drift
            if each.column == column
        ]
        for column in shown
    } == shown
    assert set(shown) == {each.column for each in report.drift} == {"amount", "prediction"}
    assert [html.unescape(each) for each in re.findall(r'<span class="heat-\d">(.*?)</span>', answer.text)] == [
        "under 0.05",
        "0.05 to 0.1",
        "0.1 to 0.2",
        "0.2 to 0.5",
        "0.5 to 1",
        "1 and more",
    ]
    assert "/dev/monitors/days/features/amount" in Links(answer.text).links


def test_quality_has_its_interval_its_limit_and_the_known_labels(monitored, pages):
    report = show_monitoring(At(folder=monitored), "days")
    text = pages.get("/dev/monitors/days").text
    last = max(report.quality, key=lambda each: each.start)
    judged = max((each for each in report.quality if each.judged), key=lambda each: each.start)

    assert f"the labels of {last.labelled} of {last.rows} predictions are known ({last.label_coverage:.1%})" in text
    assert f"the last window that is judged is that of {judged.start:%Y-%m-%d}" in text
    for each in report.quality:
        assert (
            f'<td class="number">{as_shown(each.value)}</td><td>{as_shown(each.low)} to {as_shown(each.high)}</td>'
            in text
        )
    assert text.count('<polygon class="band') == len({each.metric for each in report.quality})
    assert text.count('<line class="limit"') == 1  # of the one rule, on rmse


def test_a_version_and_a_last_window_are_chosen(monitored, pages):
    other = pages.get("/dev/monitors/days?version=1").text
    whole = show_monitoring(At(folder=monitored), "days", version=1)
    starts = sorted({each.start for each in whole.drift})
    until = pages.get(f"/dev/monitors/days?version=1&window={quote(starts[1].isoformat())}").text

    assert "orders" in cells(other)
    assert "/dev/monitors/days/features/orders?version=1" in Links(other).links
    assert "/dev/monitors/days?version=2" in Links(other).links
    assert len(cells(other)["orders"]) == len(starts) > 2
    assert len(cells(until)["orders"]) == 2
    assert "/dev/monitors/days?version=1" in Links(until).links  # back to the latest windows
    assert f">{starts[2]:%Y-%m-%d}<" not in until


def test_a_column_is_shown_beside_its_training(monitored, pages):
    (column,) = show_columns(At(folder=monitored), "days", ["amount"])
    text = pages.get("/dev/monitors/days/features/amount").text
    first = column.series[0].start

    assert column.reference == "training"
    assert sum(each.reference_rows for each in column.bars) == column.reference_rows
    assert sum(each.rows for each in column.bars) == column.rows
    assert column.window == column.series[-1]
    assert text.count('<rect class="s1"') == len(column.bars) + 2  # also of missing values and in the legend
    for bar in column.bars:
        assert f'<td class="number">{bar.reference_rows}</td>' in text
    assert f"0 of {column.rows} rows, 0.00 %" in text
    assert '<line class="limit"' in text

    (before,) = show_columns(At(folder=monitored), "days", ["amount"], window=first)
    then = pages.get(f"/dev/monitors/days/features/amount?window={quote(first.isoformat())}").text
    assert before.rows != column.rows
    assert f"0 of {before.rows} rows, 0.00 %" in then
    assert f"Training beside the window of {first:%Y-%m-%d}" in then


def test_what_is_no_feature_is_compared_with_the_first_window(monitored, pages):
    (column,) = show_columns(At(folder=monitored), "days", ["prediction"])

    assert column.reference == "first window"
    assert "against the first window" in pages.get("/dev/monitors/days/features/prediction").text


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/dev/monitors/dayz", 404, "did you mean 'days'"),
        ("/dev/monitors/days?version=9", 404, "no version of days '9'"),
        ("/dev/monitors/days?version=-1", 404, "is no number of a version"),
        ("/dev/monitors/days?window=soon", 422, "'soon' is not a date or time"),
        ("/dev/monitors/days/features/nothing", 404, "there is 'amount', 'prediction'"),
        ("/dev/monitors/days/features/amount?window=1999-01-01", 404, "no window '1999-01-01"),
        ("/dev/monitors/days/features/%3Cscript%3E", 404, "'<script>'"),
        ("/nowhere/monitors", 404, "no environment 'nowhere'"),
    ],
)
def test_what_is_not_there_has_a_way_back(pages, path, status, says):
    answer = pages.get(path)

    assert answer.status == status
    assert says in html.unescape(answer.text)
    assert "<script>" not in answer.text
    assert any(link in ("/dev", "/") for link in Links(answer.text).links)


def test_names_of_columns_are_only_text_and_lead_to_their_pages(hostile):
    browser = Browser(create_app(hostile))
    answer = browser.get("/dev/monitors/days?window=2022-05-16")  # the last of twenty weeks
    shown = cells(answer.text)

    assert set(HOSTILE) <= set(shown)
    assert [text for _, text in shown[HOSTILE[1]]] == [f"{year_of_drift.psi(1, week):.3f}" for week in range(6, 20)]
    assert "script" not in Links(answer.text).tags
    led = [link for link in Links(answer.text).links if "/features/" in link]
    assert len(led) == len(shown)
    for link in led:
        page = browser.get(link)
        assert page.status == 200, link
        assert "script" not in Links(page.text).tags
    assert (
        "&lt;b&gt;new&lt;/b&gt;: 25.00 % of the rows"
        in browser.get(f"/dev/monitors/days/features/{quote(HOSTILE[1])}?window=2022-05-16").text
    )


def test_the_pages_of_a_model_and_a_version_have_pictures(monitored, pages):
    model, version = pages.get("/dev/models/days").text, pages.get("/dev/models/days/2").text

    assert 'aria-label="rmse of days version 2 by window"' in model
    assert "/dev/monitors/days" in Links(model).links
    assert "predictions are known" in model
    assert 'aria-label="not_worse: the value beside its limit"' in version
    assert "/dev/models/days/2/card" in Links(version).links
