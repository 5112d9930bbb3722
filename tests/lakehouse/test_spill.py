"""Folders of queries that spill: one a process, and none of a process that is gone."""

import os
import subprocess
import sys
import time

from headrace.lakehouse import spill

PROGRAM = """\
import os, sys, time
from headrace.lakehouse import spill
print(spill.folder(), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
if sys.argv[1] == "waits":
    sys.stdin.read()
"""


def process(folder, how):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def aged(folder):
    for each in folder.iterdir():
        os.utime(each, (time.time() - 3600, time.time() - 3600))


def test_a_process_leaves_none_and_a_killed_one_is_cleaned_up_after(tmp_path):
    killed, ended, working = (process(tmp_path, how) for how in ("killed", "ends", "waits"))
    mine = working.stdout.readline().strip()
    for each in (killed, ended):
        each.communicate()
    assert (killed.returncode, ended.returncode) == (-9, 0)
    assert len(list(tmp_path.iterdir())) == 2  # of the killed one, and of the one at work
    spill.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # a young one may be about to take its lock
    aged(tmp_path)
    spill.sweep(tmp_path)
    assert [str(each) for each in tmp_path.iterdir()] == [mine]
    working.communicate()
    assert not list(tmp_path.iterdir())


def test_what_is_not_ours_stays(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years of work")
    (tmp_path / f"{spill.PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{spill.PREFIX}file").write_text("x")
    aged(tmp_path)
    spill.sweep(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"elsewhere", f"{spill.PREFIX}link", f"{spill.PREFIX}file"}
    assert (elsewhere / "thesis.txt").exists()
