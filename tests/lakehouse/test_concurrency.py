"""Many processes on one table: nothing is lost, nothing is doubled."""

import subprocess
import sys

import pyarrow as pa

from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Upsert

PROCESSES, ROUNDS, KEYS = 8, 6, 5

# Each round is one append and one merge. The merge adds 1 to the counters of the same few keys for everybody, so a lost
# or repeated update shows in the sum. Every second append is one that the neighbour makes too, under the same id.
# The processes are forked from one that has imported everything and used nothing, so no thread of a library is shared.
WORKERS = """
import os, sys
import pandas
import pyarrow as pa
from headrace.lakehouse.writes import Append, Upsert
from headrace.lakehouse.lakehouse import Lakehouse

root, processes, rounds, keys = sys.argv[1], *map(int, sys.argv[2:])

def count(snapshot):
    if snapshot is None:
        return Upsert(pa.table({"k": list(range(keys)), "total": [1] * keys}), ["k"])
    there = snapshot.to_arrow()
    return Upsert(pa.table({"k": there["k"], "total": [each + 1 for each in there["total"].to_pylist()]}), ["k"])

def work(me):
    lake = Lakehouse("dev", root)
    for each in range(rounds):
        writer = me if each % 2 else me // 2
        lake.commit("silver.log", f"{writer}/{each}", lambda _: Append(pa.table({"writer": [writer], "round": [each]})))
        lake.commit("silver.counts", f"{me}/{each}", count)

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


def test_eight_processes_lose_and_double_nothing(tmp_path):
    subprocess.run([sys.executable, "-c", WORKERS, str(tmp_path), *map(str, (PROCESSES, ROUNDS, KEYS))], check=True)
    lake = Lakehouse("dev", str(tmp_path))
    made = {(me if each % 2 else me // 2, each) for me in range(PROCESSES) for each in range(ROUNDS)}
    log = lake.snapshot("silver.log").to_arrow()
    assert sorted(zip(log["writer"].to_pylist(), log["round"].to_pylist(), strict=True)) == sorted(made)
    assert lake.snapshot("silver.log").version == len(made)
    counts = lake.snapshot("silver.counts").to_arrow().sort_by("k")
    assert counts.to_pydict() == {"k": list(range(KEYS)), "total": [PROCESSES * ROUNDS] * KEYS}


def test_optimizing_beside_writers_changes_no_row(tmp_path):
    lake = Lakehouse("dev", str(tmp_path))
    for each in range(3):
        lake.commit("silver.t", f"{each}", lambda _, each=each: Append(pa.table({"k": [each]})))

    def change(snapshot):
        if len(snapshot.table.file_uris()) > 1:
            lake.optimize("silver.t")
        return Upsert(pa.table({"k": [1, 9]}), ["k"])

    lake.commit("silver.t", "x", change)
    assert sorted(lake.snapshot("silver.t").to_arrow()["k"].to_pylist()) == [0, 1, 2, 9]
