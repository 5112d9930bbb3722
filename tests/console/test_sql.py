"""SQL in the console: answers, pictures, files, saved queries, cancelling; and what somebody hostile would ask."""

import asyncio
import csv
import io
import json
import re
import shutil
import threading
from contextlib import ExitStack
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pyarrow.parquet as pq
import pytest
from tests.console.conftest import HOST, Links

from headrace.core import vault
from headrace.operations.operation import At
from headrace.operations.saved_queries import list_queries, save_query

ODD = 'it\'s "<script>alert(1)</script>"/../x & 100% 🚀'
SLOW = "select count(*) as n from range(1000000) a, range(1000000) b where a.range <> b.range"


class Page:
    """The page for SQL, filled in and sent as its form would be."""

    def __init__(self, browser, env="dev"):
        self.browser, self.env = browser, env

    def send(self, text, path="", **fields):
        form = self.browser.form(f"/{self.env}/sql")
        named = {name.replace("__", "."): value for name, value in fields.items()}
        return self.browser.post(f"/{self.env}/sql{path}", form=form, text=text, **named)


@pytest.fixture
def sql(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        yield Page(browser)


def body(browser, path, fields):
    """The bytes of an answer, which need not be text."""
    parts, sent = urlsplit(path), []
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", HOST.encode()), (b"cookie", cookie.encode())],
        "server": ("127.0.0.1", 8765),
        "client": ("127.0.0.1", 5),
    }

    async def receive():
        return {"type": "http.request", "body": urlencode(fields).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(browser.app(scope, receive, send))
    start, *rest = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(each.get("body", b"") for each in rest)


def rows(page):
    return [
        re.findall(r"<td[^>]*>(.*?)</td>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", page.partition("<h2>Answer")[2])
    ]


def test_an_answer_is_a_table_below_the_text(sql):
    found = sql.send("select customer, count(*) as orders\r\nfrom shop.orders group by all order by 1")
    assert found.status == 200
    assert '<th scope="col">customer</th>' in found.text
    assert "from shop.orders group by all order by 1</textarea>" in found.text
    assert " rows.</p>" in found.text
    assert Links(found.text).loads == ["/-/icon.svg", "/-/console.css", "/-/sql.js"]


def test_the_first_rows_are_shown_and_all_are_counted(sql):
    found = sql.send("select range as n from range(1234)").text
    assert "1,234 rows, the first 500 shown." in found
    assert (found.count('<td class="number">'), ">499</td>" in found, ">500</td>" in found) == (500, True, False)
    wide = sql.send(f"select {', '.join(f'{n} as c{n}' for n in range(130))}").text
    assert "1 row; 30 more columns are in the files." in wide


def test_numbers_are_shown_as_they_are(sql):
    found = sql.send(
        "select 2026 as year, 1234567 as id, 0.00001::double as small, 0.0::double as none, 0.25::double as share"
    )
    assert rows(found.text)[1] == ["2026", "1234567", "1e-05", "0.0000", "0.2500"]


def test_a_text_that_is_too_long_is_refused_before_it_is_read(sql):
    text = f"select :v as v {'/* ' * 100_000}"
    for path, fields in {"": {}, "/csv": {}, "/save": {"save_as": "long"}}.items():
        found = sql.send(text, path, **fields)
        assert (found.status, "300,015 characters" in found.text) == (422, True)
        assert 'name="value.v"' not in found.text


def test_rows_that_share_a_cell_of_a_heat_map_are_told(sql):
    found = sql.send("select range % 2 as x, range % 3 as y, range as n from range(8)", chart="heat map").text
    assert "2 rows are not shown, since a later one has the same x and y" in found
    found = sql.send("select range % 2 as x, range % 3 as y, range as n from range(6)", chart="heat map").text
    assert "not shown, since" not in found


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("", 422, "there is no statement"),
        ("selekt 1", 422, "syntax error"),
        ("select nothing from shop.orders", 422, "there is no column &#39;nothing&#39;"),
        ("select * from shop.order", 422, "did you mean &#39;shop.orders&#39;"),
        ("attach 'x.db'", 422, "ATTACH is not a SELECT"),
        ("copy shop.orders to '/tmp/x.csv'", 422, "COPY is not a SELECT"),
        ("select 1; drop table shop.orders", 422, "more than one statement"),
        ("insert into shop.orders values (1)", 422, "INSERT is not a SELECT"),
        ("set memory_limit = '1TB'", 422, "SET is not a SELECT"),
        ("select * from read_csv('/etc/passwd')", 422, "reads something that is not a declared table"),
        ("select * from '/etc/passwd'", 422, "is not a declared table"),
        ("select * from read_text('/etc/hostname')", 422, "reads something that is not a declared table"),
        ("select getenv('HOME')", 422, "getenv"),
        ("select * from duckdb_secrets()", 422, "reads something that is not a declared table"),
        (f"select {'(' * 3000}1{')' * 3000}", 422, "depth limit"),
        ("select \0", 422, "zero byte"),
        ("show tables", 422, "headrace table list"),
        ("select * from range(100000)", 422, "the answer has more than 10,000 rows"),
        ("select 1 as a, 2 as a", 422, "more than one column &#39;a&#39;"),
    ],
    ids=range(19),
)
def test_what_cannot_be_answered_is_told_and_the_text_stays(sql, text, status, told):
    found = sql.send(text)
    assert (found.status, told in found.text) == (status, True), found.text[:3000]
    assert "Traceback" not in found.text
    kept = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", found.text, re.DOTALL)[1]
    assert kept.replace("&#39;", "'") == text


