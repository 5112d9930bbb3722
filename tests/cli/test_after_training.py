"""The commands for what a model goes through after training: requests, stages, alerts, roles, the record, upkeep."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from tests.support.people import enrol

from .mini import write

DEPLOYMENT = """
    gates=[hr.signature(), hr.approval("governance")],
    serve=hr.Serve(),
    monitor=hr.Monitor(window="1w", min_rows=5, alerts=[hr.alert("rmse", above=0.1, for_="1 of 1")]),
"""


def ok(headrace, folder, *arguments, code=0, **options):
    done = headrace.run(folder, *arguments, **options)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def asked(headrace, tmp_path_factory):
    """Version 1 waits for the approval of governance; eva has the role. Gives the folder and her token."""
    folder = write(tmp_path_factory.mktemp("asked") / "mini", deployment=DEPLOYMENT)
    ok(headrace, folder, "run", "refresh")
    ok(headrace, folder, "run", "train", "--as-of", "2024-02-01")
    token = enrol(headrace, folder, {"eva": "governance"})["eva"]
    ok(headrace, folder, "run", "deploy", "--as-of", "2024-02-01", code=3)
    return folder, token


def test_where_one_person_is_alone_nobody_signs(headrace, tmp_path):
    folder = write(tmp_path / "mini", deployment=DEPLOYMENT)
    ok(headrace, folder, "run", "refresh")
    ok(headrace, folder, "run", "train", "--as-of", "2024-02-01")
    said = ok(headrace, folder, "run", "deploy", "--as-of", "2024-02-01")
    (request, _) = ok(headrace, folder, "request", "list", "--all", "--json").json()
    shown = ok(headrace, folder, "request", "show", request["request"], "--json").json()
    assert "is in Production" in said.stderr
    assert "is alone here" in shown["evidence"]["waived"]


def test_a_request_waits_for_a_person_who_is_not_its_maker(headrace, asked):
    folder, _ = asked
    status = ok(headrace, folder, "status", code=1)
    (request,) = ok(headrace, folder, "request", "list", "--json").json()
    shown = ok(headrace, folder, "request", "show", request["request"], "--json").json()
    mine = ok(headrace, folder, "request", "approve", request["request"], code=3)

    assert "days version 1 asks for Production" in status.stdout
    assert (request["to"], request["missing"], request["by"] != "eva") == ("Production", ["governance"], True)
    assert shown["evidence"]["metrics"]["rmse"] > 0
    assert "governance" in mine.stderr
    assert ok(headrace, folder, "request", "list", "--json").json() == [request]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["request", "show", "99"], 2, "no request '99'"),
        (["request", "approve", "99"], 2, "no request '99'"),
        (["request", "approve", "x"], 2, "'x' is not a valid integer"),
        (["request", "reject", "2"], 2, "--reason"),
        (["alert", "show", "7"], 2, "no alert '7'"),
        (["alert", "ack", "7"], 2, "no alert '7'"),
        (["alert", "mute", "7", "--until", "4h", "--reason", "x"], 2, "no alert '7'"),
        (["alert", "mute", "1", "--until", "4h"], 2, "--reason"),
        (["alert", "resolve", "7", "--reason", "x"], 2, "no alert '7'"),
        (["query", "alert", "none", "--when", "n > 0"], 2, "no saved query 'none'"),
        (["query", "alert", "none", "--when", "n"], 2, "'n' is no condition"),
        (["run", "monitor", "--due"], 2, "--due goes with --queries"),
        (["run", "monitor", "--queries", "--model", "days"], 2, "--queries takes neither"),
        (["model", "rollback", "days"], 2, "--reason"),
        (["model", "rollback", "days", "--to", "1", "--reason", "x"], 3, "has never been in Production"),
        (["model", "rollback", "dayz", "--reason", "x"], 2, "did you mean 'days'?"),
        (["model", "history", "dayz"], 2, "did you mean 'days'?"),
        (["model", "comparisons", "dayz"], 2, "did you mean 'days'?"),
        (["access", "revoke", "nobody", "admin"], 2, "nobody"),
        (["run", "monitor"], 0, "neither drift nor quality is measured"),
        (["run", "deploy", "--version", "9"], 2, "no version of days '9'"),
        (["run", "parity-check", "--since", "2024-02-01", "--until", "2024-02-10"], 1, "is in Production"),
        (["serve", "dayz"], 2, "did you mean 'days'?"),
        (["audit", "--limit", "0"], 2, "--limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_told_with_the_way_out(headrace, asked, arguments, code, says):
    done = ok(headrace, asked[0], *arguments, code=code)
    assert says in done.stderr


def test_a_token_that_is_none_is_refused_and_not_shown(headrace, asked):
    done = headrace.run(asked[0], "request", "approve", "2", env={"HEADRACE_TOKEN": "hr_secret_that_is_none"})

    assert done.code == 3
    assert "hr_secret_that_is_none" not in done.stdout + done.stderr


class TestOnceApproved:
    @pytest.fixture(scope="class")
    @classmethod
    def deployed(cls, headrace, asked):
        folder, token = asked
        (request,) = ok(headrace, folder, "request", "list", "--json").json()
        number, hers = request["request"], {"HEADRACE_TOKEN": token}
        ok(headrace, folder, "request", "approve", number, "--reason", "looks right", env=hers)
        again = ok(headrace, folder, "request", "approve", number, env=hers, code=3)
        assert "decided" in again.stderr or "approved" in again.stderr
        ok(headrace, folder, "run", "deploy", "--as-of", "2024-02-01")
        ok(headrace, folder, "run", "score", "--as-of", "2024-02-20")
        ok(headrace, folder, "run", "monitor", "--as-of", "2024-02-20", code=1)
        return folder

    def test_every_read_answers_people_and_programs(self, headrace, deployed):
        for command in (
            ["request", "list", "--all"],
            ["request", "show", "2"],
            ["alert", "list"],
            ["alert", "show", "1"],
            ["model", "history", "days"],
            ["audit"],
            ["access", "me"],
            ["access", "list"],
        ):
            told, read = ok(headrace, deployed, *command), ok(headrace, deployed, *command, "--json")
            assert told.stdout.strip(), command
            assert "\x1b" not in told.stdout
            assert json.loads(read.stdout), command

    def test_the_record_says_who_did_what_and_is_whole(self, headrace, deployed):
        told = [(entry["who"], entry["action"]) for entry in ok(headrace, deployed, "audit", "--json").json()]

        assert ("eva", "transition.approved") in told
        assert (
            "the record is whole"
            in ok(headrace, deployed, "audit", "--verify").stdout + ok(headrace, deployed, "audit", "--verify").stderr
        )

    def test_an_alert_needs_a_person_until_one_takes_it(self, headrace, deployed):
        before = ok(headrace, deployed, "status", "--json", code=1).json()["needs_a_person"]
        ok(headrace, deployed, "alert", "ack", "1", "--reason", "known: a mean cannot do better")
        ok(headrace, deployed, "alert", "ack", "1", "--reason", "still known")
        after = ok(headrace, deployed, "status", "--json").json()["needs_a_person"]
        (alert,) = ok(headrace, deployed, "alert", "list", "--json").json()

        assert [need["what"] for need in before] == ["days version 1: rmse > 0.1, 1 of 1"]
        assert after == []
        assert (alert["status"], alert["reason"]) == ("acknowledged", "still known")

    def test_an_alert_on_a_query_is_muted_and_resolved(self, headrace, deployed):
        ok(headrace, deployed, "query", "save", "one", "select 1 as n")
        declared = ok(headrace, deployed, "query", "alert", "one", "--when", "n > 0", "--owner", "ann")
        assert "n is 1: the rule n > 0 holds now" in declared.stderr
        held = ok(headrace, deployed, "run", "monitor", "--queries", "--due", code=1)
        assert "query 'one': n > 0" in held.stderr
        ok(headrace, deployed, "run", "monitor", "--queries", "--due", code=1)  # nothing is due, and it holds
        alert = ok(headrace, deployed, "alert", "list", "--json").json()[0]
        assert (alert["query"], alert["owner"], alert["model"]) == ("one", "ann", None)

        number = str(alert["alert"])
        past = ok(headrace, deployed, "alert", "mute", number, "--until", "2020-01-01", "--reason", "x", code=2)
        assert "that has passed" in past.stderr
        ok(headrace, deployed, "alert", "mute", number, "--until", "4h", "--reason", "known")
        assert "muted" in ok(headrace, deployed, "alert", "list").stdout
        done = ok(headrace, deployed, "alert", "resolve", number, "--reason", "settled", "--json").json()
        assert (done["status"], done["resolution"]) == ("closed", "settled")
        history = ok(headrace, deployed, "alert", "show", number).stdout
        assert [each for each in ("resolved", "muted", "opened") if each in history] == ["resolved", "muted", "opened"]
        assert (
            "Alert when n > 0: warning, every 1h, owner ann; n is 1"
            in ok(headrace, deployed, "query", "show", "one").stderr
        )
        ok(headrace, deployed, "query", "alert", "one", "--when", "n>0", "--remove")

    def test_up_once_does_what_is_due_and_ends(self, headrace, deployed):
        done = ok(headrace, deployed, "up", "--once")
        assert "is up in dev" in done.stderr

    def test_up_serves_and_ends_with_its_servers(self, deployed, free_port):
        command = [sys.executable, "-m", "headrace.cli", "up", "--port", str(free_port)]
        with subprocess.Popen(command, cwd=deployed, stderr=subprocess.PIPE, text=True) as up:
            try:
                answered = ask(free_port, {"amount": 3.5, "orders": 2})
            finally:
                up.send_signal(signal.SIGTERM)
                up.communicate()

        assert answered["predictions"][0]["prediction"] > 0
        assert up.returncode == 0
        assert gone(free_port)

    def test_servers_end_when_up_is_killed(self, deployed, free_port):
        command = [sys.executable, "-m", "headrace.cli", "up", "--port", str(free_port)]
        with subprocess.Popen(command, cwd=deployed, stderr=subprocess.DEVNULL) as up:
            try:
                ask(free_port, {"amount": 3.5, "orders": 2})
            finally:
                up.kill()

        assert gone(free_port)


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def ask(port, row):
    body = json.dumps({"dataframe_records": [row]}).encode()
    wanted = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"content-type": "application/json"})
    for _ in range(600):
        try:
            return json.load(urllib.request.urlopen(wanted, timeout=30))
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no answer")


def gone(port):
    """Whether nobody listens there any more, soon."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_serving_needs_a_port_of_its_own(headrace, asked, free_port):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "headrace.cli", "serve", "--port", str(free_port)],
            cwd=asked[0],
            capture_output=True,
            text=True,
            env=os.environ,
            check=False,
            timeout=60,
        )

    assert done.returncode == 2
    assert f"127.0.0.1:{free_port} cannot be had" in done.stderr
    assert "--port" in done.stderr
