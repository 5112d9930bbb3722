"""What `append` has taken is in the spool once, whoever dies when; and what it refused is not."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.scoring import spool as spooling
from headrace.scoring.spool import MARK, Spool, SpoolFullError, TooLargeError, framed, segments, unframe


def kept(folder):
    return [record for segment in segments(folder) for record in segment.records()]


def files(folder):
    return sorted(path.suffix for path in folder.iterdir())


def test_records_come_back_in_order_from_sealed_segments_only(tmp_path):
    records = [b"", b"\x00" * 100, b'{"a": 1}', os.urandom(5000)]
    spool = Spool(tmp_path / "made" / "here")
    for record in records:
        spool.append(record)
    assert segments(spool.folder) == []  # the spool is alive
    spool.close()
    assert kept(spool.folder) == records
    spool.append(b"more")
    spool.close()
    spool.close()
    assert kept(spool.folder) == [*records, b"more"]


def test_a_segment_is_sealed_before_it_grows_too_large(tmp_path):
    with Spool(tmp_path, max_bytes=200, max_age=3600) as spool:
        for number in range(20):
            spool.append(b"%060d" % number)
        spool.append(b"x" * 1000)  # longer than a segment
        spool.append(b"last")
    found = segments(tmp_path)
    assert [len(list(each.records())) for each in found] == [2] * 10 + [1, 1]
    assert kept(tmp_path) == [*(b"%060d" % number for number in range(20)), b"x" * 1000, b"last"]


def test_a_segment_that_is_old_enough_is_sealed_by_a_tick_or_by_the_next_record(tmp_path):
    with Spool(tmp_path, max_age=3600) as spool:
        spool.append(b"1")
        spool.tick()
        assert files(tmp_path) == [".open"]
        spool.max_age = 0
        spool.tick()
        assert kept(tmp_path) == [b"1"]
        spool.append(b"2")
        spool.append(b"3")
        assert kept(tmp_path) == [b"1", b"2"]


def test_a_spool_without_records_leaves_no_file(tmp_path):
    with Spool(tmp_path, limit_bytes=1) as spool:
        spool.tick()
        with pytest.raises(SpoolFullError):
            spool.append(b"too much")
    assert files(tmp_path) == []
    assert segments(tmp_path / "nowhere") == []


def test_with_fsync_it_is_the_same(tmp_path):
    with Spool(tmp_path, fsync=True, max_bytes=1) as spool:
        spool.append(b"a")
        spool.append(b"b")
    assert kept(tmp_path) == [b"a", b"b"]


# ---------------------------------------------------------------------------------------------- torn and damaged

RECORDS = st.lists(st.binary(max_size=40), max_size=6)


@given(RECORDS, st.data())
def test_whatever_is_cut_off_the_whole_frames_before_it_stay(records, data):
    frames = [MARK, *(framed(record) for record in records)]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, frames[: number + 1])) for number in range(len(frames))]
    count = sum(end <= cut for end in ends)
    found = unframe(whole[:cut])
    assert list(found.records) == records[: max(0, count - 1)]
    assert found.torn == cut - max((end for end in ends if end <= cut), default=0)
    assert found.damaged == ()


@given(RECORDS, st.data())
def test_a_changed_byte_never_gives_another_record_and_never_goes_unnoticed(records, data):
    whole = b"".join([MARK, *(framed(record) for record in records)])
    place, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    found = unframe(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
    assert found.damaged
    assert not Counter(found.records) - Counter(records)


def test_a_changed_record_does_not_take_those_behind_it_along():
    whole = MARK + framed(b"first") + framed(b"second") + framed(b"third")
    found = unframe(whole.replace(b"second", b"sec0nd"))
    assert (found.records, found.torn, found.damaged) == ((b"first", b"third"), 0, (b"sec0nd",))


@given(st.integers(12, 100))
def test_zeros_that_a_loss_of_power_leaves_are_no_records(count):
    found = unframe(MARK + framed(b"a") + bytes(count))
    assert (found.records, found.damaged) == ((b"a",), (bytes(count),))


# ---------------------------------------------------------------------------------------------- death

WRITER = """
import os, sys
from pathlib import Path
from headrace.scoring.spool import Spool

