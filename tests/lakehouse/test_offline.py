"""A lakehouse that is renamed away comes back, also when whoever did it was killed."""

import signal
import subprocess
import sys

import pytest

from headrace.core.errors import DataError
from headrace.lakehouse.offline import away, put_back

DIES = """
import os, signal, sys
from headrace.lakehouse.offline import away
with away(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def lakehouse(tmp_path):
    (tmp_path / "lakehouse").mkdir()
    (tmp_path / "lakehouse" / "rows").write_text("a year of work")
    return tmp_path / "lakehouse"


def test_it_is_gone_meanwhile_and_back_afterwards(lakehouse):
    with away(str(lakehouse)):
        assert not lakehouse.exists()
        put_back(str(lakehouse))  # somebody else opens the environment: it stays away while its owner lives
        assert not lakehouse.exists()
    assert (lakehouse / "rows").read_text() == "a year of work"


def test_an_error_inside_brings_it_back(lakehouse):
    with pytest.raises(ZeroDivisionError), away(str(lakehouse)):
        raise ZeroDivisionError
    assert (lakehouse / "rows").exists()


def test_killed_inside_the_next_who_opens_it_puts_it_back(lakehouse):
    done = subprocess.run([sys.executable, "-c", DIES, str(lakehouse)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not lakehouse.exists()
    put_back(str(lakehouse))
    put_back(str(lakehouse))
    assert (lakehouse / "rows").read_text() == "a year of work"


def test_another_one_in_its_place_is_told_and_nothing_is_lost(lakehouse):
    with pytest.raises(DataError, match="another one was made meanwhile"), away(str(lakehouse)):
        lakehouse.mkdir()
    with pytest.raises(DataError, match="another one was made meanwhile"):
        put_back(str(lakehouse))
    assert (lakehouse.parent / "lakehouse.aside" / "rows").read_text() == "a year of work"
