"""Dashboards in the console: made by forms alone, shown with the time of each answer, shared by address, and as a file."""

import re
from contextlib import ExitStack
from html import unescape

import pytest
from tests.console.conftest import Links

from headrace.console.running import AT_ONCE
from headrace.core import vault
from headrace.operations.dashboards import show_dashboard
from headrace.operations.operation import At
from headrace.operations.saved_queries import Chart, Parameter, save_query

ODD = 'it\'s "<script>alert(1)</script>"/../x & 100% 🚀'
COUNTED = "select customer, count(*) as orders from shop.orders where id < :most group by all order by 1"


class Board:
    """A dashboard, changed as its forms would."""

    def __init__(self, browser, folder):
        self.browser, self.at = browser, At(folder=folder)

    def send(self, path, **fields):
        form = self.browser.form("/dev/dashboards")
        return self.browser.post(f"/dev/dashboards{path}", form=form, **fields)

    def tile(self, do="save", place="new", version=None, **fields):
        version = show_dashboard(self.at, "sales", draft=True).version if version is None else version
        return self.send("/sales/edit/tile", do=do, place=place, version=str(version), **fields)

    @property
    def titles(self):
        return [each.title for each in show_dashboard(self.at, "sales", draft=True).tiles]

    def page(self, path="/sales"):
        return self.browser.get(f"/dev/dashboards{path}")


