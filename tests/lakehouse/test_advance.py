"""Changes that stand on stretches of inputs: each stretch once, whoever else writes, whatever was restored."""

import subprocess
import sys

import pyarrow as pa
import pytest

from headrace.core.errors import MovedError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append

NAME = "gold.t"


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path))


def rows(*values):
    return lambda _: Append(pa.table({"k": pa.array(values, pa.int64())}))


def there(lake):
    return sorted(lake.snapshot(NAME).to_arrow()["k"].to_pylist())


def test_several_inputs_advance_in_one_version(lake):
    assert lake.reached(NAME, ["a", "b"]) == {"a": None, "b": None}
    first = lake.advance(NAME, "x", rows(1, 2), {"a": (None, 10), "b": (None, 7)})
    assert lake.reached(NAME, ["a", "b", "c"]) == {"a": 10, "b": 7, "c": None}
    second = lake.advance(NAME, "x", rows(3), {"a": (10, 12)})
    assert second.version == first.version + 1
    assert lake.reached(NAME, ["a", "b"]) == {"a": 12, "b": 7}
    assert there(lake) == [1, 2, 3]


@pytest.mark.parametrize("start", [None, 0, 9, 11])
def test_a_stretch_that_begins_elsewhere_writes_nothing(lake, start):
    lake.advance(NAME, "x", rows(1), {"a": (None, 10), "b": (None, 1)})
    version = lake.snapshot(NAME).version
    with pytest.raises(MovedError, match=f"a has come to 10, and this change begins at {start}"):
        lake.advance(NAME, "x", rows(2), {"b": (1, 2), "a": (start, 12)})
    assert lake.snapshot(NAME).version == version
    assert lake.reached(NAME, ["a", "b"]) == {"a": 10, "b": 1}


def test_one_that_has_been_made_is_not_made_again(lake):
    lake.advance(NAME, "x", rows(1), {"a": (None, 10)})
    assert lake.advance(NAME, "x", rows(1), {"a": (None, 10)}).already
    assert there(lake) == [1]


def test_a_stretch_without_rows_advances(lake):
    lake.advance(NAME, "x", rows(1), {"a": (None, 1)})
    lake.advance(NAME, "x", rows(), {"a": (1, 5)})
    assert lake.reached(NAME, ["a"]) == {"a": 5}
    assert there(lake) == [1]


def test_restoring_the_table_takes_its_inputs_back_too(lake):
    lake.advance(NAME, "x", rows(1), {"a": (None, 1), "b": (None, 5)})
    before = lake.snapshot(NAME).version
    lake.advance(NAME, "x", rows(2), {"a": (1, 2)})
    lake.restore(NAME, before)
    assert lake.reached(NAME, ["a", "b"]) == {"a": 1, "b": 5}
    with pytest.raises(MovedError):
        lake.advance(NAME, "x", rows(3), {"a": (2, 3)})
    lake.advance(NAME, "x", rows(2, 3), {"a": (1, 3)})
    assert lake.reached(NAME, ["a", "b"]) == {"a": 3, "b": 5}
    assert there(lake) == [1, 2, 3]


WORKERS = """
import os, random, sys
import pandas
import pyarrow as pa
from headrace.core.errors import MovedError
from headrace.lakehouse.writes import Append
from headrace.lakehouse.lakehouse import Lakehouse

root, processes, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def work(me):
    lake, draw = Lakehouse("dev", root), random.Random(me)
    at = lake.reached("gold.t", ["a", "b"])
    while min(each or 0 for each in at.values()) < end:
        to = {name: min(end, (each or 0) + draw.randint(1, 5)) for name, each in at.items()}
        made = [f"{name}{place}" for name in to for place in range(at[name] or 0, to[name])]
        try:
            lake.advance("gold.t", "x", lambda _: Append(pa.table({"k": pa.array(made, pa.string())})),
                         {name: (at[name], to[name]) for name in to if to[name] > (at[name] or 0)})
        except MovedError:
            pass
        at = lake.reached("gold.t", ["a", "b"])

children = []
for me in range(processes):
    child = os.fork()
    if child == 0:
        try:
            work(me)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_four_processes_at_the_same_inputs_apply_each_offset_once(lake, tmp_path):
    subprocess.run([sys.executable, "-c", WORKERS, str(tmp_path), "4", "40"], check=True)
    assert there(lake) == sorted(f"{name}{place}" for name in "ab" for place in range(40))
    assert lake.reached(NAME, ["a", "b"]) == {"a": 40, "b": 40}
