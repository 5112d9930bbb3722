"""A server process with a slow model: how much waits, for how long, and what is still answered at its end."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.serving.conftest import manifest, serving
from tests.serving.test_server import logged

SLOWLY = (str(Path(__file__).with_name("slowly.py")),)
LATE = (str(Path(__file__).with_name("late.py")),)


def body(seconds):
    return json.dumps({"instances": [["slow", seconds, 1, 1.0]]}).encode()


def tensors(seconds):
    names = (("kind", "BYTES", "slow"), ("battery", "FP64", seconds), ("rides", "INT64", 1), ("charge", "FP64", 1.0))
    return {"inputs": [{"name": name, "datatype": kind, "shape": [1], "data": [each]} for name, kind, each in names]}


def begun(server, seconds, **headers):
    """A request on its way."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("POST", "/invocations", body(seconds), {"content-type": "application/json", **headers})
    return connection


def answered(connection):
    answer = connection.getresponse()
    read = json.loads(answer.read())
    connection.close()
    return answer.status, read, dict(answer.headers)


def in_flight(server, count):
    for _ in range(6000):
        lines = server.ask("/metrics")[1].splitlines()
        (line,) = [each for each in lines if each.startswith("headrace_requests_in_flight{")]
        if line.endswith(f" {count}"):
            return
        time.sleep(0.01)
    raise AssertionError(line)


def test_a_queue_that_is_full_refuses_at_once(home):
    manifest(home, queue=2)
    with serving(home, program=SLOWLY) as server:
        first, second = begun(server, 3.0), begun(server, 0.0)
        in_flight(server, 2)
        status, answer, headers = server.ask("/invocations", body(0))
        in_flight(server, 2)  # it was refused before either was answered
        assert (status, headers["retry-after"]) == (503, "1")
        assert "2 requests are waiting" in answer["message"]
        status, answer, headers = server.ask("/v2/models/late/infer", tensors(0))
        assert (status, headers["retry-after"], list(answer)) == (503, "1", ["error"])
        assert server.ask("/health")[0] == 200  # while the model is at work
        assert answered(first)[0] == answered(second)[0] == 200
        assert server.ask("/invocations", body(0))[0] == 200


def test_an_answer_that_takes_too_long_is_a_503_and_nothing_stays_behind(home):
    manifest(home, timeout="1s")
    with serving(home, program=SLOWLY) as server:
        began = time.monotonic()
        status, answer, _ = server.ask("/invocations", body(4))
        assert 0.9 < time.monotonic() - began < 3.9
        assert status == 503
        assert "within 1s" in answer["message"]
        status, answer, _ = server.ask("/v2/models/late/infer", tensors(4))
        assert (status, list(answer)) == (503, ["error"])
        in_flight(server, 0)
        time.sleep(max(0.0, began + 4.1 - time.monotonic()))  # the model's one call
        assert server.ask("/invocations", body(0))[0] == 200


def test_a_model_that_does_not_come_back_is_told_and_holds_nobody_up(home):
    manifest(home, timeout="1s")
    with serving(home, program=SLOWLY) as server:
        began = time.monotonic()
        assert server.ask("/invocations", body(8))[0] == 503
        server.wait(lambda _, told: told["status"] == "stuck")
        for _ in range(20):
            asked = time.monotonic()
            status, answer, headers = server.ask("/invocations", body(0))
            assert (status, headers["retry-after"]) == (503, "1")
            assert "the model has been at one call" in answer["message"]
            assert time.monotonic() - asked < 0.9  # it is not waited for
        assert time.monotonic() - began < 7
        assert server.ask("/ready")[0] == 503
        assert server.ask("/ready")[1]["status"] == "stuck"
        assert server.ask("/health")[0] == 200  # a restart does not mend a model
        server.wait(lambda status, told: (status, told["status"]) == (200, "ready"))
        assert server.ask("/invocations", body(0))[0] == 200


def test_at_its_deadline_it_ends_without_a_model_that_does_not_come_back(home):
    with serving(home, program=SLOWLY, arguments=("--drain", "1")) as server:
        asked = begun(server, 600)
        in_flight(server, 1)
        began = time.monotonic()
        code, said = server.end()
        assert time.monotonic() - began < 60
        assert code == 0
        assert "1 requests were not answered within 1 s" in said
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            asked.getresponse()


