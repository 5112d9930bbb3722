"""What a caller says of a request comes back with every answer, and is in the log beside the name of its token."""

import pytest
from tests.serving.conftest import serving
from tests.serving.listening import connected, one
from tests.serving.test_api_keys import made, project  # noqa: F401  # a fixture
from tests.serving.test_server import ROW, logged

from headrace.inference.ingest import ingest
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.serving.caller import said

BODY = {"instances": [list(ROW.values())]}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SAID = {"x-request-id": "order-7/a", "traceparent": TRACE}


@pytest.mark.parametrize(
    "path", ["/invocations", "/predict", "/v2/models/late/infer", "/nowhere", "/ready", "/metrics"]
)
def test_it_comes_back_with_every_answer(home, path):
    with serving(home) as server:
        for body in (None, {}, BODY):
            _, _, headers = server.ask(path, body, headers=SAID)
            assert {name: headers[name] for name in SAID} == SAID


def test_it_is_logged_and_becomes_columns(home, project, tmp_path):  # noqa: F811
    token = made(project, "check-out")
    with serving(home, arguments=("--api-keys", project.file)) as server:
        shown = {"authorization": f"Bearer {token}"}
        _, _, told = server.ask("/invocations", BODY, headers={**SAID, **shown})
        _, _, without = server.ask("/invocations", BODY, headers=shown)
        assert told["x-headrace-request"] != told["x-request-id"] == "order-7/a"
        assert without["x-headrace-request"] == without["x-request-id"]
        assert server.ask("/invocations", BODY, headers={"x-request-id": "of a stranger"})[0] == 401
    first, second = sorted(logged(home), key=lambda each: each["at"])
    assert first["caller"] == {"request": "order-7/a", "trace": TRACE, "api_key": "check-out"}
    assert second["caller"] == {"api_key": "check-out"}
    lakehouse = Lakehouse("dev", str(tmp_path / "lake"))
    ingest(lakehouse, home.parent.parent / "spool" / "late", into="inference.late")
    rows = lakehouse.snapshot("inference.late").to_arrow().sort_by("requested_at").to_pylist()
    assert [[row[name] for name in ("client_request_id", "traceparent", "api_key")] for row in rows] == [
        ["order-7/a", TRACE, "check-out"],
        [None, None, "check-out"],
    ]
    assert rows[0]["request_id"] == told["x-headrace-request"]


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "ümlaut".encode().decode("latin-1")])
def test_what_is_not_well_formed_is_left_out(home, given):
    with serving(home) as server:
        _, _, headers = server.ask("/invocations", BODY, headers={"x-request-id": given, "traceparent": TRACE[:-1]})
        assert headers["x-request-id"] == headers["x-headrace-request"]
        assert "traceparent" not in headers
    assert "caller" not in logged(home)[0]


@pytest.mark.parametrize(
    "given",
    [f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", f"ff{TRACE[2:]}"],
)
def test_a_trace_that_w3c_calls_invalid_is_left_out(given):
    assert said({b"traceparent": given.encode(), b"x-request-id": b"7"}) == {"request": "7"}
    assert said({b"traceparent": TRACE.encode()}) == {"trace": TRACE}


def test_each_of_a_row_of_requests_gets_its_own_and_one_that_is_refused_too(listening):
    def head(path, number, more=""):
        return f"GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {number}\r\n{more}\r\n".encode()

    row = head("/a?wait=0.2", 1) + head("/b", 2) + head("/no", 3) + head("/c", 4, "content-length: 99999\r\n")
    with connected(listening, row) as caller:
        answers = [one(caller) for _ in range(4)]
    assert [(status, headers["x-request-id"]) for status, headers, _ in answers] == [
        (200, "1"),
        (200, "2"),
        (401, "3"),
        (413, "4"),
    ]
