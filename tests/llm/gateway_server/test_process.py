"""The process: who may call, who leaves, several workers at one budget, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import openai
import pytest

from headrace.core.clock import now
from headrace.core.errors import ConfigError
from headrace.core.state import State
from headrace.environments import config
from headrace.llm.gateway.budget_limits import Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.operations.api_keys import create_api_key, revoke_api_key
from headrace.operations.gateway import GatewayOptions, serve_gateway
from headrace.operations.llm import llm_budgets, llm_cost
from headrace.operations.operation import At
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .conftest import KEY, Server, hello, running, write_project


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def question(server, number):
    """What a call did cost, or the error of who refused it; 0.0 where its worker died."""
    try:
        with server.client() as client:  # a connection of its own: the kernel divides them
            answer = client.chat.completions.create(
                model="small", messages=hello(f"question {number}"), max_tokens=30, user=f"u-{number % 3}"
            )
    except openai.RateLimitError as error:
        return error
    except openai.APIConnectionError:
        return 0.0
    return answer.headrace["cost_dollars"]


def test_two_workers_at_one_budget_never_spend_more(tmp_path, endpoint):
    """200 calls at once, which cost more than the budget however they meet; what was answered is what the ledger says."""
    project = write_project(tmp_path / "talk", endpoint, '[env.dev.llm.budgets]\nday = "1.00"')
    with running(project, "--workers", "2") as server:
        with ThreadPoolExecutor(50) as pool:
            costs = list(pool.map(lambda number: question(server, number), range(200)))
        at = At(folder=project)
        (day,) = llm_budgets(at)
        report = llm_cost(at, by=("user",))

    answered = [cost for cost in costs if isinstance(cost, float)]
    refusals = [error for error in costs if isinstance(error, openai.RateLimitError)]
    assert {error.code for error in refusals} == {"insufficient_quota"}
    assert all(int(error.response.headers["retry-after"]) > 0 for error in refusals)
    assert min(answered) * 200 > 1.0  # all of them would not have fitted one after the other either
    assert 0 < len(answered) < 200
    assert day.reserved_dollars == 0
    assert day.spent_dollars <= 1.0
    assert day.spent_dollars == pytest.approx(sum(answered), abs=1e-9)
    assert report.total.cost_dollars == day.spent_dollars
    assert (report.total.calls, report.total.refused) == (200, 200 - len(answered))
    assert {row.by["user"] for row in report.rows} == {"u-0", "u-1", "u-2"}


@pytest.mark.usefixtures("not_at_midnight")
def test_a_worker_that_is_killed_at_one_budget_keeps_what_it_had_reserved(tmp_path):
    """Nobody knows what the endpoint bills for its open calls: they stay counted, and count as spent in the end."""
    with Endpoint(lambda messages: f"echo of {messages[-1]['content']}", latency=0.3) as slow:
        project = write_project(tmp_path / "talk", slow, '[env.dev.llm.budgets]\nday = "2.00"')
        at = At(folder=project)
        with running(project, "--workers", "2") as server, ThreadPoolExecutor(30) as pool:
            calls = pool.map(lambda number: question(server, number), range(300))
            assert until(lambda: len(slow.requests) >= 40)
            os.kill(children(server.process.pid)[0], signal.SIGKILL)
            costs = [cost for cost in calls if isinstance(cost, float) and cost]
            (day,) = llm_budgets(at)
            report = llm_cost(at)
        requests = len(slow.requests)

    assert day.reserved_dollars > 0
    assert day.spent_dollars + day.reserved_dollars <= 2.0
    assert sum(costs) <= day.spent_dollars + 1e-9
    assert report.total.cost_dollars == day.spent_dollars
    assert requests * min(costs) <= day.spent_dollars + day.reserved_dollars
    state = State(config.load(project).environment("dev").state_url)
    later = Budgets(state, Limits(day=2 * 10**9), clock=lambda: now() + timedelta(minutes=5))
    (row,) = later.status(now().date())
    state.close()
    assert (row.spent, row.reserved) == (round((day.spent_dollars + day.reserved_dollars) * 10**9), 0)


@pytest.fixture
def not_at_midnight():
    """What is reserved before midnight counts in that day."""
    if (now() + timedelta(minutes=2)).date() != now().date():
        pytest.skip("a day ends now")


def test_a_client_that_leaves_ends_the_call_upstream(tmp_path):
    with Endpoint(lambda _messages: "word " * 2_000, pause=0.02) as slow:
        project = write_project(tmp_path / "talk", slow)
        with running(project) as server:
            with server.client() as client:
                stream = client.chat.completions.create(model="small", messages=hello(), stream=True)
                next(iter(stream))
                stream.close()
            whole = socket.create_connection(("127.0.0.1", server.port), 60)
            body = json.dumps({"model": "claude", "messages": hello(), "stream": True}).encode()
            whole.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert until(lambda: len(slow.requests) == 2)
            whole.close()

            def cancelled():
                total = llm_cost(At(folder=project)).total
                return total is not None and total.cancelled == 2

            assert until(cancelled)
            assert until(lambda: "headrace_gateway_requests_in_flight{} 0" in server.get("/metrics")[1])


def test_a_slow_reader_holds_the_endpoint_and_not_memory(tmp_path):
    with Endpoint(lambda _messages: "x" * 60 + " ", pause=0.0) as endpoint:
        endpoint.set_faults(lambda _request: faults.huge(64 * 2**20))
        project = write_project(tmp_path / "talk", endpoint)
        with running(project) as server:
            before = memory(server.process.pid)
            body = json.dumps({"model": "small", "messages": hello(), "stream": True}).encode()
            slow = socket.create_connection(("127.0.0.1", server.port), 60)
            slow.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert slow.recv(1_000)
            most = 0
            for _ in range(40):
                time.sleep(0.05)
                most = max(most, memory(server.process.pid))
            slow.close()

    assert most - before < 40 * 2**20


def memory(pid):
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_stream_that_runs_ends_after_sigterm_and_nobody_new_is_let_in(tmp_path):
    with Endpoint(lambda _messages: " ".join(map(str, range(60))), pause=0.02) as slow:
        with running(write_project(tmp_path / "talk", slow)) as server, server.client() as client:
            stream = iter(client.chat.completions.create(model="claude", messages=hello(), stream=True))
            texts = [next(stream).choices[0].delta.content]
            server.process.send_signal(signal.SIGTERM)

            def refused():
                try:
                    socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
                except (ConnectionRefusedError, ConnectionResetError):  # what waited when the door was closed is reset
                    return True
                return False

            assert until(refused)
            texts += [each.choices[0].delta.content or "" for each in stream]
            assert server.process.wait(20) == 0
        assert "".join(texts) == " ".join(map(str, range(60)))
        assert llm_cost(At(folder=tmp_path / "talk")).total.calls == 1


def test_a_worker_that_is_killed_is_replaced_and_the_sums_stay(tmp_path, endpoint):
    with running(write_project(tmp_path / "talk", endpoint), "--workers", "2") as server:
        for _ in range(8):
            with server.client() as client:
                client.chat.completions.create(model="small", messages=hello())

        def counted():
            return 'route="small",status="200"} 8' in server.get("/metrics")[1]

        def both_counted():
            """Of so many connections each worker has some, and its sum has what the other one has written."""
            return all(counted() for _ in range(20))

        assert until(both_counted)
        first = children(server.process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        assert until(lambda: len(set(children(server.process.pid)) - set(first)) == 1, 40)
        assert until(lambda: answers(server))
        assert counted() or until(counted)


def children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def answers(server):
    try:
        return server.get("/health")[0] == 200
    except OSError:
        return False


def test_a_gateway_that_runs_asks_for_keys_from_the_first_one_on(tmp_path, endpoint):
    project = write_project(tmp_path / "talk", endpoint)
    with running(project, "--workers", "2") as server:
        assert server.get("/v1/models")[0] == 200
        good = create_api_key(At(folder=project), "page", scopes=("gateway",)).key
        assert until(lambda: all(server.get("/v1/models")[0] == 401 for _ in range(10)))
        assert server.get("/v1/models", Authorization=f"Bearer {good}")[0] == 200


def test_callers_need_a_key_of_the_right_scope_once_there_is_one(tmp_path, endpoint):
    project = write_project(tmp_path / "talk", endpoint)
    at = At(folder=project)
    good = create_api_key(at, "page", scopes=("gateway",)).key
    other = create_api_key(at, "model", scopes=("predict", "metrics")).key
    with running(project) as server:
        with pytest.raises(openai.AuthenticationError) as raised:
            server.client(api_key="hr_wrong").chat.completions.create(model="small", messages=hello())
        assert raised.value.response.headers["www-authenticate"] == "Bearer"
        with pytest.raises(openai.PermissionDeniedError):
            server.client(api_key=other).chat.completions.create(model="small", messages=hello())
        assert server.get("/v1/models")[0] == 401
        assert server.get("/metrics")[0] == 401
        assert server.get("/metrics", Authorization=f"Bearer {other}")[0] == 200
        assert server.get("/health")[0] == 200
        assert endpoint.requests == []

        server.client(api_key=good).chat.completions.create(model="small", messages=hello())
        server.client(api_key=good).chat.completions.create(model="small", messages=hello(), user="ann")
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert {row.by["user"] for row in llm_cost(at, by=("user",)).rows} == {"page", "ann"}

        revoke_api_key(at, "page")

        def ended():
            return server.get("/v1/models", Authorization=f"Bearer {good}")[0] == 401

        assert until(ended)
        log = server.log.read_text()
    assert good not in log
    assert other not in log


def test_no_secret_is_in_any_byte_that_comes_out(tmp_path, endpoint):
    project = write_project(tmp_path / "talk", endpoint, timeout="1s")
    key = create_api_key(At(folder=project), "page", scopes=("gateway", "metrics")).key
    every = [
        faults.echo(500), faults.echo(401), faults.echo(400), faults.echo(429), faults.echo(200), faults.bad_json(),
        faults.other_model(KEY), faults.status(500, body=KEY * 500), faults.disconnect(), faults.cut(), faults.timeout(),
        None,
    ]  # fmt: skip
    texts = []
    with running(project, "--log-level", "debug") as server:
        for fault in every:
            for stream in (False, True):
                endpoint.set_faults(lambda _request, fault=fault: fault)
                texts.append(raw(server, key, {"model": "small", "messages": hello(), "stream": stream}))
        texts.append(server.get("/metrics", Authorization=f"Bearer {key}")[1])
        environment = [
            Path(f"/proc/{pid}/{name}").read_bytes()
            for pid in (server.process.pid, *children(server.process.pid))
            for name in ("environ", "cmdline")
        ]
    texts += [server.log.read_text(), *(each.decode("latin-1") for each in environment)]
    texts += [
        path.read_bytes().decode("latin-1")
        for path in project.rglob("*")
        if path.is_file() and path.name != "api-keys.json"
    ]

    assert len(endpoint.requests) > 0
    assert any(KEY in value for each in endpoint.requests for value in each.headers.values())
    assert [text[:300] for text in texts if KEY in text or key in text] == []


def raw(server, key, body):
    """All bytes that come back."""
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: %d\r\n\r\n" % (key.encode(), len(data)) + data
        )
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts).decode("latin-1")


def test_other_machines_are_not_let_in_without_keys(tmp_path, endpoint):
    project = write_project(tmp_path / "talk", endpoint)
    server = Server(project, "--host", "0.0.0.0")
    assert server.process.wait(30) == 2
    assert "no API key would be needed" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_an_address_that_is_taken_is_said_in_words(tmp_path, server, endpoint):
    project = write_project(tmp_path / "talk", endpoint)
    for workers in ("1", "2"):
        other = Server(project, "--workers", workers, "--port", str(server.port))
        assert other.process.wait(30) == 2
        assert "cannot be had" in other.log.read_text()
        assert "Traceback" not in other.log.read_text()


def test_an_environment_without_routes_has_no_gateway(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "talk"\nmodule = "talk"\n[env.dev]\n')
    with pytest.raises(ConfigError, match="has no routes"):
        serve_gateway(At(folder=tmp_path))


def test_the_operation_hands_over_the_keys_of_routes_and_no_token(tmp_path, endpoint, monkeypatch):
    monkeypatch.setenv("TALK_KEY", KEY)
    project = write_project(tmp_path / "talk", endpoint)
    server = serve_gateway(At(folder=project), options=GatewayOptions(port=9123, workers=3))

    assert server.secrets == {"TALK_KEY": KEY}
    assert KEY not in json.dumps(server.to_json()) + repr(server)
    words = list(server.command)
    assert (words[words.index("--port") + 1], words[words.index("--workers") + 1]) == ("9123", "3")


def test_it_works_without_uvloop(tmp_path, endpoint):
    """`uvloop` is in the extra `llm`, and not everywhere."""
    program = (
        "import sys; sys.modules['uvloop'] = None\n"
        "from headrace.llm.gateway_server.process import _loop_factory\n"
        "assert _loop_factory() is None"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_many_streams_at_once_are_all_answered(tmp_path, endpoint):
    with running(write_project(tmp_path / "talk", endpoint)) as server, server.client() as client:
        barrier = threading.Barrier(40)

        def call(number):
            barrier.wait()
            chunks = client.chat.completions.create(model="claude", messages=hello(f"number {number}"), stream=True)
            return "".join(each.choices[0].delta.content or "" for each in chunks)

        with ThreadPoolExecutor(40) as pool:
            texts = list(pool.map(call, range(40)))
    assert texts == [f"echo of number {number}" for number in range(40)]
