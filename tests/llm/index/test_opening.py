"""A version of an index is built once, whole, beside its place; and a package is searched without the lakehouse."""

import dataclasses
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pytest

import headrace as hr
from headrace.core.errors import DataError, NotFoundError, RefusedError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite
from headrace.llm.index import lance
from headrace.llm.index.opening import open_folder, open_index, prune
from headrace.llm.index.package import read_package, write_package
from headrace.llm.index.recall import recall
from headrace.llm.index.update import update

from .conftest import DOCS, Docs, HashEmbedder, declared

KINDS = ["exact", "lancedb"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=KINDS)
def declaration(request):
    return declared(store=request.param)


def bodies(count, **others):
    return {**{f"d{number:05}": f"text number {number} about rivers" for number in range(count)}, **others}


def updated(lakehouse, declaration, tmp_path):
    return update(lakehouse, declaration, HashEmbedder(), id="u", cache=tmp_path / "vectors").version


def opened(lakehouse, declaration, tmp_path, version=None):
    return open_index(lakehouse, declaration, version, cache=tmp_path / "indexes", embedder=HashEmbedder())


def folders(tmp_path):
    return sorted(each.name for each in (tmp_path / "indexes" / "features.docs_index").iterdir() if each.is_dir())


def test_a_text_finds_its_document_in_each_version(lakehouse, declaration, tmp_path):
    docs = Docs(lakehouse)
    docs.write(bodies(20, x="a lonely mountain"))
    first = updated(lakehouse, declaration, tmp_path)
    docs.upsert({"x": "a lonely valley"}, delete=["d00003"])
    second = updated(lakehouse, declaration, tmp_path)
    for version, text in ((first, "a lonely mountain"), (second, "a lonely valley")):
        index = opened(lakehouse, declaration, tmp_path, version)
        (hit,) = index.search(text, 1)
        assert (index.version, hit.key, hit.text, hit.metadata) == (version, "x", text, {"title": "title x"})
        assert hit.score == pytest.approx(2 / 61)
        (near,) = index.search(text, 1, hybrid=False)
        assert near.score == pytest.approx(1, abs=1e-5)
    assert len(opened(lakehouse, declaration, tmp_path, first)) == 21
    assert len(opened(lakehouse, declaration, tmp_path)) == 20
    assert len(folders(tmp_path)) == 2
    prune(declaration, cache=tmp_path / "indexes", keep=1)
    assert len(folders(tmp_path)) == 1
    assert len(opened(lakehouse, declaration, tmp_path, first)) == 21  # built again


def test_a_version_that_is_searched_is_not_deleted_by_whoever_searches_it(lakehouse, declaration, tmp_path):
    docs = Docs(lakehouse)
    indexes = []
    for number in range(4):
        docs.write(bodies(1100 + number))
        updated(lakehouse, declaration, tmp_path)
        indexes.append(opened(lakehouse, declaration, tmp_path))
    names = sorted(folders(tmp_path), key=lambda name: int(name.split("-")[0]))
    first = indexes[0].embedded_by(HashEmbedder())  # one object of it is enough
    del indexes[:]
    assert prune(declaration, cache=tmp_path / "indexes") == [names[1]]
    assert folders(tmp_path) == sorted([names[0], *names[2:]])
    # nothing of it has been read before
    assert first.search("text number 7 about rivers", 1)[0].key == "d00007"
    del first
    assert prune(declaration, cache=tmp_path / "indexes") == [names[0]]