@pytest.fixture
def board(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        made = Board(browser, tmp_path / "mini")
        most = Parameter(name="most", kind="number", default="50")
        save_query(made.at, ODD, COUNTED, parameters=[most], chart=Chart(kind="bar"))
        assert made.send("", name="sales", title=ODD).headers["location"] == "/dev/dashboards/sales/edit"
        yield made


def sections(text):
    return re.findall(r'<section class="tile (w\d+)".*?<h2[^>]*>(.*?)</h2>(.*?)</section>', text, re.DOTALL)


def test_a_dashboard_is_made_and_changed_by_forms(board):
    for title, fields in {"one": {"sql": "select 41 + 1 as answer", "width": "4"}, "two": {"query": ODD}}.items():
        done = board.tile(title=title, **fields)
        assert (done.status, done.headers.get("location", "").partition("#")[0]) == (303, "/dev/dashboards/sales/edit")
    assert board.titles == ["one", "two"]
    board.tile("down", "0")
    assert board.titles == ["two", "one"]
    board.tile("up", "0")
    assert board.titles == ["two", "one"]
    board.tile(place="1", title="first", sql="select 1 as a", chart="bar", y="a", values="")
    board.tile("remove", "0")
    assert board.titles == ["first"]
    shown = board.page("/sales/edit").text
    assert "select 1 as a</textarea>" in shown
    assert "<option selected>bar</option>" in shown
    details = {"title": "Sales", "description": "What\r\nis sold", "owner": "ana", "refresh": "1h", "place": "details"}
    assert board.send("/sales/edit/details", version="7", **details).status == 303
    found = show_dashboard(board.at, "sales")
    assert (found.title, found.description, found.owner, found.refresh) == ("Sales", "What\nis sold", "ana", "1h")
    assert board.send("/sales/delete", version="8").headers["location"] == "/dev/dashboards"
    assert board.page().status == 404


def test_tiles_show_figures_pictures_and_tables_with_their_times(board):
    board.tile(title="figure", sql="select 41 + 1 as answer", width="4")
    board.tile(title="picture", query=ODD, width="8")
    board.tile(title="table", sql="select * from (values (1, '<b>x</b>'), (2, 'y')) t(n, t)")
    before = board.page()
    assert (before.status, before.text.count("Not asked yet")) == (200, 3)
    assert board.send("/sales/refresh").headers["location"] == "/dev/dashboards/sales"
    text = board.page().text
    figure, picture, table = sections(text)
    assert (figure[0], picture[0], table[0]) == ("w4", "w8", "w12")
    assert "<strong>42</strong>" in figure[2]
    assert "<svg" in picture[2]
    assert 'aria-label="picture"' in picture[2]
    assert ("&lt;b&gt;x" in table[2], "<b>x" in text, "<script>alert" in text) == (True, False, False)
    assert text.count("As of 20") == 3
    assert set(Links(text).loads) <= {"/-/icon.svg", "/-/console.css"}
    assert not re.search(r'style="|<script', text)
    saved = next(each for each in Links(text).links if "?saved=" in each)
    assert board.browser.get(saved).status == 200


def test_one_broken_tile_does_not_take_the_page(board):
    board.tile(title="fine", sql="select 1 as a")
    board.tile(title="broken", sql="select 1 / n as a, error('no <i>' || n) as b from (select 0 as n)")
    board.send("/sales/refresh")
    found = board.page()
    fine, broken = sections(found.text)
    assert (found.status, "problem" in fine[2], "problem" in broken[2]) == (200, False, True)
    assert "no &lt;i&gt;0" in broken[2]
    assert "As of" in broken[2]


def test_values_are_in_the_address(board):
    board.tile(title="t", query=ODD, chart="table")
    fields = board.page().text
    assert 'name="p.most" value="50"' in fields
    few, many = (board.page(f"/sales?p.most={most}").text for most in ("3", "20"))
    assert ("3 rows" in few, "7 rows" in many) == (True, True)
    assert 'name="p.most" value="3"' in few
    assert "is no number: &#39;x&#39;" in board.page("/sales?p.most=x").text
    assert board.page("/sales?p.other=1&p.most=").status == 200
    assert show_dashboard(board.at, "sales").tiles[0].refreshed is None


def test_what_was_refused_stays_in_its_form(board):
    wrong = board.tile(title="<i>new</i>", sql="select 1 from shop.order", width="5")
    assert (wrong.status, "did you mean &#39;shop.orders&#39;" in wrong.text) == (422, True)
    assert "select 1 from shop.order</textarea>" in wrong.text
    assert 'value="&lt;i&gt;new&lt;/i&gt;"' in wrong.text
    for fields, told in {
        ("sql", "select 1", "width", "13"): "is 13 columns wide",
        ("sql", "select 1", "width", "x"): "is not from 1 to 12",
        ("sql", "select 1", "query", ODD): "Leave one of the two fields empty",
        ("sql", "", "query", ""): "asks nothing",
        ("sql", "select :n", "parameters", "n:int"): "'int' is no kind of parameter",
        ("sql", "select :n", "values", "n"): "has no value",
        ("sql", "drop table shop.orders", "width", "1"): "is not a SELECT",
        ("sql", "select 1", "chart", "pie"): "'pie' is no kind of chart",
    }.items():
        name, text, other, value = fields
        found = board.tile(title="t", **{name: text, other: value})
        assert (found.status, told in unescape(found.text)) == (422, True), told
    assert board.titles == []
    assert board.tile("up", "7").status == 404
    assert board.tile("up", "x").status == 404
    bad = board.send("", name="Not A Name", title="mine")
    assert (bad.status, 'value="mine"' in bad.text) == (422, True)


def test_of_two_who_change_it_the_second_is_told_and_keeps_the_text(board):
    board.tile(title="first", sql="select 1 as a", version=1)
    late = board.tile(title="second", sql="select 2 as a", version=1)
    assert (late.status, "it is version 2 now, not 1" in late.text) == (409, True)
    assert "select 2 as a</textarea>" in late.text
    assert board.titles == ["first"]
    assert board.send("/sales/delete", version="1").status == 409


def test_a_dashboard_of_the_project_is_read_and_a_draft_of_it_says_what_differs(board, tmp_path):
    folder = tmp_path / "mini" / "dashboards"
    folder.mkdir()
    (folder / "sold.toml").write_text('title = "Sold"\n[[tile]]\ntitle = "t"\nsql = "select 1 as a"\n')
    (folder / "broken.toml").write_text('titel = "<b>"\n')
    listed = board.page("")
    assert (listed.status, "Did you mean &#39;title&#39;" in listed.text) == (200, True)
    assert board.page("/broken").status == 422
    project = board.page("/sold").text
    assert (
        "From the project&#39;s file dashboards/sold.toml" in project
        or "project's file dashboards/sold.toml" in project
    )
    assert board.page("/sold/edit").status == 404
    assert board.send("/sold/copy").headers["location"] == "/dev/dashboards/sold/edit"
    board.send("/sold/edit/details", version="1", title="Sold more", place="details")
    assert "with another title" in board.page("/sold").text
    draft = board.page("/sold/draft").text
    assert ("A draft: version 2" in draft, "the draft has another title" in draft) == (True, True)
    assert "<h1>Sold</h1>" in board.page("/sold").text
    assert board.send("/sold/refresh", draft="yes").headers["location"] == "/dev/dashboards/sold/draft"


def test_the_file_has_no_script_and_needs_nothing(board):
    board.tile(title=ODD, query=ODD)
    made = board.page("/sales/export?p.most=20")
    assert (made.status, made.headers["content-disposition"]) == (200, 'attachment; filename="sales-dashboard.html"')
    assert ("<script" in made.text, "src=" in made.text, "href=" in made.text) == (False, False, False)
    assert ("<svg" in made.text, "With most 20" in made.text) == (True, True)
    assert "As of 20" in made.text
    assert show_dashboard(board.at, "sales").tiles[0].refreshed is None


def test_refreshing_and_exporting_are_among_the_questions_at_once(board):
    board.tile(title="t", sql="select 1 as a")
    running = board.browser.app.state.running
    with ExitStack() as others:
        for number in range(AT_ONCE):
            others.enter_context(running.answering("another browser", str(number)))
        found = board.send("/sales/refresh")
        assert (found.status, "is answering 4 questions" in found.text) == (503, True)
        assert board.page("/sales/export").status == 503
        assert show_dashboard(board.at, "sales").tiles[0].refreshed is None
    assert board.page("/sales/export").status == 200
    assert board.send("/sales/refresh").status == 303


def test_a_refused_refresh_shows_what_was_to_be_refreshed_with_its_own_address(board, tmp_path):
    tile = (
        '[[tile]]\ntitle = "t"\nsql = "select :n as a"\nparameters = [{ name = "n", kind = "number", default = "1" }]\n'
    )
    folder = tmp_path / "mini" / "dashboards"
    folder.mkdir()
    (folder / "sold.toml").write_text(f'title = "Sold"\n{tile}')
    board.send("/sold/copy")
    board.send("/sold/edit/details", version="1", title="Sold more", place="details")
    running = board.browser.app.state.running
    with ExitStack() as others:
        for number in range(AT_ONCE):
            others.enter_context(running.answering("another browser", str(number)))
        project, draft = board.send("/sold/refresh"), board.send("/sold/refresh", draft="yes")
    for found, title, address in ((project, "Sold", "/sold"), (draft, "Sold more", "/sold/draft")):
        assert (found.status, f"<h1>{title}</h1>" in found.text) == (503, True)
        assert f'<form method="get" action="/dev/dashboards{address}">' in found.text
        shown = board.page(f"{address}?p.n=2").text
        assert f'<a href="/dev/dashboards{address}">without</a>' in shown


def test_a_field_that_was_cleared_stays_clear_after_a_refusal(board):
    details = {"title": "Sales", "description": "old words", "owner": "ana", "refresh": "1h", "place": "details"}
    assert board.send("/sales/edit/details", version="1", **details).status == 303
    cleared = {**details, "description": "", "owner": "", "refresh": "hourly"}
    found = board.send("/sales/edit/details", version="2", **cleared)
    assert (found.status, 'value="hourly"' in found.text) == (422, True)
    assert ("old words" in found.text, 'value="ana"' in found.text) == (False, False)
    assert "old words" in board.page("/sales/edit").text


def test_names_that_are_not_there_lead_back(board):
    for path in ("/x", "/x/draft", "/x/edit", "/x/export", "/%3Cb%3E", "/sales%2Fx"):
        found = board.page(path)
        assert (found.status, "<b>" in found.text) == (404, False), path


def test_a_form_of_elsewhere_does_nothing(board):
    for path in ("", "/sales/refresh", "/sales/delete", "/sales/edit/tile", "/sales/edit/details", "/sales/copy"):
        assert board.browser.post(f"/dev/dashboards{path}", form="0" * 64, name="other").status == 403
    assert board.titles == []


def test_a_select_that_is_too_long_is_refused_before_it_is_read(board):
    refused = board.tile(title="long", sql="/* " * 100_000)
    assert (refused.status, "the SELECT has 299,999 characters" in refused.text) == (422, True)
    assert board.titles == []