def test_a_question_that_takes_too_long_ends(sql):
    found = sql.send(SLOW, seconds="1")
    assert (found.status, "took longer than 1 seconds" in found.text) == (422, True)
    assert "from range(1000000) a" in found.text
    assert "Seconds and Rows below" in found.text


@pytest.mark.parametrize(
    ("field", "value"), [("seconds", "0"), ("seconds", "601"), ("rows", "1e9"), ("rows", "9" * 5000), ("chart", "pie")]
)
def test_a_limit_that_is_none_is_told(sql, field, value):
    found = sql.send("select 1 as n", **{field: value})
    assert (found.status, value[:20] in found.text) == (422, True)


def test_a_text_of_ten_megabytes_is_refused_before_it_is_read(sql):
    found = sql.send("x" * 10_000_000)
    assert (found.status, "1 MiB" in found.text) == (413, True)
    many = sql.send("select 1", **{f"f{n}": "x" for n in range(200)})
    assert (many.status, "at most 100 fields" in many.text) == (413, True)


def test_values_are_bound_and_their_fields_appear(sql):
    text = "select customer, :v as v from shop.orders where id = :n"
    first = sql.send(text)
    assert (first.status, "there is no value for :v" in first.text) == (422, True)
    assert 'name="value.v"' in first.text
    hostile = "x'; drop table shop.orders; --<script>"
    found = sql.send(text, value__v=hostile, value__n="7", kind__n="number")
    assert found.status == 200, found.text
    assert rows(found.text)[1][1] == "x&#39;; drop table shop.orders; --&lt;script&gt;"
    assert 'value="x&#39;; drop table' in found.text
    wrong = sql.send(text, value__v="", value__n="seven", kind__n="number")
    assert (wrong.status, "is no number: &#39;seven&#39;" in wrong.text) == (422, True)
    assert sql.send(text, value__v="", value__n="1", kind__n="boolean").status == 422


NUMBERS = "select range as n, range * range as square, date '2026-01-01' + range::int as day, 'g' || range % 3 as g from range(30)"


@pytest.mark.parametrize(
    ("chart", "fields", "seen"),
    [
        ("line", {}, "<polyline"),
        ("line", {"x": "day", "y": "square, n"}, 'class="legend"'),
        ("bar", {"x": "g", "y": "square"}, "<title>g1: 1</title>"),
        ("scatter", {"x": "n", "y": "square"}, "<circle"),
        ("histogram", {"x": "square"}, "30 values of square from 0 to 841"),
        ("heat map", {"x": "g", "y": "n", "value": "square"}, '<td class="h9">841</td>'),
        ("line", {"x": "g"}, "&#39;g&#39; has neither numbers nor days nor moments"),
        ("bar", {"y": "<b>"}, "The answer has no column &#39;&lt;b&gt;&#39;. There is n, square, day, g."),
    ],
)
def test_an_answer_is_drawn_beside_its_table(sql, chart, fields, seen):
    found = sql.send(NUMBERS, chart=chart, **fields)
    assert found.status == 200
    assert seen in found.text, found.text
    assert "30 rows.</p>" in found.text


