"""The widget in a real browser, on a page of another origin: what is clicked and written is in the table."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.support.browser import page

import headrace as hr

from .conftest import manifest, serving
from .test_feedback import ask, declare, table

HOSTILE = "<img src=x onerror=alert(1)> '; drop table metrics.feedback; --\n" + "é\u202e" * 100


class Site(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.body.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    """Another origin, which has one page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def widget(home, site, *, allowed=True, **attributes):
    """The page with the widget on an answer; gives the page, and the id of the answer."""
    origin = f"http://127.0.0.1:{site.server_port}"
    declare(home, hr.Feedback("thumbs", "correction", widget=True))
    manifest(home, cors=[origin] if allowed else [])
    with serving(home) as server:
        prediction = ask(server, home)
        written = {"model": "late", "prediction": prediction, **attributes}
        given = " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in written.items())
        site.body = f"""<!doctype html><meta charset="utf-8"><title>An assistant</title>
            <script src="http://127.0.0.1:{server.port}/feedback.js" defer></script>
            <headrace-feedback {given}></headrace-feedback>"""
        with page() as opened:
            opened.goto(origin)
            yield opened, prediction


def said(opened, words):
    opened.get_by_role("status").filter(has_text=words).wait_for()


def test_a_click_and_a_correction_are_rows_of_the_answer(home, site, tmp_path):
    with widget(home, site, user="ann", correction="") as (opened, prediction):
        down = opened.get_by_role("button", name="Bad answer")
        down.click()
        said(opened, "Thank you.")
        assert down.get_attribute("aria-pressed") == "true"
        opened.get_by_label("What would have been right?").fill(HOSTILE)
        opened.get_by_role("button", name="Send").click()
        opened.get_by_role("textbox").wait_for(state="detached")
        assert opened.locator("img").count() == 0
    rows = {each["kind"]: each for each in table(home, tmp_path)}
    assert {each["prediction_id"] for each in rows.values()} == {prediction}
    assert (rows["thumbs"]["value"], rows["correction"]["text"]) == (0.0, HOSTILE)
    assert {each["source"] for each in rows.values()} == {"widget"}
    assert rows["thumbs"]["user"] not in (None, "ann")


def test_the_keyboard_is_enough_and_the_last_word_is_sent_too(home, site, tmp_path):
    with widget(home, site) as (opened, _):
        opened.keyboard.press("Tab")
        opened.keyboard.press("Tab")
        opened.keyboard.press("Enter")
        said(opened, "Thank you.")
        assert opened.get_by_role("textbox").count() == 0  # nobody asked for corrections
        opened.keyboard.press("Shift+Tab")
        with opened.expect_response(lambda answer: answer.request.method == "POST") as sent:
            opened.keyboard.press("Space")
        assert sent.value.status == 202
        pressed = [each.get_attribute("aria-pressed") for each in opened.get_by_role("button").all()]
        assert pressed == ["true", "false"]
    assert sorted(each["value"] for each in table(home, tmp_path)) == [0.0, 1.0]


def test_what_a_page_writes_around_it_is_text(home, site):
    words = "&lt;img src=x onerror=alert(1)&gt;"
    with widget(home, site, thanks=words, up=words) as (opened, _):
        opened.get_by_role("button").first.click()
        said(opened, "<img src=x")
        assert opened.locator("img").count() == 0


def test_a_page_of_an_origin_that_is_not_declared_says_that_nothing_was_sent(home, site, tmp_path):
    with widget(home, site, allowed=False) as (opened, _):
        opened.get_by_role("button", name="Good answer").click()
        said(opened, "Not sent.")
    assert table(home, tmp_path) == []


def test_a_server_that_is_away_for_a_moment_is_asked_again_with_the_same_id(home, site, tmp_path):
    with widget(home, site) as (opened, _):
        failed = []

        def first(route):
            if failed:
                route.continue_()
            else:
                failed.append(route.request.post_data_json["id"])
                route.abort()

        opened.route("**/feedback", first)
        with opened.expect_response(lambda answer: answer.request.method == "POST") as sent:
            opened.get_by_role("button", name="Good answer").click()
        said(opened, "Thank you.")
        assert sent.value.request.post_data_json["id"] == failed[0]
    assert len(table(home, tmp_path)) == 1
