"""What a notebook shows: every answer as a table, charts that hold the numbers, and no text that could be markup."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pandas as pd
import pytest
from tests.cli.mini import write

import headrace as hr
from headrace.core.errors import NotFoundError
from headrace.operations.access import AccessToken
from headrace.operations.monitoring import ColumnDrift, MonitoringReport, WindowQuality
from headrace.session import charts, html, markup

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    dev = hr.open(folder=write(tmp_path_factory.mktemp("html") / "mini", deployment="gates=[]"), quiet=True)
    dev.refresh()
    dev.train(as_of="2024-03-01")
    return dev


def parsed(shown):
    """As a browser would see it; fails for markup that is not closed."""
    return ET.fromstring(f"<body>{shown.replace('<br>', '<br/>')}</body>")


def cells(shown, row):
    found = parsed(shown).findall(".//tbody/tr")[row]
    return ["".join(each.itertext()) for each in found]


def test_every_answer_shows_itself(dev):
    shown = {
        name: parsed(each._repr_html_())
        for name, each in {
            "tables": dev.tables,
            "table": dev.tables["shop.orders"],
            "history": dev.tables["shop.orders"].history,
            "query": dev.sql("select * from shop.orders"),
            "models": dev.models,
            "model": dev.models["days"],
            "version": dev.models["days"].newest,
            "runs": dev.runs,
            "run": dev.runs[dev.runs.list()[0].run],
            "schedule": dev.schedule,
            "training set": dev.training_set(as_of="2024-03-01"),
            "profile": dev.profile("shop.orders"),
            "drift": dev.drift("shop.orders", "select * from shop.orders where id < 60"),
            "refresh": dev.refresh(),
        }.items()
    }
    assert all(each.find(".//table") is not None for name, each in shown.items() if name != "schedule")
    assert len(shown["query"].findall(".//tbody/tr")) == 20
    assert "120 rows, the first 20 shown" in "".join(shown["query"].itertext())
    assert len(shown["profile"].findall(".//{*}svg")) == len(shown["drift"].findall(".//{*}svg")) == 4


def test_names_and_values_are_text(dev):
    rows = pd.DataFrame({HOSTILE: [HOSTILE, "b"], "n": [1.0, 2.0]})
    shown = [
        dev.profile(rows)._repr_html_(),
        dev.drift(rows, rows)._repr_html_(),
        dev.sql(f"select '{HOSTILE}' as n")._repr_html_(),
        charts.bars([1], [HOSTILE]),
        charts.line([1.0, 2.0], [HOSTILE, "b"], HOSTILE),
    ]
    assert all("<script" not in each and "&lt;script&gt;" in each for each in shown)
    for each in shown:
        parsed(each)


def test_the_height_of_a_bar_is_its_share():
    heights = [
        float(each) for each in re.findall(r'height="([\d.]+)" fill', charts.bars([1, 2, 4, 0], ["a", "b", "c", "d"]))
    ]
    assert heights[2] == pytest.approx(charts.HEIGHT - 2, abs=0.1)
    assert heights[0] == pytest.approx(heights[2] / 4, abs=0.1)
    assert heights[3] == 0


def test_monitoring_is_a_line_a_metric_and_a_heat_map():
    windows = [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    common = {"low": None, "high": None, "rows": 10, "labelled": 10, "label_coverage": 1.0, "judged": True}
    report = MonitoringReport(
        env="dev", model="m", version=1, stage="Production", granularity="1mo", predictions="gold.p", windows=3, earlier=0,
        later=0, versions=(1,), rules=(), drift_warn=0.1, drift_alert=0.2, embedding_warn=0.1, embedding_alert=0.2,
        quality=tuple(
            WindowQuality(start=start, end=start, metric="auc", value=value, reason=None, reopened=False, estimated=None, **common)
            for start, value in zip(windows, (0.8, None, 0.6), strict=True)
        ),
        drift=tuple(
            ColumnDrift(
                start=start, end=start, column=column, psi=psi, p_value=0.0, js_distance=0.1, wasserstein=None, energy_distance=None,
                percent_null_delta=0.0, new_share=None, new_categories=(), verdict="alert", reasons=("PSI",),
            )
            for start in windows
            for column, psi in (("calm", 0.01), ("wild", 0.5))
        ),
    )  # fmt: skip
    shown = html.render(report)
    drawn = parsed(shown)
    assert len(drawn.findall(".//{*}circle")) == 2
    assert "lowest 0.6, highest 0.8" in shown
    heat = drawn.findall("table")[-1].findall("tr")
    assert [row[0].text for row in heat[1:]] == ["wild", "calm"]
    assert [cell.text for cell in heat[1][1:]] == ["0.50"] * 3
    assert "rgba" in heat[1][1].get("style")


def test_a_secret_is_not_shown():
    """A notebook is stored with what it showed."""
    record = AccessToken(name="ann", by="bo", token="the-secret", bars_approval=False)
    assert "the-secret" not in html.render(record) + repr(record) + markup.records([record])


def test_a_repr_is_one_short_line(dev):
    for each in (
        dev,
        dev.tables,
        dev.models["days"],
        dev.models["days"].newest,
        dev.models["days"].newest.details,
        dev.sql("select * from shop.orders"),
        dev.training_set(as_of="2024-03-01"),
        dev.profile("shop.orders"),
        dev.runs.list(),
        dev.refresh(),
    ):
        assert "\n" not in repr(each)
        assert len(repr(each)) < 700, repr(each)
    assert repr(dev.sql("select * from shop.orders")) == "<QueryResult: 120 rows of id, customer, placed_at, amount>"
    assert repr(dev.runs.list(limit=1)) == "<1 RunSummary>"


def test_an_error_is_its_message_in_a_notebook():
    error = NotFoundError("table", "a\x1b[31m", ["b"], hint="Look.")
    (shown,) = error._render_traceback_()
    assert shown == r"NotFoundError: no table 'a\x1b[31m': there is 'b'." + "\nLook."