def test_a_caller_that_goes_away_frees_its_place(home):
    manifest(home, queue=2)
    with serving(home, program=SLOWLY) as server:
        first, second = begun(server, 1.0), begun(server, 5.0)
        in_flight(server, 2)
        second.close()
        in_flight(server, 1)
        assert answered(first)[0] == 200
        began = time.monotonic()
        assert server.ask("/invocations", body(0))[0] == 200
        assert time.monotonic() - began < 4.5  # nobody waits for what was asked by who has gone


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_was_asked_is_answered_and_then_it_ends(home, how):
    with serving(home, program=SLOWLY) as server:
        first, second = begun(server, 1.0), begun(server, 0.5)
        in_flight(server, 2)
        ending = threading.Thread(target=server.end, args=(how,))
        server.process.send_signal(how)
        until_refused(server)
        assert server.process.poll() is None
        for each in (first, second):
            status, _, headers = answered(each)
            assert (status, headers["connection"]) == (200, "close")
        ending.start()
        ending.join()
        code, said = server.end()
        assert code == 0
        assert "nothing is lost" in said
    assert len([record for record in logged(home) if record["path"] == "/invocations"]) == 2


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_its_end_does_not_make_a_clean_end_a_failure(home, how, processes):
    """A second Ctrl-C, or one that the system delivers late, while Python shuts down."""
    with serving(home, program=LATE, arguments=("--processes", processes)) as server:
        server.process.send_signal(how)
        while "it has ended" not in (line := server.process.stderr.readline()):
            assert line, "it said nothing more"
        server.process.send_signal(how)
        assert server.process.wait(60) == 0


def until_refused(server):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    raise AssertionError("it still listens")


def test_it_ends_as_process_1_of_a_container_too(home):
    """The kernel hands to a process 1 only the signals that it handles: that it does is seen without a container too."""
    with serving(home, program=SLOWLY) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        (caught,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt")]
        for number in (signal.SIGTERM, signal.SIGINT):
            assert caught >> (number - 1) & 1
    container = next(
        (
            each
            for each in CONTAINERS
            if subprocess.run([*each, "true"], check=False, capture_output=True).returncode == 0
        ),
        None,
    )
    if container is None:
        return  # no namespaces here: the handlers were all that can be seen
    with serving(home, program=SLOWLY, before=container) as server:
        (child,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert Path(f"/proc/{child}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
        asked = begun(server, 0.5)
        in_flight(server, 1)
        os.kill(int(child), signal.SIGTERM)
        assert answered(asked)[0] == 200
        assert server.process.wait(120) == 0


CONTAINERS = (
    ["unshare", "--pid", "--fork", "--kill-child"],
    ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"],
)


def test_callers_that_only_hold_connections_leave_room_for_the_log(home):
    """Where the system allows 400 open files: what is beyond is refused, and who is connected is answered and logged."""
    with serving(home, before=("prlimit", "--nofile=400:400")) as server, contextlib.ExitStack() as held:
        first = begun(server, 0)
        assert first.getresponse().read()
        for _ in range(600):
            with contextlib.suppress(OSError):
                caller = socket.create_connection(("127.0.0.1", server.port), timeout=5)
                held.callback(caller.close)
        for _ in range(20):
            first.request("POST", "/invocations", body(0), {"content-type": "application/json"})
            answer = first.getresponse()
            answer.read()
            assert answer.status == 200
        first.close()
        held.close()
        server.wait(lambda status, _: status == 200)
        code, said = server.end()
    assert code == 0
    assert "cannot be written" not in said
    assert len([record for record in logged(home) if record["path"] == "/invocations"]) == 21


def test_a_signal_before_it_listens_ends_it_too(home):
    with serving(home, wait=False) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) in (0, -signal.SIGTERM)  # before Python has begun there is nobody to handle it


STOPPED_IN_A_FINALIZER = """
import os, signal, sys

class Finder:
    done = False

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

    def find_spec(self, name, path=None, target=None):
        if name == "uvloop" and not Finder.done:
            Finder.done = True
            sys.meta_path.remove(self)

sys.meta_path.insert(0, Finder())
"""


def test_a_signal_that_meets_a_finalizer_is_heard(home, tmp_path):
    """Python drops what a finalizer raises: a server that ended by an exception would go on for ever."""
    (tmp_path / "sitecustomize.py").write_text(STOPPED_IN_A_FINALIZER)
    with serving(home, wait=False, env={"PYTHONPATH": str(tmp_path)}) as server:
        assert server.process.wait(60) == 0
        assert "serving on" not in server.end()[1]
