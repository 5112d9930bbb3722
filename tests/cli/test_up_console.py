"""`headrace up` has the console beside it, which ends with it, and goes on without one."""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

UP = [sys.executable, "-m", "headrace.cli", "up"]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "bare"\nmodule = "bare"\n\n[env.dev]\n')
    (tmp_path / "bare.py").write_text("")
    return tmp_path


@contextmanager
def up(project, *options):
    with (project / "said").open("w+") as said, subprocess.Popen([*UP, *options], cwd=project, stderr=said) as process:
        try:
            yield process
        finally:
            process.kill()


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, holds
        time.sleep(0.05)
    return found


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def said(project):
    return (project / "said").read_text()


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/dev", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_console_ends_with_it(project, how):
    port = free_port()
    with up(project, "--console-port", str(port)) as process:
        until(lambda: answers(port))
        process.send_signal(how)
        process.wait(timeout=30)
        until(lambda: not answers(port))
    assert re.search(rf"console on http://127\.0\.0\.1:{port}", said(project))


def test_a_port_that_is_taken_ends_the_pages_and_nothing_else(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with up(project, "--console-port", str(port)) as process:
            until(lambda: "cannot be used: Address already in use" in said(project))
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


def test_without_pages(project):
    with up(project, "--no-console") as process:
        until(lambda: "bare is up in dev" in said(project))
        assert not pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
