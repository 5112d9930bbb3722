"""Several processes behind one port: all of them answer, are kept alive, follow, count together, and drain."""

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import manifest, serving
from tests.serving.listening import all_of, connected
from tests.serving.test_drain import SLOWLY, until_refused
from tests.serving.test_server import ROW, _second, logged

BODY = {"instances": [list(ROW.values())]}
TWO = ("--processes", "2")


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def processes(server):
    """Those that answer."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(child) for child in children if listens(int(child), server.port)}


def listens(pid, port):
    """Whether one of its sockets listens at the port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"}
    found = set()
    with contextlib.suppress(OSError):  # the process may end meanwhile
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return bool(inodes & found)


def by_process(server, count):
    """How many of so many connections each process answered, by the beginning of the requests' ids."""
    found = {}
    for _ in range(count):
        status, _, headers = server.ask("/invocations", BODY)
        assert status == 200
        name = headers["x-request-id"][:20]
        found[name] = found.get(name, 0) + 1
    return found


def counted(server, status="200"):
    lines = server.ask("/metrics")[1].splitlines()
    return sum(
        int(line.split()[-1]) for line in lines if line.startswith("headrace_requests_total{") and f'"{status}"' in line
    )


@pytest.fixture
def fleet(home):
    with serving(home, arguments=TWO) as server:
        until(lambda: len(processes(server)) == 2)
        server.home = home
        yield server


def test_all_answer_and_their_counters_are_one(fleet):
    found = by_process(fleet, 60)
    assert len(found) == 2
    assert min(found.values()) > 5
    fleet.ask("/invocations", {"instances": "no"})
    for _ in range(10):  # whoever is asked
        until(lambda: counted(fleet) == 60, seconds=5)
        until(lambda: counted(fleet, "400") == 1, seconds=5)
    assert fleet.end()[0] == 0
    assert len(logged(fleet.home)) == 60


def test_one_that_is_killed_is_started_again_while_the_other_answers(fleet):
    by_process(fleet, 20)
    time.sleep(0.5)  # two looks: what was counted is left for the others
    killed, other = processes(fleet)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{killed}").exists())  # before that, its socket may still be given connections
    assert len(by_process(fleet, 20)) == 1
    until(lambda: len(processes(fleet)) == 2)
    assert other in processes(fleet)
    assert len(by_process(fleet, 40)) == 2
    until(lambda: counted(fleet) == 80, seconds=5)
    code, said = fleet.end()
    assert code == 0
    assert f"server process {killed} ended with -9; another one starts" in said
    assert len(logged(fleet.home)) == 80


def by_path(server):
    found = {each.name: each for each in text_string_to_metric_families(server.ask("/metrics")[1])}[
        "headrace_http_requests"
    ]
    assert found.documentation
    return {
        (each.labels["path"], each.labels["method"], each.labels["status"]): int(each.value) for each in found.samples
    }


def test_requests_to_all_are_counted_by_path_whatever_strangers_ask(fleet):
    for number in range(30):
        assert fleet.ask("/invocations", BODY)[0] == 200
        for path in (
            f"/{number}",
            f"/v2/models/{number}/infer",
            f"/v2/models/late/{number}",
            f"/predict/{number}",
            "//x",
        ):
            fleet.ask(path, {})
        with connected(fleet, b"GARBAGE\r\n\r\n") as caller:
            all_of(caller)
        with connected(fleet, b"PROPFIND /%d HTTP/1.0\r\n\r\n" % number) as caller:
            all_of(caller)
    expected = {
        ("/invocations", "POST", "200"): 30,
        ("/v2/models/{model}/infer", "POST", "404"): 30,
        ("other", "POST", "404"): 120,
        ("other", "other", "400"): 30,
        ("other", "other", "404"): 30,
    }
    until(lambda: expected.items() <= by_path(fleet).items())
    assert {path for path, *_ in by_path(fleet)} <= {
        "/invocations",
        "/v2/models/{model}/infer",
        "other",
        "/ready",
        "/metrics",
    }


def test_a_new_version_reaches_all(fleet):
    _second(fleet.home)
    manifest(fleet.home, version=2, folder="versions/2-other")
    until(lambda: {fleet.ask("/version")[1]["version"] for _ in range(20)} == {2})


def test_what_one_cannot_load_all_say(fleet):
    (fleet.home / "serving.json").write_text("{")
    until(lambda: all("cannot be read" in fleet.ask("/ready")[1]["stale"] for _ in range(20)))
    assert len(by_process(fleet, 40)) == 2


def test_a_signal_drains_all(home):
    manifest(home, concurrency=50)
    answers = []
    with serving(home, program=SLOWLY, arguments=TWO) as server:
        until(lambda: len(processes(server)) == 2)

        def ask():
            body = json.dumps({"instances": [["slow", 0.7, 1, 1.0]]}).encode()
            answers.append(server.ask("/invocations", body)[0])

        pids = processes(server)
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)  # the requests are on their way: nothing tells of them but the answers
        server.process.send_signal(signal.SIGTERM)
        until_refused(server)
        for thread in threads:
            thread.join()
        code, said = server.end()
    assert code == 0, said
    assert answers == [200] * 12
    assert said.count("nothing is lost") == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_they_end_with_whoever_started_them(home):
    with serving(home, arguments=TWO) as server:
        pids = until(lambda: len(found := processes(server)) == 2 and found)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])


def test_one_that_cannot_start_ends_all(home, tmp_path):
    tokens = tmp_path / "api-keys.json"
    tokens.write_text("{")
    with serving(home, wait=False, arguments=[*TWO, "--api-keys", tokens]) as server:
        assert server.process.wait(120) != 0
        said = server.end()[1]
    assert "cannot be read" in said
    assert "Traceback" not in said