spool, number = Spool(Path(sys.argv[1]), max_bytes=2000, max_age=3600), 0
while True:
    spool.append(b"%s %d %s" % (sys.argv[2].encode(), number, b"x" * (number % 90)))
    os.write(1, b".")
    number += 1
"""


def test_killed_at_any_moment_every_acknowledged_record_is_there_once(tmp_path):
    chance = random.Random(7)
    for turn in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            told = len(writer.stdout.read(chance.randrange(1, 400)))
            writer.kill()
            told += len(writer.stdout.read())
        found = [record.split()[:2] for record in kept(tmp_path) if record.startswith(b"%d " % turn)]
        assert found == [[b"%d" % turn, b"%d" % number] for number in range(len(found))]
        assert told <= len(found) <= told + 1  # one more: taken, and killed before it could say so
    assert set(files(tmp_path)) == {".sealed"}


@pytest.mark.parametrize("point", ["spool.begun", "spool.sealed"])
def test_killed_between_two_steps_nothing_is_lost(tmp_path, monkeypatch, point):
    monkeypatch.setenv("HEADRACE_FAILPOINT", point)
    command = [sys.executable, "-c", WRITER, str(tmp_path), "0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(kept(tmp_path)) == len(done.stdout)


PARENT = """
import os, sys
from pathlib import Path
from headrace.scoring.spool import Spool

spool = Spool(Path(sys.argv[1]), max_age=3600)
spool.append(b"parent 1")
if os.fork() == 0:
    os.write(1, b"!")
    sys.stdin.read()  # lives on until the test lets go
    spool.append(b"child")
    spool.close()
    os._exit(0)
spool.append(b"parent 2")
os.write(1, b"!")
os.kill(os.getpid(), 9)
"""


def test_a_child_writes_its_own_segment_and_does_not_hold_its_dead_parents(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.read(2) == b"!!"
        assert parent.wait() == -signal.SIGKILL
        assert kept(tmp_path) == [b"parent 1", b"parent 2"]
        parent.stdin.close()
        parent.stdout.read()  # ends when the child does
    assert kept(tmp_path) == [b"parent 1", b"parent 2", b"child"]


def test_what_a_child_does_leaves_the_parents_segment_locked(tmp_path):
    with Spool(tmp_path, max_age=3600) as spool:
        spool.append(b"before")
        child = os.fork()
        if child == 0:
            spool.append(b"child")
            spool.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert kept(tmp_path) == [b"child"]
        spool.append(b"after")
    assert sorted(kept(tmp_path)) == [b"after", b"before", b"child"]


CROWD = """
import os, sys
from pathlib import Path
from headrace.scoring.spool import Spool

