"""Processes that run until they are stopped, and those that they started."""

import signal
import subprocess
import sys
import time

import pytest

from headrace.core.shutdown import stop_all

PROGRAM = """
import sys, threading
from headrace.core.shutdown import on_stop

stopped = threading.Event()
with on_stop(stopped.set):
    print("runs", flush=True)
    stopped.wait()
print("has ended", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_a_later_one_is_ignored(how):
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "runs\n"
        process.send_signal(how)
        assert process.stdout.readline() == "has ended\n"
        process.send_signal(how)
        process.stdin.close()
        assert process.wait() == 0


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def test_what_does_not_end_in_time_is_killed():
    willing = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=-1)
    deaf = subprocess.Popen([sys.executable, "-c", DEAF], stdout=-1)
    with willing, deaf:
        willing.stdout.readline(), deaf.stdout.readline()
        began = time.monotonic()
        stop_all([willing, deaf], within=1.0)
        assert time.monotonic() - began >= 1.0

    assert (willing.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)


ABANDONS = """
import threading, time
from headrace.core.shutdown import ABANDONED, leave

thread = threading.Thread(target=time.sleep, args=(600,))
thread.start()
ABANDONED.append(thread)
print("said", end="")
leave(4)
"""


def test_a_thread_that_was_given_up_does_not_hold_the_end():
    done = subprocess.run([sys.executable, "-c", ABANDONS], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (4, "said")
