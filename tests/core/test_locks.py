"""One holder at a time, let go however it ends, and no link followed."""

import signal
import subprocess
import sys

import pytest

from headrace.core.locks import hold, share

DIES = """
import os, signal, sys
from pathlib import Path
from headrace.core.locks import hold
with hold(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_holds_it_at_a_time(tmp_path):
    with hold(tmp_path / "lock"), pytest.raises(BlockingIOError), hold(tmp_path / "lock"):
        pass
    with hold(tmp_path / "lock"):
        pass


def test_many_share_it_while_nobody_holds_it_alone(tmp_path):
    lock = tmp_path / "lock"
    with hold(lock, shared=True), hold(lock, shared=True), pytest.raises(BlockingIOError), hold(lock):
        pass
    with hold(lock), pytest.raises(BlockingIOError), hold(lock, shared=True):
        pass
    with hold(lock), pytest.raises(BlockingIOError):
        share(lock)


def test_whoever_was_killed_holds_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "lock")], check=False)
    assert done.returncode == -signal.SIGKILL
    with hold(tmp_path / "lock"):
        pass


def test_a_link_that_somebody_planted_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"), hold(tmp_path / "lock"):
        pass
    assert precious.read_text() == "years of work"