for me in range(3):
    if os.fork() == 0:
        with Spool(Path(sys.argv[1]), max_bytes=1) as spool:  # a new segment for each record
            for number in range(400):
                spool.append(b"%d %d" % (me, number))
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
"""


def test_writers_and_readers_at_once_lose_and_double_nothing(tmp_path):
    """Each segment is taken as soon as it may be, also in the moment between its beginning and its lock."""
    taken = []
    with subprocess.Popen([sys.executable, "-c", CROWD, str(tmp_path)]) as crowd:
        done = False
        while not done:
            done = crowd.poll() is not None
            for segment in segments(tmp_path):
                with segment.claimed() as ours:
                    if ours:  # else its writer has renamed it, and not let go of it yet
                        taken += segment.records()
                        segment.delete()
    assert crowd.returncode == 0
    assert sorted(taken) == sorted(b"%d %d" % (me, number) for me in range(3) for number in range(400))
    assert files(tmp_path) == []


def test_a_segment_is_one_readers_at_a_time_and_nobodys_once_deleted(tmp_path):
    with Spool(tmp_path) as spool:
        spool.append(b"a")
    (segment,) = segments(tmp_path)
    with segment.claimed() as first, segment.claimed() as second:
        assert (first, second) == (True, False)
    with segment.claimed() as ours:
        assert ours
        segment.delete()
        segment.delete()
    with segment.claimed() as ours:
        assert not ours


# ---------------------------------------------------------------------------------------------- full

FULL = """
import errno, resource, sys
from pathlib import Path
from headrace.scoring.spool import Spool, SpoolFullError

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the kernel writes a part of a frame, then gives EFBIG
taken, refused = 0, 0
with Spool(Path(sys.argv[1]), max_age=3600) as spool:
    for number in range(20):
        try:
            spool.append(b"%d " % number + b"x" * 90)
            taken += 1
        except SpoolFullError as error:
            assert error.__cause__.errno == errno.EFBIG, error
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    spool.append(b"after")
print(taken, refused)
"""


def test_what_a_full_disk_refuses_is_cut_away_again_and_the_segment_stays_sound(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    taken, refused = map(int, done.stdout.split())
    assert refused > 0
    (segment,) = segments(tmp_path)
    found = segment.contents()
    assert [record.split()[0] for record in found.records] == [*(b"%d" % n for n in range(taken)), b"after"]
    assert (found.torn, found.damaged) == (0, ())


def test_the_limit_is_over_all_segments_and_room_that_was_made_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(spooling, "RECOUNT", 0)
    record = b"x" * 100
    with Spool(tmp_path, limit_bytes=1000, max_age=3600) as one, Spool(tmp_path, limit_bytes=1000) as other:
        for _ in range(4):
            one.append(record)
        one.close()
        for _ in range(4):
            other.append(record)
        with pytest.raises(SpoolFullError, match="of 1,000 bytes"):
            other.append(record)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
        for segment in segments(tmp_path):
            segment.delete()
        other.append(record)


def test_a_folder_that_cannot_be_written_is_told_and_used_as_soon_as_it_can(tmp_path):
    folder = tmp_path / "spool"
    folder.write_text("in the way")
    with Spool(folder) as spool:
        with pytest.raises(SpoolFullError, match="cannot be written"):
            spool.append(b"a")
        folder.unlink()
        spool.append(b"b")
    assert kept(folder) == [b"b"]


def test_a_segment_that_somebody_removed_is_told_once(tmp_path):
    spool = Spool(tmp_path, max_age=0)
    spool.append(b"gone")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(SpoolFullError):
        spool.append(b"a")
    spool.append(b"b")
    spool.close()
    assert kept(tmp_path) == [b"b"]


def test_a_full_spool_is_full_until_what_was_refused_fits(tmp_path):
    spool = Spool(tmp_path, limit_bytes=12_000)
    spool.append(b"a" * 2_000)
    with pytest.raises(SpoolFullError):
        spool.append(b"b" * 11_000)
    with pytest.raises(SpoolFullError):  # 4,000 would fit
        spool.check()
    spool.close()
    for each in tmp_path.iterdir():  # somebody ingests
        each.unlink()
    spool.check()
    spool.append(b"b" * 11_000)
    spool.close()
    (sealed,) = tmp_path.iterdir()
    assert unframe(sealed.read_bytes()).records == (b"b" * 11_000,)


def test_what_can_never_fit_is_told_apart(tmp_path):
    spool = Spool(tmp_path, limit_bytes=12_000)
    with pytest.raises(TooLargeError, match="12,000"):
        spool.append(b"b" * 12_000)
    spool.append(b"a")


def test_what_is_left_of_a_trial_is_a_torn_end(tmp_path):
    with Spool(tmp_path) as spool:
        spool.append(b"one")
        kept = unframe(spool._path.read_bytes() + b"\xff" * 5_000)
    assert (kept.records, kept.torn, kept.damaged) == ((b"one",), 5_000, ())