SEARCHED_LATER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.llm.index.test_opening import opened, declared
from headrace.lakehouse.lakehouse import Lakehouse
folder = Path(sys.argv[1])
index = opened(Lakehouse("dev", str(folder / "lakehouse")), declared(store=sys.argv[2]), folder)
print("open", flush=True)
sys.stdin.readline()
print(index.search("text number 7 about rivers", 1)[0].key, flush=True)
sys.stdin.readline()
"""


def test_a_version_that_another_process_has_open_stays_until_it_ends_however_it_ends(lakehouse, declaration, tmp_path):
    docs = Docs(lakehouse)
    docs.write(bodies(1100))
    updated(lakehouse, declaration, tmp_path)
    command = [sys.executable, "-c", SEARCHED_LATER, str(tmp_path), declaration.store, str(ROOT)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "open\n"
        (old,) = folders(tmp_path)
        for number in range(3):
            docs.write(bodies(1200 + number))
            updated(lakehouse, declaration, tmp_path)
            opened(lakehouse, declaration, tmp_path)
        assert old not in prune(declaration, cache=tmp_path / "indexes")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "d00007\n"
        process.kill()
    assert old in prune(declaration, cache=tmp_path / "indexes")


def test_opening_and_deleting_at_once_never_finds_half_a_version(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write(bodies(20))
    updated(lakehouse, declaration, tmp_path)
    ended = Event()

    def delete():
        count = 0
        while not ended.is_set():
            count += len(prune(declaration, cache=tmp_path / "indexes", keep=0))
        return count

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(delete)
        try:
            for _ in range(25):
                index = opened(lakehouse, declaration, tmp_path)
                assert index.search("text number 7 about rivers", 1)[0].key == "d00007"
                del index
        finally:
            ended.set()
        assert deleting.result()


def test_words_and_vectors_are_merged(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write(bodies(200, y="the zebra crossing", z="zebra"))
    updated(lakehouse, declaration, tmp_path)
    index = opened(lakehouse, declaration, tmp_path)
    # the nearest vector is of another text: the first by words comes beside it
    assert "z" in {hit.key for hit in index.search("a zebra", 2)}
    assert "z" not in {hit.key for hit in index.search("a zebra", 2, hybrid=False)}
    assert index.search("a zebra", 3) == index.search("a zebra", 3)
    assert [hit.key for hit in index.search("zebra", 5, {"title": "title y"})] == ["y"]


def test_the_declared_ranking_is_that_of_now(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write(bodies(200, z="zebra"))
    updated(lakehouse, declaration, tmp_path)
    assert "z" in {hit.key for hit in opened(lakehouse, declaration, tmp_path).search("a zebra", 2)}
    by_meaning = dataclasses.replace(declaration, hybrid=False)
    index = opened(lakehouse, by_meaning, tmp_path)
    assert "z" not in {hit.key for hit in index.search("a zebra", 2)}
    assert len(folders(tmp_path)) == 1
    write_package(index, tmp_path / "package")
    packed = read_package(tmp_path / "package", embedder=HashEmbedder())
    assert packed.search("a zebra", 2) == index.search("a zebra", 2)
    assert "z" in {hit.key for hit in packed.search("a zebra", 2, hybrid=True)}


def test_what_a_killed_process_left_is_removed_and_a_broken_folder_is_built_again(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write(bodies(20))
    updated(lakehouse, declaration, tmp_path)
    opened(lakehouse, declaration, tmp_path)
    (name,) = folders(tmp_path)
    home = tmp_path / "indexes" / "features.docs_index"
    shutil.copytree(home / name, home / ".building-left")
    (home / name / "index.json").unlink()
    assert len(opened(lakehouse, declaration, tmp_path)) == 20
    assert folders(tmp_path) == [name]
    (home / name / "index.json").write_text((home / name / "index.json").read_text().replace("16", "17"))
    with pytest.raises(DataError, match="was changed"):
        open_folder(home / name)


def search_in_a_process(root, store, tmp_path):
    index = opened(Lakehouse("dev", str(root)), declared(store=store), tmp_path)
    return index.version, [hit.key for hit in index.search("text number 7 about rivers", 3)]


@pytest.mark.parametrize("store", KINDS)
def test_processes_that_open_it_at_once_build_it_once(lakehouse, tmp_path, store):
    Docs(lakehouse).write(bodies(1200))
    updated(lakehouse, declared(store=store), tmp_path)
    with get_context("spawn").Pool(2) as pool:
        found = pool.starmap(search_in_a_process, [(tmp_path / "lakehouse", store, tmp_path)] * 2)
    assert found[0][1][0] == "d00007"
    assert found[1:] == found[:1]
    assert len(folders(tmp_path)) == 1


def test_lancedb_is_brought_up_to_date_from_the_version_before(lakehouse, tmp_path, monkeypatch):
    declaration, docs = declared(store="lancedb"), Docs(lakehouse)
    docs.write(bodies(1500))
    first = updated(lakehouse, declaration, tmp_path)
    old = opened(lakehouse, declaration, tmp_path)
    before = old.search("text number 9 about rivers", 5)
    docs.upsert({"d00004": "changed entirely", "new": "quite new"}, delete=["d00005", "d00006"])
    updated(lakehouse, declaration, tmp_path)
    monkeypatch.setattr(lance, "_index", lambda *_: pytest.fail("built from nothing"))
    index = opened(lakehouse, declaration, tmp_path)
    assert len(index) == 1499
    for text, key in (
        ("changed entirely", "d00004"),
        ("quite new", "new"),
        ("text number 1499 about rivers", "d01499"),
    ):
        assert index.search(text, 1)[0].key == key
        assert index.search(text, 1, hybrid=False)[0].key == key
    gone = {hit.key for hit in index.search("text number 5 about rivers", 1000)}
    assert not {"d00005", "d00006"} & gone
    assert recall(index) >= 0.95
    assert old.search("text number 9 about rivers", 5) == before  # the older version is as it was
    assert opened(lakehouse, declaration, tmp_path, first).search("text number 5 about rivers", 1)[0].key == "d00005"


def test_auto_is_exact_for_few_rows(lakehouse, tmp_path):
    Docs(lakehouse).write(bodies(3))
    updated(lakehouse, declared(), tmp_path)
    assert opened(lakehouse, declared(), tmp_path).store.name == "exact"
    assert (declared().kind(49_999), declared().kind(50_000)) == ("exact", "lancedb")


def test_an_index_without_rows(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write({})
    updated(lakehouse, declaration, tmp_path)
    assert opened(lakehouse, declaration, tmp_path).search("anything") == []


def test_another_embedder_or_dimension_is_refused(lakehouse, declaration, tmp_path):
    with pytest.raises(NotFoundError, match=r"features\.docs_index"):
        opened(lakehouse, declaration, tmp_path)
    Docs(lakehouse).write(bodies(5))
    updated(lakehouse, declaration, tmp_path)
    cache = tmp_path / "indexes"
    with pytest.raises(RefusedError, match="another embedder"):
        open_index(lakehouse, declaration, cache=cache, embedder=HashEmbedder(digest="other"))
    with pytest.raises(RefusedError, match="16 numbers, and the embedder gives 20"):
        open_index(lakehouse, declaration, cache=cache, embedder=HashEmbedder(dimension=20))
    with pytest.raises(DataError, match="vectors of 16 numbers, and 20 are declared"):
        open_index(lakehouse, declared(dimension=20), cache=tmp_path / "other")
    with pytest.raises(NotFoundError, match="version"):
        opened(lakehouse, declaration, tmp_path, 99)


def test_rows_that_something_else_wrote_are_checked(lakehouse, tmp_path):
    Docs(lakehouse).write(bodies(2))
    updated(lakehouse, declared(), tmp_path)
    rows = lakehouse.snapshot("features.docs_index").to_arrow()
    long = pa.array([[2.0] * 16] * 2, pa.list_(pa.float32()))
    position = rows.schema.get_field_index("vector")
    lakehouse.commit("features.docs_index", "hand", lambda _: Overwrite(rows.set_column(position, "vector", long)))
    with pytest.raises(DataError, match="not of length 1"):
        opened(lakehouse, declared(), tmp_path)


def test_a_package_is_searched_without_the_lakehouse(lakehouse, declaration, tmp_path):
    Docs(lakehouse).write(bodies(1200, x="a lonely mountain"))
    updated(lakehouse, declaration, tmp_path)
    index = opened(lakehouse, declaration, tmp_path)
    write_package(index, tmp_path / "package")
    wanted = index.search("a lonely mountain", 3, {"title": ("!=", "title d00001")})
    shutil.rmtree(tmp_path / "lakehouse")
    shutil.rmtree(tmp_path / "indexes")
    shutil.move(tmp_path / "package", tmp_path / "elsewhere")
    packed = read_package(tmp_path / "elsewhere", embedder=HashEmbedder())
    assert packed.search("a lonely mountain", 3, {"title": ("!=", "title d00001")})[0] == wanted[0]
    assert (packed.version, len(packed), packed.store.name) == (index.version, 1201, "exact")
    np.testing.assert_array_equal(packed.rows.vectors[3], HashEmbedder().embed(["text number 3 about rivers"])[0])
    assert sorted(each.name for each in (tmp_path / "elsewhere").iterdir()) == [
        "index.json",
        "rows.arrow",
        "words.arrow",
    ]
    with pytest.raises(DataError, match="is not empty"):
        write_package(packed, tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="another embedder"):
        read_package(tmp_path / "elsewhere", embedder=HashEmbedder(digest="other"))


@pytest.mark.parametrize("harm", ["no description", "no json", "cut", "format"])
def test_a_harmed_package_is_refused(lakehouse, tmp_path, harm):
    Docs(lakehouse).write(bodies(5))
    updated(lakehouse, declared(), tmp_path)
    folder = tmp_path / "package"
    write_package(opened(lakehouse, declared(), tmp_path), folder)
    match harm:
        case "no description":
            (folder / "index.json").unlink()
        case "no json":
            (folder / "index.json").write_text("[")
        case "cut":
            (folder / "rows.arrow").write_bytes((folder / "rows.arrow").read_bytes()[:50])
        case "format":
            told = json.loads((folder / "index.json").read_text())
            (folder / "index.json").write_text(json.dumps({**told, "index": {**told["index"], "format": 2}}))
    with pytest.raises(DataError):
        read_package(folder)


def test_minilm_finds_what_is_meant(lakehouse, tmp_path):
    from headrace.llm.embedding.opening import open_embedder

    index = hr.VectorIndex("features.docs_index", table=DOCS, text="body", embed=hr.Embedding("minilm"))
    Docs(lakehouse).write(
        {
            "password": "You can set a new password on the account page.",
            "rain": "It is raining in London.",
            "delta": "Each version of the rows stays in a Delta table.",
        }
    )
    embedder = open_embedder(index.embed)
    update(lakehouse, index, embedder, id="u", cache=tmp_path / "vectors")
    found = open_index(lakehouse, index, cache=tmp_path / "indexes", embedder=embedder)
    assert found.search("I forgot my login secret", 1)[0].key == "password"
    assert found.search("Is old data kept?", 1, hybrid=False)[0].key == "delta"
