"""kill -9 at every step of an update and of a build, and at any moment: the end is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.core.failpoints import VARIABLE
from headrace.lakehouse.lakehouse import Lakehouse

from .conftest import Docs, HashEmbedder

NAME = "features.docs_index"
ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from tests.llm.index.conftest import HashEmbedder, declared
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.llm.index.opening import open_index
from headrace.llm.index.update import update
folder = Path(sys.argv[1])
lakehouse, declaration = Lakehouse("dev", str(folder / "lakehouse")), declared(store=sys.argv[2])
class Slow(HashEmbedder):
    def embed(self, texts):
        with (folder / "embedded").open("a") as file:
            file.write("".join(f"{text}\\n" for text in texts))
        return super().embed(texts)
update(lakehouse, declaration, Slow(), id="u", cache=folder / "vectors")
index = open_index(lakehouse, declaration, cache=folder / "indexes", embedder=HashEmbedder())
print(index.version, len(index), index.search("text 7", 1)[0].key)
"""
PLACES = (
    f"index.planned:{NAME}",
    f"index.embedded:{NAME}",
    f"commit.computed:{NAME}",
    f"commit.committed:{NAME}",
    f"index.rows_written:{NAME}",
    f"index.built:{NAME}",
)

DELETING = (
    PROGRAM
    + "\nfrom headrace.llm.index.opening import prune\nprint(*prune(declaration, cache=folder / 'indexes', keep=1))\n"
)


def command(folder, store, place="", program=PROGRAM):
    env = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: place}
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder), store],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def rows(folder):
    table = (
        Lakehouse("dev", str(folder / "lakehouse")).snapshot(NAME).to_arrow(["key", "chunk", "text", "vector", "title"])
    )
    return table.sort_by("key").to_pylist()


def check(folder, wanted, count):
    found = rows(folder)
    assert [(row["key"], row["text"]) for row in found] == sorted(wanted.items())
    vectors = HashEmbedder().embed([row["text"] for row in found]).tolist()
    assert [row["vector"] for row in found] == vectors
    home = folder / "indexes" / NAME
    assert [each for each in home.iterdir() if each.name.startswith(".building")] == []
    assert len(found) == count


@pytest.mark.parametrize("store", ["exact", "lancedb"])
def test_killed_at_every_step(tmp_path, store):
    docs = Docs(Lakehouse("dev", str(tmp_path / "lakehouse")))
    bodies = {f"k{number}": f"text {number}" for number in range(150)}
    docs.write(bodies)
    for place in PLACES:
        died = command(tmp_path, store, place)
        died.communicate(timeout=120)
        assert died.returncode == -signal.SIGKILL, place
    done = command(tmp_path, store)
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out.split()[1:]) == (0, ["150", "k7"]), err
    check(tmp_path, bodies, 150)
    embedded = (tmp_path / "embedded").read_text().splitlines()
    assert len(embedded) == len(set(embedded)) == 150  # nothing was embedded twice
    versions = Lakehouse("dev", str(tmp_path / "lakehouse")).history(NAME)
    assert sum(entry.rows_written > 0 for entry in versions) == 1


def test_killed_at_any_moment_again_and_again(tmp_path):
    draw = random.Random(3)
    docs = Docs(Lakehouse("dev", str(tmp_path / "lakehouse")))
    bodies = {f"k{number}": f"text {number}" for number in range(150)}
    docs.write(bodies)
    began = time.monotonic()
    first = command(tmp_path, "exact")
    first.communicate(timeout=120)
    usual = time.monotonic() - began
    died = 0
    for round_ in range(4):
        changed = {f"k{draw.randrange(160)}": f"round {round_} {number}" for number in range(20)}
        gone = [key for key in draw.sample(sorted(bodies), 5) if key not in changed and key != "k7"]
        changed.pop("k7", None)
        bodies = {key: body for key, body in {**bodies, **changed}.items() if key not in gone}
        docs.upsert(changed, gone)
        running = [command(tmp_path, "exact") for _ in range(2)]  # two at once; each is killed somewhere
        for process in running:
            time.sleep(draw.uniform(0.3, 0.6) * usual)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=120)
            died += process.returncode == -signal.SIGKILL
    assert died
    done = command(tmp_path, "exact")
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out.split()[1:]) == (0, [str(len(bodies)), "k7"]), err
    check(tmp_path, bodies, len(bodies))


def test_killed_while_an_old_version_is_deleted(tmp_path):
    docs = Docs(Lakehouse("dev", str(tmp_path / "lakehouse")))
    for number in range(2):
        docs.write({f"k{number}": f"text {number}" for number in range(8 + number)})
        command(tmp_path, "exact").communicate(timeout=120)
    home = tmp_path / "indexes" / NAME
    assert len([*home.glob("[0-9]*")]) == 2
    died = command(tmp_path, "exact", f"index.deleting:{NAME}", DELETING)
    died.communicate(timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert len([*home.glob("[0-9]*")]) == 1  # the old one is gone as a whole
    assert len([*home.glob(".building-*")]) == 1
    done = command(tmp_path, "exact", program=DELETING)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert out.split()[1:] == ["9", "k7"]  # and nothing else was deleted
    assert len([*home.glob("[0-9]*")]) == 1
    assert [*home.glob(".building-*")] == []