@pytest.mark.parametrize("chart", ["line", "bar", "scatter", "histogram", "heat map"])
@pytest.mark.parametrize(
    "text",
    [
        "select 1 as n where false",
        "select 'a' as t",
        "select null as n, null as m, null as o",
        "select 'nan'::double as n, 'inf'::double as m, '-inf'::double as o",
        "select 1e308 as a, -1e308 as b, 1e308 as c union all select -1e308, 1e308, -1e308",
        "select [1,2] as l, {'a': 1} as s, interval 1 day as i, 'infinity'::timestamp as t, true as b",
        "select 1 as a, 1 as b, 1 as c",
        "select 0.0 as a, 0.0 as b, 5e-324 as c union all select 5e-324, 5e-324, 0.0",
        "select 170141183460469231731687303715884105727::hugeint as h, 1.5::decimal(38,2) as d, '<b>' as t",
        "select date '2026-01-01' as d, 1 as n union all select null, 2",
        "select 'infinity'::date as d, 1 as n union all select '0001-01-01 (BC)'::date, 2",
    ],
    ids=range(11),
)
def test_any_answer_is_drawn_or_the_reason_is_told(sql, text, chart):
    found = sql.send(text, chart=chart)
    assert found.status == 200, found.text
    assert "<b>" not in found.text
    assert (
        "<svg" in found.text or 'class="heat"' in found.text or '<p class="none">' in found.text.partition("Answer")[2]
    )


