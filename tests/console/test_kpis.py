"""Business figures on the page of a model: by version with intervals, a picture over time, and a sentence."""

import shutil

import pytest
from tests.console.conftest import Browser, Links

from headrace.console.app import create_app
from headrace.core import vault
from headrace.monitoring import kpis
from headrace.monitoring.declarations import kpi
from headrace.workspace.workspace import open_workspace

NAME = 'Minutes <script>alert(1)</script> & "saved"'


@pytest.fixture
def page(figured):
    """The page of the model of a project with two measured versions."""
    return Browser(create_app(figured)).get("/dev/models/days")


def test_each_version_has_its_figure_and_the_difference_is_a_sentence(page):
    assert page.status == 200, page.text
    assert "Business figures" in page.text
    assert "Version 2 is better than version 1: Days by which we are off is " in page.text
    assert "windows that both have, from 2024-01-29 to 2024-0" in page.text
    figures = page.text[page.text.index("Business figures") : page.text.index("<h2>Versions</h2>")]
    assert figures.count('<polygon class="band') == 2
    assert 'aria-label="Days by which we are off by version, days"' in page.text
    assert {"/dev/models/days/1", "/dev/models/days/2"} <= set(Links(page.text).links)


def test_what_is_declared_is_only_text_and_what_was_not_computed_says_why(figured, tmp_path):
    copy = shutil.copytree(figured, tmp_path / "mini", symlinks=True)
    declared = kpi("hostile", "select 1", better="higher", unit="<b>", description=NAME)
    with open_workspace(folder=copy) as workspace:
        figures = [kpis.Figure(version=None, reason="gold.<i> is not there yet")]
        kpis.keep(workspace.lakehouse, "days", declared, "1w", figures, id="hostile")
    text = Browser(create_app(copy)).get("/dev/models/days").text

    assert "Minutes &lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;saved&#34;" in text
    assert "Not computed: gold.&lt;i&gt; is not there yet." in text
    assert "<script>alert" not in text
    assert "<i>" not in text


def test_a_model_without_figures_has_no_section(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        found = browser.get("/dev/models/days")
    assert found.status == 200
    assert "Business figures" not in found.text
