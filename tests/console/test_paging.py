"""Long lists come in pages, each with the way to the next one; and the console starts without what no first page needs."""

import subprocess
import sys

import pytest
from tests.console.conftest import Links

from headrace.access.audit import record
from headrace.workspace.workspace import open_workspace


@pytest.fixture
def long(console):
    """A console of an environment whose record has 120 entries more, numbered."""
    browser, _ = console
    with open_workspace(folder=browser.app.state.folder) as workspace, workspace.state.begin() as connection:
        for number in range(120):
            record(connection, "mara", "thing.done", f"thing/{number}", {"note": "É", "odd": number % 2})
    return browser


def objects(browser, path):
    """The numbers of things on a page of the record, and where it goes on."""
    answer = browser.get(path)
    assert answer.status == 200
    numbers = [int(part.partition("<")[0]) for part in answer.text.split("<td>thing/")[1:]]
    return numbers, [link for link in Links(answer.text).links if "page=" in link]


def test_the_pages_of_a_list_follow_each_other_and_leave_nothing_out(long):
    seen, path, pages = [], "?q=thing.done", 0
    while path:
        numbers, links = objects(long, f"/dev/audit{path}")
        seen, pages = seen + numbers, pages + 1
        path = next((each for each in links if each.endswith(f"page={pages + 1}")), None)
    assert seen == list(range(119, -1, -1))
    assert pages == 3


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 20, "2%00"], ids=["zero", "negative", "word", "huge", "nul"])
def test_a_page_that_cannot_be_is_not_found(console, page):
    browser, _ = console
    assert browser.get(f"/dev/audit?page={page}").status == 404


def test_a_list_that_ends_before_a_page_says_so(long):
    answer = long.get("/dev/audit?page=999")
    assert answer.status == 404
    assert "The list ends before page 999" in answer.text


def test_the_record_is_searched_whole_by_any_of_its_columns(long):
    assert objects(long, "/dev/audit?q=THING/7")[0][-1] == 7
    assert objects(long, "/dev/audit?q=%C3%89")[0][0] == 119  # É, in the details
    assert objects(long, "/dev/audit?q=100%25")[0] == []  # % is a character


@pytest.mark.parametrize("path", ["/dev/models/days", "/dev/tables", "/dev/runs", "/dev/alerts", "/dev/audit"])
def test_a_short_list_has_one_page(console, path):
    browser, _ = console
    answer = browser.get(path)
    assert answer.status == 200
    assert "page=" not in answer.text


def test_the_console_imports_nothing_heavy():
    code = "import sys, headrace.console.app; print([name for name in sys.argv[1:] if name in sys.modules])"
    heavy = ["pandas", "numpy", "pyarrow", "duckdb", "deltalake", "mlflow", "sqlglot"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
