"""What every host does, against a server that keeps to what the host documents."""

import pytest
from tests.support.merge_requests import PASSED, TOKEN, GitHubHost

from headrace.ci_hosts.client import Client
from headrace.ci_hosts.comment import comment, length, marker
from headrace.ci_hosts.known import host_of
from headrace.ci_hosts.publish import publish
from headrace.ci_hosts.report import read_report
from headrace.core.errors import (
    ConfigError,
    HeadraceError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)

MARKER = "<!-- headrace:integration:shop:staging -->"


@pytest.fixture
def paused():
    return []


@pytest.fixture
def request_(variables, monkeypatch, paused):
    """The merge request as the product opens it, whose pauses take no time."""
    for name in ("GITHUB_TOKEN", "HEADRACE_GITLAB_TOKEN", "GITLAB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        if name in variables:
            monkeypatch.setenv(name, variables[name])
    opened = host_of(variables).open(variables)
    shared = vars(opened.client)
    quick = Client(**{**shared, "pause": paused.append, "time_out": 5.0})
    return type(opened)(**{**vars(opened), "client": quick})


@pytest.fixture
def post(request_, written, paused):
    def post(**changes):
        report = read_report(written(**changes))
        text = comment(report, limit=request_.limit)
        return publish(request_, marker(report), text, pause=paused.append)

    return post


def test_a_second_run_updates_the_comment_of_the_first(host, post):
    first, text = post(), host.notes[0]["body"]
    second = post(**PASSED)

    assert (first, second) == ("created", "updated")
    assert [each["body"].startswith(f"{MARKER}\n") for each in host.notes] == [True]
    assert "Failed at step train" in text
    assert "**Passed**" in host.notes[0]["body"]


def test_another_environment_has_another_comment(host, post):
    post()
    assert post(environment="prod") == "created"
    assert len(host.notes) == 2


def test_the_comment_is_found_beyond_the_first_pages(host, post):
    host.notes += [{"id": number + 1, **host.somebody(), "body": "hello"} for number in range(230)]
    host.notes.append({"id": 231, **host.author(), "body": f"{MARKER}\nold"})

    assert post() == "updated"
    assert len([path for verb, path in host.asked("GET") if "per_page" in path]) == 3
    assert "Failed" in host.notes[230]["body"]


def test_the_comment_of_somebody_else_is_left_alone(host, post):
    host.notes.append({"id": 1, **host.somebody(), "body": f"{MARKER}\nmine"})
    host.notes.append({"id": 2, **host.author(), "body": f"look:\n{MARKER}"})

    assert post() == "created"
    assert [each["body"] for each in host.notes[:2]] == [f"{MARKER}\nmine", f"look:\n{MARKER}"]


def test_a_comment_that_was_just_removed_is_made_again(host, post):
    host.notes.append({"id": 1, **host.author(), "body": MARKER})
    host.answers += [None, None, lambda handler: (host.notes.clear(), handler.say(404, {}, {"message": "gone"}))]

    assert post() == "created"
    assert len(host.notes) == 1


def test_a_comment_that_was_made_and_not_confirmed_is_not_made_twice(host, post):
    host.done_but_failed = 1

    assert post() == "updated"
    assert len(host.notes) == 1


def test_a_host_that_fails_for_a_while_is_asked_again(host, post, paused):
    host.answers += [None, (503, {}, None), (500, {}, b"<html>oops</html>")]

    assert post() == "created"
    assert paused == [1.0, 2.0]


def test_a_host_that_goes_on_failing_is_reported(host, post):
    host.answers += [(502, {}, None)] * 4

    with pytest.raises(UnavailableError, match="answered 502"):
        post()
    assert len(host.requests) == 4


@pytest.mark.parametrize("status", [429, 403])
def test_it_waits_for_as_long_as_a_limit_asks(host, post, paused, status):
    host.answers += [None, (status, {"Retry-After": "7"}, {"message": "slow down"})]

    assert post() == "created"
    assert paused == [7.0]


def test_a_limit_of_posts_is_waited_for_too(host, post, paused):
    host.answers += [None, None, (429, {"Retry-After": "2"}, None)]

    assert post() == "created"
    assert paused == [2.0]
    assert len(host.notes) == 1


def test_it_does_not_wait_for_an_hour(host, post, paused):
    host.answers += [(429, {"Retry-After": "3600"}, None)]

    with pytest.raises(RateLimitedError, match="too many requests") as raised:
        post()
    assert raised.value.retry_after == 3600
    assert "3,600 s" in raised.value.hint
    assert paused == []


def test_a_moment_of_retry_after_in_the_past_is_no_wait(host, post, paused):
    host.answers += [(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None)]

    assert post() == "created"
    assert paused == [0.0]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, RefusedError, "does not know the token"),
        (403, RefusedError, "does not allow"),
        (404, NotFoundError, "no path"),
        (422, HeadraceError, "answered 422"),
    ],
)
def test_a_refusal_says_what_is_missing_and_shows_no_token(host, post, status, kind, said):
    refusal = (status, {}, {"message": f"no: {TOKEN}"})
    host.answers += [None, refusal]

    with pytest.raises(kind, match=said) as raised:
        post()
    assert TOKEN not in f"{raised.value!s}{raised.value!r}{raised.value.__cause__}{raised.value.__context__!r}"
    if status in (401, 403, 404):
        assert "pull-requests: write" in str(raised.value) or "`api`" in str(raised.value)