def test_csv_holds_every_row_and_no_formula(sql):
    text = (
        "select * from (values ('=1+1', -1.5, 'a\"b,c'), ('+x', 2, '-2'), ('@y', null, '🚀'), ('-z', 3, chr(9) || 'q'), ('=1', 4, '@5'), ('+6', 5, '-1.5')) "
        't("=cmd", n, t)'
    )
    found = sql.send(text, "/csv")
    assert (found.status, found.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert found.headers["content-disposition"] == "attachment; filename=\"query.csv\"; filename*=UTF-8''query.csv"
    assert list(csv.reader(io.StringIO(found.text, newline=""))) == [
        ["'=cmd", "n", "t"],
        ["'=1+1", "-1.5", 'a"b,c'],
        ["'+x", "2.0", "-2"],
        ["'@y", "", "🚀"],
        ["'-z", "3.0", "'\tq"],
        ["'=1", "4.0", "'@5"],
        ["+6", "5.0", "-1.5"],
    ]
    assert sql.send("select range as n from range(3000)", "/csv").text.count("\r\n") == 3001


def test_csv_writes_every_type(sql):
    text = (
        "select [1,2] as l, {'a': date '2026-01-01'} as s, timestamp '2026-01-01 10:00' as t, true as b, "
        "'\\xAA'::blob as x, 'infinity'::timestamp as i, '=x' as f, interval 1 day as d"
    )
    (_, values) = csv.reader(io.StringIO(sql.send(text, "/csv").text, newline=""))
    assert values[:7] == ["[1, 2]", '{"a": "2026-01-01"}', "2026-01-01T10:00:00", "True", "aa", "infinity", "'=x"]


def test_parquet_has_values_as_they_are(sql):
    form = sql.browser.form("/dev/sql")
    fields = {
        "form": form,
        "text": "select '=1' as t, [1,2] as l, :d as d",
        "value.d": "2026-01-31",
        "kind.d": "date",
        "name": ODD,
    }
    status, headers, content = body(sql.browser, "/dev/sql/parquet", fields)
    assert (status, headers["content-type"]) == (200, "application/vnd.apache.parquet")
    named = headers["content-disposition"]
    assert named.isascii()
    assert "/" not in named.partition("filename=")[2].partition(";")[0]
    assert unquote(named.partition("UTF-8''")[2]).endswith("🚀.parquet")
    (row,) = pq.read_table(io.BytesIO(content)).to_pylist()
    assert (row["t"], row["l"], row["d"].isoformat()) == ("=1", [1, 2], "2026-01-31")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_has_a_largest_size(sql, ending):
    found = sql.send("select repeat('x', 3000000) || range as t from range(100)", f"/{ending}")
    assert (found.status, "a file is made of at most 256" in found.text) == (422, True)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_that_cannot_be_made_is_a_page_with_the_reason(sql, ending):
    found = sql.send("select nothing", f"/{ending}")
    assert (found.status, found.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "select nothing</textarea>" in found.text


def test_a_query_is_saved_found_changed_and_deleted(sql, tmp_path):
    text = "select count(*) as n from shop.orders where id < :most"
    fields = {"value__most": "10", "kind__most": "number", "chart": "bar", "y": "n"}
    done = sql.send(text, "/save", save_as=ODD, **fields)
    assert (done.status, done.headers["location"]) == (303, f"/dev/sql?saved={quote(ODD, safe='')}")
    assert parse_qs(urlsplit(done.headers["location"]).query) == {"saved": [ODD]}
    shown = sql.browser.get(done.headers["location"])
    assert (shown.status, "<script>alert" in shown.text) == (200, False)
    assert text.replace("<", "&lt;") in shown.text
    assert 'name="value.most" value="10"' in shown.text
    (link,) = [each for each in Links(sql.browser.get("/dev/sql").text).links if "?saved=" in each]
    assert sql.browser.get(link).text.count("Delete it&#39;s") == 1

    changed = sql.send("select 2 as n", "/save", save_as=ODD, name=ODD, version="1")
    assert changed.status == 303
    late = sql.send("select 3 as n", "/save", save_as=ODD, name=ODD, version="1")
    assert (late.status, "it is version 2 now, not 1" in late.text) == (409, True)
    assert "select 3 as n</textarea>" in late.text
    taken = sql.send("select 3 as n", "/save", save_as=ODD)
    assert (taken.status, "there is a saved query" in taken.text) == (409, True)
    assert sql.send("", "/delete", name=ODD, version="1").status == 409
    assert [each.sql for each in list_queries(At(folder=tmp_path / "mini"))] == ["select 2 as n"]
    assert sql.send("", "/delete", name=ODD, version="2").headers["location"] == "/dev/sql"
    assert sql.browser.get(link).status == 404
    assert "None is saved yet" in sql.browser.get("/dev/sql").text


@pytest.mark.parametrize(("name", "text"), [("", "select 1 as n"), ("a\x1b[31m", "select 1 as n"), ("x", "select :")])
def test_what_cannot_be_saved_is_told_and_stays(sql, name, text):
    found = sql.send(text, "/save", save_as=name)
    assert (found.status, f"{text}</textarea>" in found.text) == (422, True)


def test_without_a_role_one_asks_and_does_not_save(console, made):
    browser, tokens = console
    folder, _ = made
    with vault.bearing(tokens["eng"]):
        page = Page(browser)
        assert page.send("select 1 as one").status == 200
    with vault.bearing(tokens["admin"]):  # who enrols people, and does nothing else
        refused = Page(browser).send("select 1 as one", "/save", save_as="mine")
    assert (refused.status, "select 1 as one</textarea>" in refused.text) == (403, True)
    assert list_queries(At(folder=folder)) == []


def test_only_a_form_of_this_console_asks(sql):
    for path in ("", "/csv", "/parquet", "/save", "/delete", "/cancel"):
        found = sql.browser.post(f"/dev/sql{path}", text="select 1", form="0" * 64)
        assert (found.status, "Nothing was done" in found.text) == (403, True)


def test_a_question_is_cancelled_by_the_browser_that_asked_it(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        form, found = browser.form("/dev/sql"), []
    asked = {"form": form, "text": SLOW, "seconds": "300", "question": "q1"}

    def run():
        with vault.bearing(tokens["ana"]):
            found.append(browser.post("/dev/sql", **asked))

    thread = threading.Thread(target=run)
    thread.start()
    running = browser.app.state.running
    with vault.bearing(tokens["ana"]):
        other = type(browser)(browser.app)
        while not running._cancelled:
            pass
        assert other.post("/dev/sql/cancel", form=other.form("/dev/sql"), question="q1").status == 404
        assert browser.post("/dev/sql", **asked).status == 409
        assert browser.post("/dev/sql/cancel", form=form, question="q2").status == 404
        assert browser.post("/dev/sql/cancel", form=form, question="q1").status == 204
        thread.join()
        assert browser.post("/dev/sql/cancel", form=form, question="q1").status == 404
    (answer,) = found
    assert (answer.status, "the question was cancelled" in answer.text) == (422, True)
    assert "from range(1000000) a" in answer.text


def test_so_many_questions_at_once_and_no_more(sql):
    running = sql.browser.app.state.running
    with ExitStack() as stack:
        for number in range(4):
            stack.enter_context(running.answering("elsewhere", f"{number}"))
        found = sql.send("select 1 as n")
        assert (found.status, "is answering 4 questions" in found.text) == (503, True)
    assert sql.send("select 1 as n").status == 200


def test_names_are_those_that_may_be_read(sql):
    found = sql.browser.get("/dev/sql/names")
    assert found.headers["content-type"] == "application/json"
    assert {"id", "customer"} <= set(json.loads(found.text)["shop.orders"])


def test_a_lakehouse_that_is_gone_is_told_and_the_text_stays(sql, tmp_path):
    save_query(At(folder=tmp_path / "mini"), "kept", "select 1 as n")
    shutil.rmtree(tmp_path / "mini" / ".headrace" / "dev" / "lakehouse", ignore_errors=True)
    found = sql.send("select * from shop.orders")
    assert (found.status, "Traceback" in found.text) == (403, False)
    assert "select * from shop.orders</textarea>" in found.text
    assert sql.browser.get("/dev/sql?saved=kept").status == 200
