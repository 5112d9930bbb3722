"""The access log: a line of JSON for each request, of which strangers write no part and which holds nobody up."""

import json
import os
import socket
import subprocess
import threading
import time

import pytest
from tests.serving.conftest import manifest, serving
from tests.serving.listening import connected, exactly, one, until, until_blank
from tests.serving.test_api_keys import made, project  # noqa: F401  # a fixture
from tests.serving.test_caller import SAID, TRACE
from tests.serving.test_server import ROW

from headrace.core.errors import DeclarationError
from headrace.serving.access_log import MOST, AccessLog
from headrace.serving.declarations import Serve
from headrace.serving.metrics import Counters

BODY = {"instances": [list(ROW.values())]}
NAMES = [
    "time", "method", "path", "status", "duration_ms", "request_bytes", "response_bytes", "request_id", "traceparent",
    "api_key", "model", "versions",
]  # fmt: skip


def lines(file):
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_each_request_is_a_line_with_the_name_of_its_token_and_no_secret(home, project, tmp_path):  # noqa: F811
    token, out = made(project, "check-out"), tmp_path / "out"
    with (
        out.open("wb") as stdout,
        serving(home, arguments=("--api-keys", project.file, "--access-log"), stdout=stdout) as server,
    ):
        shown = {"authorization": f"Bearer {token}"}
        _, _, told = server.ask("/invocations?key=secret", BODY, headers={**SAID, **shown})
        _, _, without = server.ask("/invocations", BODY, headers=shown)
        assert server.ask("/predict", BODY, headers={"authorization": "Bearer hr_wrong"})[0] == 401
        assert server.ask("/invocations", {"instances": [[1]]}, headers=shown)[0] == 400
        assert server.end()[0] == 0
    found = [each for each in lines(out) if each["path"] != "/ready"]
    assert [list(each) for each in found] == [NAMES] * 4
    assert [(each["method"], each["path"], each["status"]) for each in found] == [
        ("POST", "/invocations", 200),
        ("POST", "/invocations", 200),
        ("POST", "/predict", 401),
        ("POST", "/invocations", 400),
    ]
    assert [each["api_key"] for each in found] == ["check-out", "check-out", None, "check-out"]
    assert [(each["model"], each["versions"]) for each in found[:3]] == [("late", [1]), ("late", [1]), (None, [])]
    assert [each["request_id"] for each in found[:2]] == ["order-7/a", without["x-request-id"]]
    assert [each["traceparent"] for each in found[:2]] == [TRACE, None]
    assert found[0]["request_bytes"] == len(json.dumps(BODY))
    assert found[0]["response_bytes"] == int(told["content-length"])
    assert 0 < found[0]["duration_ms"] < 5000
    assert (
        abs(time.time() - time.mktime(time.strptime(found[0]["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 100
    )
    for secret in (token, "hr_wrong", "secret"):
        assert secret.encode() not in out.read_bytes()


def test_a_version_may_declare_it_and_without_either_there_is_none(home, tmp_path):
    out = tmp_path / "out"
    with out.open("wb") as stdout, serving(home, stdout=stdout) as server:
        server.ask("/invocations", BODY)
        manifest(home, access_log=True)
        server.until(lambda: server.ask("/health") and out.stat().st_size)
        manifest(home, access_log=False)
        server.until(lambda: server.counted("model_reloads") == 2)
        time.sleep(0.1)  # what was noted before is written by now
        size = out.stat().st_size
        server.ask("/invocations", BODY)
        server.end()
    assert out.stat().st_size == size
    assert "/invocations" not in {each["path"] for each in lines(out)}


def test_processes_at_one_port_write_whole_lines(home):
    with serving(home, arguments=("--processes", "2", "--access-log"), stdout=subprocess.PIPE) as server:
        read = []
        reader = threading.Thread(target=lambda: read.extend(server.process.stdout))
        reader.start()
        for number in range(200):
            server.ask(f"/{number}/{'x' * 900}")
        server.process.terminate()
        reader.join(30)
    found = [json.loads(line)["path"] for line in read]
    assert len([path for path in found if path.endswith("x...")]) == 200


class Logged:
    def __init__(self, listening):
        self.listening, self.counters = listening, Counters()
        self.theirs, ours = os.pipe()
        self.log = AccessLog(self.counters, ours)
        self.ours = ours
        listening.listener.observers = (self.log,)

    def end(self):
        """What was written until now."""

        async def end():
            self.log.end()

        self.listening.call(end())
        os.close(self.ours)
        with os.fdopen(self.theirs, "rb") as read:
            return read.read()


@pytest.fixture
def logged(listening):
    return Logged(listening)


@pytest.mark.parametrize(
    "target",
    [
        b"/\xe2\x80\xa8a",
        b"/\x85a",
        b"/a\xc2\x9b2J",
        b'/a"},{"status":500',
        b"/a\\u000a",
        b"/%0d%0a",
        b"/" + b"a" * 3000,
    ],
)
def test_what_strangers_write_ends_no_line_and_steers_no_terminal(logged, target):
    head = b"GET " + target + b' HTTP/1.1\r\nhost: x\r\nx-request-id: a\tb\r\ntraceparent: {"a":1}\r\n\r\n'
    with connected(logged.listening, head) as caller:
        status = one(caller)[0]
    read = logged.end()
    assert read.count(b"\n") == 1
    assert read.rstrip(b"\n").decode("ascii").isprintable()
    (line,) = map(json.loads, read.splitlines())
    assert list(line) == NAMES
    assert (line["status"], line["request_id"], line["traceparent"]) == (status, None, None)
    assert len(read) < 4096


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GARBAGE\r\n\r\n", (None, "", 400)),
        (b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n", ("POST", "/a", 413)),
        (b"POST /a?b=c HTTP/1.1\r\nx: " + b"x" * 5000 + b"\r\n\r\n", ("POST", "/a", 431)),
        (b"POST /a HTTP/1.1\r\nhost: x\r\n", ("POST", "/a", 408)),
        (b"GET /no HTTP/1.1\r\nhost: x\r\n\r\n", ("GET", "/no", 401)),
        (b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n", ("HEAD", "/a", 200)),
    ],
)
def test_refusals_are_logged_too(logged, sent, expected):
    with connected(logged.listening, sent) as caller:
        assert caller.recv(1)
    (line,) = map(json.loads, logged.end().splitlines())
    assert (line["method"], line["path"], line["status"]) == expected
    assert (line["response_bytes"] == 0) == (expected[0] == "HEAD")


def test_a_caller_who_is_gone_is_a_line_without_a_status(logged):
    with connected(logged.listening, b"GET /a?wait=30 HTTP/1.1\r\nhost: x\r\n\r\n"):
        until(lambda: logged.listening.echo.seen)
    until(lambda: not logged.listening.listener.connections)
    (line,) = map(json.loads, logged.end().splitlines())
    assert (line["path"], line["status"], line["response_bytes"]) == ("/a", None, 0)


def test_an_output_that_nobody_reads_holds_no_request_up_and_is_counted(logged):
    head = b"GET /" + b"x" * 500 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    many = MOST // 700
    with connected(logged.listening) as caller:
        for _ in range(many // 50):
            caller.sendall(head * 50)
            for _ in range(50):
                status, _, body = quick(caller)
                assert status == 200, body
            if logged.counters.access_log_dropped:
                break
    assert logged.counters.access_log_dropped
    began = time.monotonic()
    reader = threading.Thread(target=logged.log._thread.join, args=(5,))
    reader.start()

    async def end():
        logged.log.end()

    logged.listening.call(end())
    assert time.monotonic() - began < 3
    os.close(logged.theirs)  # who waited to write is told so
    reader.join()
    os.close(logged.ours)


def quick(caller):
    head = until_blank(caller).decode()
    length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), {}, exactly(caller, length)


def test_what_is_neither_yes_nor_no_is_refused():
    for name in ("access_log", "traces"):
        with pytest.raises(DeclarationError, match=f"{name}='stdout'"):
            Serve(**{name: "stdout"})


def test_who_leaves_while_the_body_comes_is_a_line_and_counted(home, tmp_path):
    out = tmp_path / "out"
    with out.open("wb") as stdout, serving(home, arguments=("--access-log",), stdout=stdout) as server:
        head = b"POST /invocations HTTP/1.1\r\nhost: x\r\nx-request-id: left\r\ncontent-length: 50\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", server.port), 60) as caller:
            caller.sendall(head)
        counted = 'headrace_http_requests_total{model="late",path="/invocations",method="POST",status="499"} 1'
        server.until(lambda: counted in server.ask("/metrics")[1])
        server.until(lambda: [each["status"] for each in lines(out) if each["request_id"] == "left"] == [None])
