"""`headrace init --kind assistant`: from nothing to an answer by the commands of the README; and its CI on this machine."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from tests.cli.test_init import COMMAND, console, free_port, served, with_this_python
from tests.docs.test_tutorial import printed, shown
from tests.support.ci_jobs import git

PORT = "8124"  # of what answers offline, in the templates


@pytest.fixture
def helper(headrace, tmp_path):
    """A new assistant over the sample, committed, whose offline answers come from a port that is free."""
    done = headrace.run(tmp_path, "init", "helper", "--kind", "assistant", "--no-git", "--yes")
    assert done.code == 0, done.stderr
    folder, port = tmp_path / "helper", str(free_port())
    for path in ("headrace.toml", "helper/offline.py"):
        text = (folder / path).read_text()
        assert PORT in text
        (folder / path).write_text(text.replace(PORT, port))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a project")
    return folder


@pytest.fixture
def offline(helper):
    """What the README starts in another terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "helper.offline"], cwd=helper, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("answering on http://127.0.0.1:")
    yield process
    process.terminate()
    process.communicate()


def post(url, document):
    request = urllib.request.Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))


def test_from_an_empty_folder_to_an_answer_by_the_commands_of_the_readme(headrace, helper, offline):
    shows = dict(console((helper / "README.md").read_text()))
    assert "python -m helper.offline" in shows
    for pipeline in ("refresh", "train", "deploy"):
        done = headrace.run(helper, "run", pipeline)
        assert done.code == 0, done.stderr
        assert re.fullmatch(shown(shows[f"headrace run {pipeline}"]), printed(done.stderr)), done.stderr

    port = free_port()
    server = subprocess.Popen([*COMMAND, "serve", "helper", "--port", str(port)], cwd=helper, stderr=subprocess.PIPE)
    try:
        assert served(server)
        answer = post(f"http://127.0.0.1:{port}/v1/chat/completions", json.loads((helper / "request.json").read_text()))
        opinion = {"prediction_id": answer["id"], "thumbs": "up"}
        told = post(f"http://127.0.0.1:{port}/models/helper/feedback", opinion)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
    expected = json.loads(next(output for line, output in shows.items() if line.startswith("curl") and output))
    assert answer["choices"] == expected["choices"]
    assert len(told["feedback_ids"]) == 1
    assert git(helper, "status", "--porcelain") == ""

    assert headrace.run(helper, "run", "monitor").code == 0
    summary = headrace.run(helper, "feedback", "summary", "helper", "--json").json()
    assert [(each["kind"], each["count"]) for each in summary["rates"]] == [("thumbs", 1)]


def test_ci_tests_it_in_staging_without_a_provider_or_a_key(helper):
    unit = subprocess.run(
        ["ci/run", "unit"], cwd=helper, env=with_this_python(), capture_output=True, text=True, check=False
    )
    assert unit.returncode == 0, unit.stdout + unit.stderr
    assert "7 passed" in unit.stdout
    assert "warning" not in unit.stdout
    env = {name: value for name, value in with_this_python().items() if name != "OPENAI_API_KEY"}
    done = subprocess.run(["ci/run", "integration"], cwd=helper, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((helper / "integration.json").read_text())
    assert (report["passed"], report["environment"]) == (True, "staging")
    assert {"train helper", "gates helper", "endpoint helper"} <= {each["step"] for each in report["steps"]}
    assert git(helper, "status", "--porcelain") == ""


def test_what_answers_offline_says_that_its_port_is_taken(helper, offline):
    second = subprocess.run(
        [sys.executable, "-m", "helper.offline"], cwd=helper, capture_output=True, text=True, check=False
    )

    assert second.returncode == 1
    assert re.fullmatch(r"port \d+ cannot be used: .*Is it running already\?\n", second.stderr), second.stderr


def test_what_answers_offline_ends_with_a_test_that_is_stopped(helper):
    """The project's own tests wait until the script is told to end, as by the cancel button of a host."""
    port = int(re.search(r"^PORT = (\d+)", (helper / "helper" / "offline.py").read_text(), re.MULTILINE)[1])
    waits = 'import time\n\n\ndef test_waits():\n    print("waiting", flush=True)\n    time.sleep(3)\n'
    (helper / "tests" / "integration" / "test_pipelines.py").write_text(waits)
    script = subprocess.Popen(["ci/run", "integration"], cwd=helper, env=with_this_python(), stdout=subprocess.DEVNULL)
    while not listens(port):
        assert script.poll() is None
        time.sleep(0.02)
    script.send_signal(signal.SIGTERM)

    assert script.wait(timeout=60) == 130
    while listens(port):  # until it has ended; pytest's own limit ends a test that waits forever
        time.sleep(0.02)


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
