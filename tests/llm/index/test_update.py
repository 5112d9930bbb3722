"""The index has one row for each document with text, by its latest version, however updates run and die."""

import dataclasses
import gzip
import marshal
import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError, NotFoundError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Overwrite
from headrace.llm.index.update import update
from headrace.llm.index.vector_cache import VectorCache

from .conftest import DOCS, Docs, HashEmbedder, declared

NAME = "features.docs_index"


def run(lakehouse, embedder, tmp_path, declaration=None, **options):
    return update(lakehouse, declaration or declared(), embedder, id="run", cache=tmp_path / "vectors", **options)


def content(lakehouse, version=None):
    return {
        (row["key"], row["chunk"]): (row["text"], row.get("title"), tuple(row["vector"]))
        for row in lakehouse.snapshot(NAME, version).to_arrow().to_pylist()
    }


def expected(bodies, titles=None):
    vectors = HashEmbedder().embed(list(bodies.values()))
    return {
        (key, 0): (body, (titles or {}).get(key, f"title {key}"), tuple(vector.tolist()))
        for (key, body), vector in zip(bodies.items(), vectors, strict=True)
    }


def test_only_what_is_new_or_changed_is_embedded(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first", "b": "second", "c": "third"})
    first = run(lakehouse, embedder, tmp_path)
    assert (first.rows, first.added, first.changed, first.removed, first.embedded) == (3, 3, 0, 0, 3)
    embedder.embedded.clear()
    docs.upsert({"b": "changed", "d": "fourth"}, delete=["c"])
    second = run(lakehouse, embedder, tmp_path)
    assert (second.rows, second.added, second.changed, second.removed, second.embedded) == (3, 1, 1, 1, 2)
    assert sorted(embedder.embedded) == ["changed", "fourth"]
    assert second.version == first.version + 1
    assert content(lakehouse) == expected({"a": "first", "b": "changed", "d": "fourth"})
    assert content(lakehouse, first.version) == expected({"a": "first", "b": "second", "c": "third"})
    assert list((tmp_path / "vectors").rglob("*.arrow")) == []


def test_with_a_change_feed_only_changed_documents_are_read(lakehouse, embedder, tmp_path):
    docs = Docs(lakehouse)
    docs.write({str(number): f"text {number}" for number in range(50)})
    assert run(lakehouse, embedder, tmp_path).read == 50
    docs.upsert({"7": "changed"}, delete=["8"])
    docs.upsert({"9": "changed too"})
    done = run(lakehouse, embedder, tmp_path)
    assert (done.read, done.changed, done.removed) == (2, 2, 1)
    lakehouse.optimize(DOCS.name)
    docs.upsert({}, delete=["9"])
    done = run(lakehouse, embedder, tmp_path)
    assert (done.read, done.removed, done.rows) == (0, 1, 48)


def test_a_second_update_makes_no_version(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first"})
    first = run(lakehouse, embedder, tmp_path)
    again = run(lakehouse, embedder, tmp_path)
    assert (again.version, again.rows, again.embedded) == (first.version, 1, 0)
    docs.write({"a": "first"})  # another version of the same rows
    assert run(lakehouse, embedder, tmp_path).version == first.version


def test_a_changed_title_is_written_and_not_embedded(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first", "b": "second"})
    run(lakehouse, embedder, tmp_path)
    docs.upsert({"a": "first"}, titles={"a": "new"})
    done = run(lakehouse, embedder, tmp_path)
    assert (done.changed, done.embedded) == (1, 0)
    assert content(lakehouse) == expected({"a": "first", "b": "second"}, {"a": "new"})


def test_a_document_with_a_new_key_and_a_known_text_is_not_embedded(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first", "b": "second", "c": "second"})
    assert run(lakehouse, embedder, tmp_path).embedded == 2
    docs.write({"x": "first", "b": "second"})
    done = run(lakehouse, embedder, tmp_path)
    assert (done.added, done.removed, done.embedded) == (1, 2, 0)
    assert content(lakehouse) == expected({"x": "first", "b": "second"})


def test_a_table_that_was_restored_or_made_anew_is_followed(lakehouse, docs, embedder, tmp_path):
    before = docs.write({"a": "first", "b": "second"}).version
    run(lakehouse, embedder, tmp_path)
    docs.upsert({"c": "third"}, delete=["a"])
    run(lakehouse, embedder, tmp_path)
    lakehouse.restore(DOCS.name, before)
    run(lakehouse, embedder, tmp_path)
    assert content(lakehouse) == expected({"a": "first", "b": "second"})
    lakehouse.drop(DOCS.name)
    docs.write({"b": "second", "d": "fourth"})
    assert run(lakehouse, embedder, tmp_path).embedded == 1
    assert content(lakehouse) == expected({"b": "second", "d": "fourth"})


def test_an_index_that_was_restored_is_brought_up_to_date_again(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first"})
    first = run(lakehouse, embedder, tmp_path)
    docs.upsert({"b": "second"})
    run(lakehouse, embedder, tmp_path)
    lakehouse.restore(NAME, first.version)
    assert content(lakehouse) == expected({"a": "first"})
    run(lakehouse, embedder, tmp_path)
    assert content(lakehouse) == expected({"a": "first", "b": "second"})


def test_another_embedder_embeds_all_anew_and_back_again(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first", "b": "second"})
    run(lakehouse, embedder, tmp_path)
    before = content(lakehouse)
    other = HashEmbedder(digest="other")
    assert run(lakehouse, other, tmp_path).embedded == 2
    assert content(lakehouse) != before
    assert run(lakehouse, embedder, tmp_path).embedded == 2
    assert content(lakehouse) == before
    wide = HashEmbedder(dimension=20)
    assert run(lakehouse, wide, tmp_path, declared(dimension=20)).embedded == 2
    assert {len(vector) for _, _, vector in content(lakehouse).values()} == {20}


def test_other_columns_to_keep_are_written_and_nothing_is_embedded(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first"})
    run(lakehouse, embedder, tmp_path)
    done = run(lakehouse, embedder, tmp_path, declared(keep=["title", "id"]))
    assert done.embedded == 0
    assert lakehouse.snapshot(NAME).to_arrow(["title", "id"]).to_pylist() == [{"title": "title a", "id": "a"}]
    run(lakehouse, embedder, tmp_path, declared(keep=[]))
    assert "title" not in lakehouse.snapshot(NAME).schema.names


def test_documents_without_text_are_left_out_counted_and_named(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first", "b": None, "c": " \n", "d": "bin\0ary", "e": "last"})
    done = run(lakehouse, embedder, tmp_path)
    assert (done.rows, done.read, dict(done.skipped)) == (2, 5, {"null": 1, "empty": 1, "binary": 1})
    assert done.named == ("'b': null", "'c': empty", "'d': binary")
    docs.upsert({"a": None})  # what had a text has none now
    assert run(lakehouse, embedder, tmp_path).removed == 1
    assert content(lakehouse) == expected({"e": "last"})
    docs.upsert({"f": ""})
    with pytest.raises(DataError, match="have no text in 'body'"):
        run(lakehouse, embedder, tmp_path, declared(otherwise="fail"))


def test_a_column_of_bytes_is_read_as_text_where_it_is_one(lakehouse, embedder, tmp_path):
    rows = pa.table({"id": ["a", "b"], "title": ["x", "y"], "body": [b"caf\xc3\xa9", b"\xff\xfe\x00"]})
    lakehouse.commit(DOCS.name, "c", lambda _: Overwrite(rows))
    done = run(lakehouse, embedder, tmp_path)
    assert done.named == ("'b': binary",)
    assert embedder.embedded == ["café"]


BINARY = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "gzip": gzip.compress(b"a text"),
    "zip": b"PK\x03\x04\x14\0\0\0\x08\0",
    "elf": b"\x7fELF\x02\x01\x01\0",
    "pyc": marshal.dumps(compile("x = 1", "x", "exec")),
    "utf-16": "a text".encode("utf-16"),
    "half of a character": "é".encode()[:1],
}


@pytest.mark.parametrize("otherwise", ["skip", "fail"])
def test_binary_files_are_no_documents_and_each_is_named(lakehouse, embedder, tmp_path, otherwise):
    rows = pa.table({"id": [*BINARY, "text"], "title": [""] * 8, "body": [*BINARY.values(), b"a text"]})
    lakehouse.commit(DOCS.name, "c", lambda _: Overwrite(rows))
    if otherwise == "fail":
        with pytest.raises(DataError, match=r"7 documents of silver\.docs have no text") as failed:
            run(lakehouse, embedder, tmp_path, declared(otherwise="fail"))
        assert list(failed.value.findings) == [f"{name!r}: binary" for name in BINARY]
        assert not lakehouse.exists(NAME)
        return
    done = run(lakehouse, embedder, tmp_path)
    assert (done.rows, dict(done.skipped), done.named) == (
        1,
        {"binary": 7},
        tuple(f"{name!r}: binary" for name in BINARY),
    )
    assert embedder.embedded == ["a text"]


def test_a_table_without_rows_is_an_index_without_rows(lakehouse, docs, embedder, tmp_path):
    docs.write({})
    assert run(lakehouse, embedder, tmp_path).rows == 0
    docs.upsert({"a": "first"})
    assert run(lakehouse, embedder, tmp_path).rows == 1
    docs.upsert({}, delete=["a"])
    assert run(lakehouse, embedder, tmp_path).rows == 0
    assert content(lakehouse) == {}


def test_chunks_follow_their_document(lakehouse, docs, embedder, tmp_path):
    chunked = declared(chunk=10)
    words = [f"w{number}" for number in range(25)]
    docs.write({"a": "  ".join(words), "b": "short"})
    assert run(lakehouse, embedder, tmp_path, chunked).rows == 4
    texts = {place: text for place, (text, _, _) in content(lakehouse).items()}
    assert [texts["a", number].split() for number in range(3)] == [words[:10], words[10:20], words[20:]]
    docs.upsert({"a": "  ".join(words[:10])})
    done = run(lakehouse, embedder, tmp_path, chunked)
    assert (done.rows, done.removed, done.embedded) == (2, 2, 0)
    docs.upsert({}, delete=["a"])
    assert run(lakehouse, embedder, tmp_path, chunked).rows == 1


def test_keys_of_several_columns_and_other_types(lakehouse, embedder, tmp_path):
    table = hr.Table("silver.docs", key=["n", "language"], sql="SELECT 1")
    rows = pa.table({"n": [1, 1], "language": ["en", "fr"], "body": ["one", "un"]})
    lakehouse.commit(DOCS.name, "c", lambda _: Overwrite(rows))
    run(lakehouse, embedder, tmp_path, declared(table, keep=["n"]))
    assert {key for key, _ in content(lakehouse)} == {'[1,"en"]', '[1,"fr"]'}


def test_two_documents_of_one_key_and_a_null_key_are_refused(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first"})
    lakehouse.commit(DOCS.name, "d", lambda _: Append(pa.table({"id": ["a"], "title": ["t"], "body": ["twice"]})))
    with pytest.raises(DataError, match="1 keys have more than one document"):
        run(lakehouse, embedder, tmp_path)
    lakehouse.commit(
        DOCS.name,
        "e",
        lambda _: Overwrite(pa.table({"id": pa.array([None], pa.string()), "title": ["t"], "body": ["x"]})),
    )
    with pytest.raises(DataError, match="'id' of a document is null"):
        run(lakehouse, embedder, tmp_path)
    assert not lakehouse.exists(NAME)


def test_what_cannot_be_embedded_is_refused(lakehouse, docs, embedder, tmp_path):
    with pytest.raises(NotFoundError, match=r"silver\.docs"):
        run(lakehouse, embedder, tmp_path)
    docs.write({"a": "first"})
    with pytest.raises(NotFoundError, match="boddy"):
        run(lakehouse, embedder, tmp_path, declared(text="boddy"))
    with pytest.raises(DataError, match="20 numbers a vector, and the embedder has 16"):
        run(lakehouse, embedder, tmp_path, declared(dimension=20))

    class Broken(HashEmbedder):
        def embed(self, texts):
            return super().embed(texts) * np.nan

    with pytest.raises(DataError, match="the vector of document 'a' has a number that is not finite"):
        run(lakehouse, Broken(digest="broken"), tmp_path)
    assert not lakehouse.exists(NAME)


def test_what_was_embedded_before_a_failure_is_not_embedded_again(lakehouse, docs, embedder, tmp_path):
    docs.write({str(number): f"text {number:04}" for number in range(200)})

    class Failing(HashEmbedder):
        def embed(self, texts):
            if len(self.embedded) >= 128:
                raise RuntimeError("away")
            return super().embed(texts)

    with pytest.raises(RuntimeError, match="away"):
        run(lakehouse, Failing(), tmp_path)
    told = []
    done = run(lakehouse, embedder, tmp_path, progress=lambda *each: told.append(each))
    assert (done.rows, done.embedded, len(embedder.embedded)) == (200, 72, 72)
    assert told == [(0, 72), (64, 72), (72, 72)]


def test_a_torn_file_of_vectors_does_not_count(lakehouse, docs, embedder, tmp_path):
    docs.write({"a": "first"})

    class CutOffError(Exception):
        pass

    class Lake(Lakehouse):
        def advance(self, *_, **__):
            raise CutOffError

    with pytest.raises(CutOffError):
        run(Lake("dev", str(tmp_path / "lakehouse")), embedder, tmp_path)
    (file,) = (tmp_path / "vectors").rglob("*.arrow")
    file.write_bytes(file.read_bytes()[:100])
    run(lakehouse, embedder, tmp_path)
    assert content(lakehouse) == expected({"a": "first"})


def test_updates_at_once_write_each_document_once(lakehouse, docs, tmp_path):
    bodies = {str(number): f"text {number}" for number in range(100)}
    docs.write(bodies)
    done, start = [], threading.Barrier(4)

    def work():
        start.wait()
        done.append(run(Lakehouse("dev", str(tmp_path / "lakehouse")), HashEmbedder(), tmp_path))

    for round_ in range(3):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 4 * (round_ + 1)
        assert content(lakehouse) == expected(bodies)
        assert lakehouse.snapshot(NAME).rows() == len(bodies)
        assert len({each.version for each in done[-4:]}) == 1  # one of them wrote, the others saw it
        bodies[f"new {round_}"] = f"more {round_}"
        docs.upsert({f"new {round_}": f"more {round_}"})


def test_updates_of_two_indexes_of_one_embedder_keep_their_vectors_apart(lakehouse, docs, tmp_path):
    docs.write({str(number): f"text {number}" for number in range(320)})
    other = dataclasses.replace(declared(), name="features.other_index")
    waiting, done, failed = threading.Event(), threading.Event(), []

    class Waiting(HashEmbedder):
        def embed(self, texts):
            if len(self.embedded) >= 128 and not waiting.is_set():
                waiting.set()
                done.wait(60)  # the other index is brought up to date meanwhile, and forgets its vectors
            return super().embed(texts)

    def work():
        try:
            run(Lakehouse("dev", str(tmp_path / "lakehouse")), Waiting(), tmp_path, other)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(60)
    assert run(lakehouse, HashEmbedder(), tmp_path).embedded == 320
    assert len(list((tmp_path / "vectors").rglob("*.arrow"))) == 2  # what the other one has embedded is still kept
    done.set()
    thread.join()
    assert failed == []
    assert lakehouse.snapshot("features.other_index").rows() == 320
    assert list((tmp_path / "vectors").rglob("*.arrow")) == []


def test_vectors_that_two_updates_of_an_index_add_do_not_disturb_each_other(tmp_path):
    one, other = (VectorCache(tmp_path, "features.i", "e", 2) for _ in range(2))
    one.add({"a": np.ones(2, np.float32)})
    one.clear()
    other.add({"b": np.ones(2, np.float32)})
    one.clear()
    assert set(one.load()) == {"b"}
    one.clear()
    assert VectorCache(tmp_path, "features.i", "e", 2).load() == {}
    other.add({"c": np.ones(2, np.float32)})  # the folder is there still
    assert VectorCache(tmp_path, "features.i", "e", 3).load() == {}


def test_an_update_after_one_that_died_past_its_commit_reports_nothing_new_and_forgets(
    lakehouse, docs, embedder, tmp_path, monkeypatch
):
    docs.write({"a": "first"})
    with monkeypatch.context() as patch:
        patch.setattr(VectorCache, "clear", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(lakehouse, embedder, tmp_path)
    assert len(list((tmp_path / "vectors").rglob("*.arrow"))) == 1
    done = run(lakehouse, embedder, tmp_path)
    assert (done.rows, done.added, done.changed, done.embedded) == (1, 0, 0, 0)
    assert list((tmp_path / "vectors").rglob("*.arrow")) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_index_is_the_documents_whatever_happens_to_them(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    lakehouse = Lakehouse("dev", str(folder / "lakehouse"))
    docs = Docs(lakehouse, data.draw(st.booleans()))
    bodies = {"a": "first"}
    versions = {docs.write(bodies).version: dict(bodies)}
    texts = st.sampled_from(["one", "two", "three", "  ", 'o\'ne -- "x" \u202e'])
    for _ in range(data.draw(st.integers(1, 5))):
        match data.draw(st.sampled_from(["upsert", "overwrite", "restore", "optimize", "update"])):
            case "upsert":
                new = data.draw(st.dictionaries(st.sampled_from("abcd'"), texts, max_size=3))
                gone = [key for key in data.draw(st.sets(st.sampled_from("abcd'"))) if key not in new]
                bodies = {key: body for key, body in {**bodies, **new}.items() if key not in gone}
                versions[docs.upsert(new, gone).version] = dict(bodies)
            case "overwrite":
                bodies = data.draw(st.dictionaries(st.sampled_from("abcd'"), texts, max_size=4))
                versions[docs.write(bodies).version] = dict(bodies)
            case "restore":
                version = data.draw(st.sampled_from(sorted(versions)))
                bodies = dict(versions[version])
                versions[lakehouse.restore(DOCS.name, version).version] = dict(bodies)
            case "optimize":
                lakehouse.optimize(DOCS.name)
            case "update":
                run(lakehouse, HashEmbedder(), folder)
    run(lakehouse, HashEmbedder(), folder)
    assert content(lakehouse) == expected({key: body for key, body in bodies.items() if body.strip()})
