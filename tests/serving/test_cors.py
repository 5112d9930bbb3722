"""Which pages of other origins a browser lets read answers: those that are declared, whatever the answer is."""

import http.client

import pytest
from tests.serving.conftest import manifest, serving
from tests.serving.listening import connected, one
from tests.serving.test_api_keys import made, project  # noqa: F401  # a fixture
from tests.serving.test_server import ROW

from headrace.core.errors import DeclarationError
from headrace.serving.cors import Cors
from headrace.serving.declarations import Serve

APP = "https://app.example"
BODY = {"instances": [list(ROW.values())]}
ALLOW = "access-control-allow-origin"


def asked(server, method, path="/invocations", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    finally:
        connection.close()


def preflight(server, origin, path="/invocations"):
    wanted = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    return asked(server, "OPTIONS", path, origin=origin, **wanted)


def test_a_page_that_is_declared_asks_with_its_token_and_may_read_refusals(home, project):  # noqa: F811
    token = made(project, "page")
    manifest(home, cors=[APP], max_body=2000)
    with serving(home, arguments=("--api-keys", project.file)) as server:
        for path in ("/invocations", "/v2/models/late/infer", "/nowhere"):
            status, headers, body = preflight(server, APP, path)
            assert (status, headers[ALLOW], headers["vary"], body) == (200, APP, "Origin", b"")
            names = headers["access-control-allow-headers"].split(", ")
            assert {"authorization", "content-type", "x-request-id", "traceparent"} <= set(names)
            assert "POST" in headers["access-control-allow-methods"].split(", ")
        status, _, said = server.ask("/invocations", BODY, headers={"origin": APP, "authorization": f"Bearer {token}"})
        assert status == 200
        assert said["access-control-allow-origin"] == APP
        exposed = set(said["access-control-expose-headers"].split(", "))
        assert {"x-headrace-version", "x-headrace-request", "x-request-id", "traceparent"} <= exposed
        assert asked(server, "POST", origin=APP)[0] == 401
        shown = {"origin": APP, "authorization": f"Bearer {token}"}
        for status, given in (
            (401, {"body": b"{}", "origin": APP}),
            (400, {"body": b"{", **shown}),
            (413, {"body": b"x" * 3000, **shown}),
            (415, {"body": b"{}", "content_encoding": "br", **shown}),
        ):
            found, headers, _ = asked(server, "POST", **given)
            assert (found, headers[ALLOW], headers["vary"]) == (status, APP, "Origin")
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil", f"{APP}, {APP}", ""])
def test_a_page_that_is_not_declared_is_told_nothing(home, project, origin):  # noqa: F811
    made(project, "page")
    manifest(home, cors=[APP])
    with serving(home, arguments=("--api-keys", project.file)) as server:
        for status, headers, _ in (preflight(server, origin), asked(server, "GET", "/health", origin=origin)):
            assert status in (200, 401)
            assert headers["vary"] == "Origin"
            assert not [name for name in headers if name.startswith("access-control")]
        assert preflight(server, origin)[0] == 401


def test_what_is_not_declared_changes_nothing_and_a_promotion_changes_it(home):
    with serving(home) as server:
        _, headers, _ = asked(server, "GET", "/health", origin=APP)
        assert not [name for name in headers if name.startswith("access-control") or name == "vary"]
        assert preflight(server, APP)[0] == 405
        manifest(home, cors=["*"])
        server.until(lambda: ALLOW in asked(server, "GET", "/health", origin=APP)[1])
        status, headers, _ = preflight(server, "https://any.example")
        assert (status, headers[ALLOW]) == (200, "*")
        assert "authorization" in headers["access-control-allow-headers"]
        assert not {"vary", "access-control-allow-credentials"} & set(headers)
        assert ALLOW not in asked(server, "GET", "/health")[1]


def test_a_refusal_of_the_connection_itself_can_be_read_too(listening):
    listening.listener.cors = Cors([APP])
    for status, more in (
        (413, "content-length: 99999\r\n\r\n"),
        (431, f"x-long: {'x' * 5000}\r\n\r\n"),
        (400, "x: 1\r\nx(: 1\r\n\r\n"),
    ):
        head = f"POST /a HTTP/1.1\r\nhost: x\r\norigin: {APP}\r\nx-request-id: 7\r\n{more}".encode()
        with connected(listening, head) as caller:
            found, headers, _ = one(caller)
        assert (found, headers[ALLOW], headers["x-request-id"]) == (status, APP, "7")


def test_a_refusal_says_whose_request_it_is_though_another_one_follows_in_the_same_bytes(listening):
    refused = b"GET /a HTTP/1.1\r\nx-request-id: 1\r\n\r\n"  # names no host
    with connected(listening, refused + b"GET /b HTTP/1.1\r\nhost: x\r\nx-request-id: 2\r\n\r\n") as caller:
        status, headers, _ = one(caller)
    assert (status, headers["x-request-id"]) == (400, "1")
    assert listening.echo.counted == [("/a", "GET", 400)]


@pytest.mark.parametrize(
    "origin", [
        APP + "/", APP + "/path", "app.example", "https://App.example", "https://app.example:443", "http://app.example:80",
        "https://*.example", "null", "", " https://app.example", "https://a@app.example", "https://app.example:0",
        "https://app.example:99999", "https://ümlaut.example", "https://app.example\r\nset-cookie: a=b", 7, None,
    ],
)  # fmt: skip
def test_what_no_browser_says_is_refused(origin):
    with pytest.raises(DeclarationError, match="is no origin") as refused:
        Serve(cors=[APP, origin])
    assert "https://app.example" in refused.value.hint
    assert str(refused.value).replace("\n", "").isprintable()


def test_lists_and_wildcards_are_said_as_they_are():
    with pytest.raises(DeclarationError, match="is one origin"):
        Serve(cors=APP)
    with pytest.raises(DeclarationError, match="every origin, and some"):
        Serve(cors=["*", APP])
    for fine in (
        ["*"],
        [APP, "http://localhost:3000", "http://[::1]:80".replace(":80", ":8080"), "chrome-extension://abc"],
    ):
        assert Serve(cors=fine).cors == tuple(fine)
