"""Who lives: looked at on this machine, by the lease elsewhere."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.core.clock import now
from headrace.jobs import owner as module
from headrace.jobs.owner import ProcessOwner

LEASE = timedelta(seconds=60)
AGES_AGO = datetime(2000, 1, 1, tzinfo=UTC)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def me():
    return ProcessOwner.current()


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_an_owner_is_a_person_a_machine_and_a_process(me):
    assert str(me).endswith(f"@{me.host}, pid {os.getpid()}")
    assert ProcessOwner.load(me.dump()) == me == ProcessOwner.current()


def test_a_process_of_this_machine_lives_however_silent_it_is(me, child):
    other = replace(me, pid=child.pid, started=module._started(child.pid))
    assert me.sees(me, heartbeat=AGES_AGO, at=now(), lease=LEASE)
    assert me.sees(other, heartbeat=AGES_AGO, at=now(), lease=LEASE)


def test_a_process_that_was_killed_is_dead_at_once_even_while_its_parent_has_not_looked(me, child):
    other = replace(me, pid=child.pid, started=module._started(child.pid))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number is still taken
    assert not me.sees(other, heartbeat=now(), at=now(), lease=LEASE)
    child.wait()
    assert not me.sees(other, heartbeat=now(), at=now(), lease=LEASE)


def test_a_number_that_was_given_again_is_not_the_same_process(me):
    assert not me.sees(replace(me, started="1"), heartbeat=now(), at=now(), lease=LEASE)


@linux
def test_a_process_from_before_the_last_start_of_this_machine_is_dead(me):
    before = replace(me, boot="an earlier one")
    assert not me.sees(
        before, heartbeat=now() - module._uptime() - timedelta(seconds=1), at=now(), lease=timedelta(days=9999)
    )


@linux
def test_a_machine_of_the_same_name_that_still_beats_is_another_machine(me):
    namesake = replace(me, boot="its own", started="1")
    assert me.sees(namesake, heartbeat=now(), at=now(), lease=LEASE)


@linux
def test_a_laptop_that_got_another_name_still_sees_its_processes(me):
    assert not me.sees(replace(me, host="before", started="1"), heartbeat=now(), at=now(), lease=LEASE)


@pytest.mark.parametrize("elsewhere", [{"host": "other", "boot": "other"}, {"namespace": "a container"}])
@pytest.mark.parametrize(("silent", "alive"), [(59, True), (61, False)])
def test_elsewhere_a_process_lives_until_its_lease_is_over(me, elsewhere, silent, alive):
    other = replace(me, **elsewhere, started="1")
    assert me.sees(other, heartbeat=now() - timedelta(seconds=silent), at=now(), lease=LEASE) == alive


@linux
def test_a_process_that_this_user_may_not_look_at_counts_by_its_lease(me, child, monkeypatch, tmp_path):
    other = replace(me, pid=child.pid, started="1")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/stat").touch()
    monkeypatch.setattr(module, "PROC", tmp_path)  # a /proc that shows no other process
    assert me.sees(other, heartbeat=now(), at=now(), lease=LEASE)
    assert not me.sees(other, heartbeat=now() - 2 * LEASE, at=now(), lease=LEASE)


@pytest.mark.skipif(not Path("/bin/ps").exists() and not Path("/usr/bin/ps").exists(), reason="there is no ps")
def test_without_proc_a_process_is_found_by_ps(me, child, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PROC", tmp_path / "nothing")
    other = replace(me, pid=child.pid, started=module._started(child.pid))
    assert other.started.startswith(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    assert me.sees(other, heartbeat=AGES_AGO, at=now(), lease=LEASE)
    assert not me.sees(replace(other, started="Mon Jan  1 00:00:00 2001"), heartbeat=now(), at=now(), lease=LEASE)
    child.kill()
    child.wait()
    assert not me.sees(other, heartbeat=now(), at=now(), lease=LEASE)