@pytest.mark.parametrize("at", ["list", "post"])
def test_no_other_host_gets_the_token(host, post, at):
    from tests.support.merge_requests import running

    with running(type(host)) as other:
        away = (307, {"Location": f"{other.url}/repos/shop/shop/issues/7/comments"}, None)
        host.answers += [None, away] if at == "list" else [None, None, away]
        with pytest.raises(RefusedError, match="token is not sent there"):
            post()
        assert other.requests == []


def test_on_the_same_host_a_redirection_is_followed(host, post):
    host.answers += [None, (301, {"Location": f"{host.numbered}?per_page=100&page=1"}, None)]

    assert post() == "created"


def test_redirections_in_a_circle_end(host, post):
    host.answers += [None, *[(302, {"Location": host.numbered}, None)] * 40]

    with pytest.raises(UnavailableError, match="again and again"):
        post()


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1]", b'[{"id": "x"}]', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none_is_reported(host, post, body):
    host.answers += [None, (200, {}, body)]
    if body.startswith(b"[{"):  # an own comment without a number
        author = host.author()
        host.answers[-1] = (200, {}, [{"id": "x", **author, "body": MARKER}])

    with pytest.raises(UnavailableError, match="answered"):
        post()


def test_a_host_that_hangs_up_is_asked_again_and_then_reported(host, post):
    def hang_up(handler):
        handler.close_connection = True
        handler.connection.close()

    host.answers += [hang_up] * 4
    with pytest.raises(UnavailableError, match=r"broke off|cannot be reached"):
        post()


def test_nobody_listening_is_reported(host, post, request_):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = Client(**{**vars(request_.client), "url": f"http://127.0.0.1:{port}"})
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}.* cannot be reached"):
        gone.ask("GET", "/user")


def test_a_host_that_does_not_answer_is_not_waited_for(request_):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        slow = Client(**{**vars(request_.client), "url": f"http://127.0.0.1:{port}", "time_out": 0.2})
        with pytest.raises(UnavailableError, match="did not answer in time"):
            slow.ask("GET", "/user")


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "pässword"])
def test_a_token_that_is_none_is_refused_and_not_shown(request_, token):
    with pytest.raises(ConfigError) as raised:
        Client(**{**vars(request_.client), "secret": token, "token": ("Authorization", token)})
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize("url", ["ftp://host", "http://u:p@host", "host", "http://", "http://host:0", "http://h h"])
def test_an_address_that_is_none_is_refused(request_, url):
    with pytest.raises(ConfigError, match="address of"):
        Client(**{**vars(request_.client), "url": url})


def test_the_longest_log_is_taken(host, post, request_):
    line = "💥" * 500 + "<&@|*`" * 50
    failed = {"step": "train", "result": "failed", "seconds": 1, "summary": "", "reason": "", "log": f"{line}\n" * 2000}
    assert post(steps=[failed]) == "created"

    body = host.notes[0]["body"]
    assert length(body) <= request_.limit
    assert length(body) > request_.limit * 0.4
    assert "beginning of the log was left out" in body


def test_on_github_the_token_of_a_person_finds_the_comments_of_that_person(host, post):
    if isinstance(host, GitHubHost):
        host.bot = False
        host.notes.append({"id": 1, "user": {"login": "github-actions[bot]", "type": "Bot"}, "body": MARKER})
        assert [post(), post()] == ["created", "updated"]
    else:
        assert [post(), post()] == ["created", "updated"]
    assert all(TOKEN in str(headers) for _, _, headers, _ in host.requests)
