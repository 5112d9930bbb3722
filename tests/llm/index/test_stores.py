"""The contract of stores, of each of them: against brute force, under any filter, the same every time."""

import datetime as dt
import os
import subprocess
import sys
import threading
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError, NotFoundError
from headrace.llm.index import lance
from headrace.llm.index import rows as on_disk
from headrace.llm.index.lance import build
from headrace.llm.index.opening import open_folder
from headrace.llm.index.questions import CALIBRATION, MEASUREMENT, near_rows
from headrace.llm.index.recall import recall
from headrace.llm.index.rows import Description, Rows
from headrace.llm.index.words import build as build_words
from headrace.llm.index.words import load, save, words

KINDS = ["exact", "lancedb"]
COUNT, DIMENSION = 3_000, 24
HOSTILE = ["'; DROP TABLE rows; --", "x' OR '1'='1", '"', "\\", "%", "\u202e", "a\nb", "", "NULL"]
WORDS = ["delta", "table", "version", "river", "lake", "stream", "index", "vector", "être", "don't"]
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


@cache
def made(count, dimension=DIMENSION):
    """Rows around 20 centres; some vectors are the same."""
    draw = np.random.default_rng(7)
    centres = draw.normal(size=(20, dimension))
    vectors = centres[draw.integers(0, 20, count)] + draw.normal(size=(count, dimension)) * 0.4
    if count:
        vectors[1::50] = vectors[0]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = [" ".join(draw.choice(WORDS, draw.integers(1, 12))) for _ in range(count)]
    table = pa.table(
        {
            "key": pa.array([f"doc{number:06}" for number in range(count)], pa.string()),
            "chunk": pa.array([0] * count, pa.int32()),
            "text": pa.array(texts, pa.string()),
            "content_hash": pa.array([f"h{number}" for number in range(count)], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), dimension),
            "kind": pa.array([[*HOSTILE, None, "a", "b"][number % 12] for number in range(count)], pa.string()),
            "size": pa.array([None if number % 10 == 9 else number % 100 for number in range(count)], pa.int64()),
            "weight": pa.array(
                [float("nan") if number % 7 == 6 else number / 10 for number in range(count)], pa.float64()
            ),
            "good": pa.array([number % 3 == 0 for number in range(count)], pa.bool_()),
            "at": pa.array([NOON + dt.timedelta(hours=number) for number in range(count)], pa.timestamp("us", "UTC")),
        }
    )
    return Rows(table)


def stored(folder, kind, rows, hybrid=False):
    folder.mkdir()
    on_disk.write(folder, rows)
    probes = build(folder, rows) if kind == "lancedb" else 0
    described = Description(
        name="features.i",
        table_id="t",
        version=1,
        dimension=rows.dimension,
        embedder="",
        hybrid=hybrid,
        store=kind,
        probes=probes,
    )
    on_disk.describe(folder, described)
    return open_folder(folder)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lance, "ONE_BY_ONE", 200)  # so that filters of so few rows reach LanceDB's candidates, too
        yield {kind: stored(folder / kind, kind, made(COUNT)) for kind in KINDS}


@pytest.fixture(params=KINDS)
def index(request, indexes):
    return indexes[request.param]


def question(number):
    draw = np.random.default_rng(number)
    return made(COUNT).vectors[draw.integers(COUNT)] + draw.normal(size=DIMENSION) * 0.1


def brute(vector, k, allowed):
    """The k best rows that are allowed, one by one."""
    rows = made(COUNT)
    unit = np.asarray(vector, np.float64) / np.linalg.norm(vector)
    scores = [
        (-round(float(row @ unit), 5), number)
        for number, row in enumerate(rows.vectors.astype(np.float64))
        if allowed(number)
    ]
    return [(f"doc{number:06}", -score) for score, number in sorted(scores)[:k]]


def holds(value, condition):
    """What a condition means, of one value."""
    if isinstance(condition, list):
        return any(holds(value, each) for each in condition)
    operator, other = condition if isinstance(condition, tuple) else ("=", condition)
    if other is None:
        return (value is None) == (operator == "=")
    if value is None:
        return False
    return {
        "=": value == other, "!=": value != other, "<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other,
    }[operator]  # fmt: skip


def conditions():
    compared = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
    texts, whole = (
        st.sampled_from([*HOSTILE, "a", "b", "c"]),
        st.one_of(st.integers(-5, 105), st.just(2**70), st.just(49.5)),
    )
    moments = st.integers(-1, COUNT).map(lambda hours: NOON + dt.timedelta(hours=hours))

    def of(values):
        nullable = st.one_of(values, st.none())
        return st.one_of(
            nullable,
            st.lists(nullable, max_size=3),
            st.tuples(compared, values),
            st.tuples(st.sampled_from(["=", "!="]), st.none()),
        )

    weights = st.floats(-1, 310) | st.just(float("inf"))
    every = {"kind": of(texts), "size": of(whole), "weight": of(weights), "good": of(st.booleans()), "at": of(moments)}
    return st.fixed_dictionaries({}, optional=every)


@settings(max_examples=60)
@given(where=conditions(), number=st.integers(0, 1000), k=st.integers(1, 30))
def test_a_filtered_search_is_brute_force(indexes, where, number, k):
    columns = {name: made(COUNT).table[name].to_pylist() for name in where}
    vector = question(number)
    wanted = brute(vector, k, lambda row: all(holds(columns[name][row], where[name]) for name in where))
    for index in indexes.values():
        found = index.search(vector, k, where)
        assert len(found) == len(wanted)
        for hit in found:
            assert all(holds(hit.metadata[name], condition) for name, condition in where.items())
        near = sum(hit.score >= wanted[-1][1] - 2e-5 for hit in found)
        assert near >= (len(wanted) if index.store.name == "exact" else 0.8 * len(wanted))


@pytest.mark.parametrize(
    "where", [None, {"good": True}, {"size": ("<", 1)}, {"kind": "a"}, {"size": [1, 2, 3]}], ids=str
)
def test_recall_is_at_least_95_percent_under_any_filter(index, where):
    from headrace.llm.index.filters import mask

    assert recall(index, 10, 100, mask=mask(index.rows.metadata, where)) >= (1 if index.store.name == "exact" else 0.95)


def test_both_stores_find_the_same_and_give_the_same_scores(indexes):
    for number in range(20):
        exact, lance = (indexes[kind].search(question(number), 10) for kind in KINDS)
        scores = {hit.key: hit.score for hit in exact}
        assert len([hit for hit in lance if hit.key in scores]) >= 8
        assert all(abs(scores[hit.key] - hit.score) < 2e-6 for hit in lance if hit.key in scores)


def test_equal_scores_are_in_the_order_of_keys(index):
    same = [f"doc{number:06}" for number in (0, *range(1, COUNT, 50))]
    assert [hit.key for hit in index.search(made(COUNT).vectors[0], 20)] == same[:20]
    assert [hit.key for hit in index.search(made(COUNT).vectors[0], len(same))] == same


def test_words_are_ranked_by_bm25(index):
    texts = made(COUNT).table["text"].to_pylist()
    found = index.store.matching("river", 20, None)
    assert len(found) == 20
    assert all("river" in texts[row].split() for row, _ in found)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert texts[found[0][0]].split().count("river") / len(texts[found[0][0]].split()) > 0.5
    assert index.store.matching("nosuchword", 5, None) == []
    for hostile in ("", "  ", '"', "river AND (", "*:*", "text:river^2", *HOSTILE, "x" * 10_000):
        assert index.store.matching(hostile, 5, None) == index.store.matching(hostile, 5, None)


def matched(index, text):
    return {row for row, _ in index.store.matching(text, COUNT, None)}


def test_both_stores_count_the_same_words(indexes):
    texts = made(COUNT).table["text"].to_pylist()
    for text in (
        "river",
        "être",
        "ETRE delta",
        "don't",
        "t",
        "\uff24elta",
        "river\x00lake",
        "x" * 50,
        "riv",
        "lake_table",
    ):
        assert matched(indexes["exact"], text) == matched(indexes["lancedb"], text), text
    for index in indexes.values():  # accents and case do not count
        assert matched(index, "Etre") == {row for row, each in enumerate(texts) if "être" in each.split()}


def test_a_long_word_is_found_in_both_stores(tmp_path):
    rows = made(3).table.set_column(2, "text", pa.array(["Größe " + "é" * 300, "straße", "ﬁre"], pa.string()))
    for kind in KINDS:
        index = stored(tmp_path / kind, kind, Rows(rows))
        assert [row for row, _ in index.store.matching("e" * 300, 3, None)] == [0]
        assert [row for row, _ in index.store.matching("GROSSE grösse", 3, None)] == []
        assert [row for row, _ in index.store.matching("große", 3, None)] == [0]
        assert [row for row, _ in index.store.matching("fire", 3, None)] == [2]


def slow_scores(texts, question):
    """BM25, text by text."""
    split = [words(text) for text in texts]
    mean, found = max(sum(map(len, split)) / len(split), 1.0), []
    for text in split:
        score = 0.0
        for word in set(words(question)):
            having = sum(word in each for each in split)
            weight = np.log1p((len(split) - having + 0.5) / (having + 0.5))
            times = text.count(word)
            score += weight * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * len(text) / mean))
        found.append(score)
    return found


@settings(max_examples=60)
@given(st.lists(st.text("aá bBç", max_size=20), min_size=1, max_size=12), st.text("aá bBç", max_size=12))
def test_words_score_by_the_formula_also_from_the_file(tmp_path_factory, texts, question):
    folder = tmp_path_factory.mktemp("words")
    counted = build_words(texts)
    save(folder, counted)
    for each in (counted, load(folder, len(texts))):
        np.testing.assert_allclose(each.scores(question), slow_scores(texts, question), rtol=1e-5, atol=1e-6)


def test_words_that_are_not_on_the_disk_or_torn_are_counted(tmp_path):
    index = stored(tmp_path / "i", "exact", made(300))
    wanted = index.store.matching("river lake", 10, None)
    save(tmp_path / "i", index.store.words)
    assert open_folder(tmp_path / "i").store.matching("river lake", 10, None) == wanted
    file = tmp_path / "i" / "words.arrow"
    file.write_bytes(file.read_bytes()[:40])
    assert open_folder(tmp_path / "i").store.matching("river lake", 10, None) == wanted


def test_numbers_of_rows_are_kept_beside_the_index(tmp_path):
    rows = made(300)
    index = stored(tmp_path / "i", "lancedb", rows)
    np.testing.assert_array_equal(np.load(tmp_path / "i" / "ids.npy"), lance.row_ids(rows))
    wanted = index.store.nearest(index.vector(question(3)), 10, None)
    (tmp_path / "i" / "ids.npy").unlink()
    again = open_folder(tmp_path / "i")
    assert again.store.nearest(again.vector(question(3)), 10, None) == wanted


def test_an_index_is_set_up_and_measured_with_different_questions():
    vectors = made(COUNT).vectors
    one, other = (near_rows(vectors, 200, seed) for seed in (CALIBRATION, MEASUREMENT))
    assert (one == near_rows(vectors, 200, CALIBRATION)).all()
    assert np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert (one @ other.T).max() < 1 - 1e-4
    assert len(near_rows(vectors[:3], 200, CALIBRATION)) == 3


def test_words_under_a_filter(index):
    allowed = np.zeros(COUNT, np.bool_)
    allowed[[3, 5, 1234]] = True
    texts = made(COUNT).table["text"].to_pylist()
    found = {row for row, _ in index.store.matching("river lake table", 10, allowed)}
    assert found == {row for row in (3, 5, 1234) if {"river", "lake", "table"} & set(texts[row].split())}
    assert index.store.matching("river", 10, np.zeros(COUNT, np.bool_)) == []


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"nosuch": 1}, NotFoundError),
        ({"kind; DROP TABLE rows": 1}, NotFoundError),
        ({"text": "delta"}, NotFoundError),
        ({"kind": 1}, DataError),
        ({"kind": b"a"}, DataError),
        ({"size": "1 OR 1=1"}, DataError),
        ({"size": True}, DataError),
        ({"good": 1}, DataError),
        ({"size": (">=",)}, DataError),
        ({"size": ("LIKE", 1)}, DataError),
        ({"size": ("<", None)}, DataError),
        ({"size": {"$gt": 1}}, DataError),
        ({"kind": ["a", 1]}, DataError),
        ({"kind": "\ud800"}, DataError),
        ({"at": "2026-01-01"}, DataError),
        ({"at": dt.datetime(2026, 1, 1)}, DataError),  # noqa: DTZ001
        ({"at": dt.date(2026, 1, 1)}, DataError),
    ],
)
def test_conditions_that_are_none_are_refused(index, where, error):
    with pytest.raises(error):
        index.search(question(1), 5, where)


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([1.0] * 5, r"shape \(5,\)"),
        ([[1.0] * DIMENSION], "shape"),
        ([float("nan")] * DIMENSION, "not finite"),
        ([0.0] * DIMENSION, "zeros"),
        (["a"] * DIMENSION, "no vector"),
        ("a text", "without an embedder"),
    ],
)
def test_questions_that_are_none_are_refused(index, vector, said):
    with pytest.raises(DataError, match=said):
        index.search(vector)


@pytest.mark.parametrize("k", [0, -1, 1001, True, 2.5, "5", None])
def test_k_has_limits(index, k):
    with pytest.raises(DataError, match="k="):
        index.search(question(1), k)


def test_a_hybrid_search_of_a_vector_is_refused(index):
    with pytest.raises(DataError, match="words of the question"):
        index.search(question(1), hybrid=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_small_indexes(tmp_path, kind, count):
    index = stored(tmp_path / "i", kind, made(count))
    assert len(index.search([1.0] * DIMENSION, 5)) == min(count, 5)
    assert len(index.search([1.0] * DIMENSION, 1000, {"good": True})) == len(range(0, count, 3))
    assert recall(index) == 1.0


def test_threads_search_at_once(index):
    def keys(number):
        return [(hit.key, hit.score) for hit in index.search(question(number), 10)]

    wanted, found = [keys(number) for number in range(5)], {}
    threads = [
        threading.Thread(target=lambda n=number: found.update({n: [keys(n) for _ in range(5)]})) for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [wanted[number]] * 5 for number in range(5)}


PROGRAM = """
import os, sys, threading, warnings
from pathlib import Path
from headrace.llm.index.opening import open_folder
folder = Path(sys.argv[1])
index = open_folder(folder)
vector = [1.0] * index.description.dimension
before = [hit.key for hit in index.search(vector, 5)]
words = index.store.matching("river", 5, None)
done = threading.Event()
def search():
    while not done.is_set():
        index.search(vector, 5), index.store.matching("river", 5, None)
threads = [threading.Thread(target=search) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(4):
    child = os.fork()
    if not child:
        same = all([hit.key for hit in each.search(vector, 5)] == before for each in (index, open_folder(folder)))
        os._exit(0 if same and len(index.store.matching("river", 5, None)) == len(words) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), end=" ")
done.set()
for thread in threads:
    thread.join()
print([hit.key for hit in index.search(vector, 5)] == before)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_children_search_too_also_when_they_begin_during_a_search_and_the_process_ends(tmp_path, kind):
    stored(tmp_path / "i", kind, made(1500))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "i")], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 " * 4 + "True\n", "")


class Recorded:
    """An embedder that keeps what it is asked, or returns what it was given."""

    dimension, digest = DIMENSION, "r"

    def __init__(self, vector=None):
        self.texts, self.vector = [], np.ones(DIMENSION) if vector is None else vector

    def embed(self, texts):
        self.texts += texts
        return [self.vector for _ in texts]


@pytest.fixture(params=KINDS)
def hybrid(request, tmp_path):
    stored(tmp_path / "i", request.param, made(300), hybrid=True)

    def opened(embedder):
        return open_folder(tmp_path / "i", embedder=embedder)

    return opened


def test_what_a_stranger_asks_is_searched_or_refused(hybrid):
    embedder = Recorded()
    index = hybrid(embedder)
    for blank in ("", "  \n", "\x00\x07", "\u2003"):
        assert index.search(blank) == []
    assert embedder.texts == []  # nothing is asked, so nothing is embedded
    hits = index.search("river\x00lake\x1b[31m \ud800", 5)
    assert len(hits) == 5
    assert embedder.texts == ["river lake [31m ?"]
    with pytest.raises(DataError, match="1,000,000 characters"):
        index.search("x" * 1_000_000)
    assert len(index.search("river " * 10_000, 5)) == 5
    assert len(index.search(" ".join(f"river{number}" for number in range(9_000)), 5)) == 5
    for odd in (["nan"] * DIMENSION, [float("nan")] * DIMENSION, [1e308] * DIMENSION, [float("-inf")] * DIMENSION):
        with pytest.raises(DataError):
            index.search(odd)


@pytest.mark.parametrize("vector", [np.full(DIMENSION, np.nan), np.zeros(DIMENSION), np.ones(3)], ids=str)
def test_a_vector_of_a_question_that_is_none_is_refused(hybrid, vector):
    with pytest.raises(DataError, match="question"):
        hybrid(Recorded(vector)).search("river")


def test_recall_of_real_questions(hybrid):
    embedder = Recorded()
    assert recall(hybrid(embedder), questions=["where is the river?", " ", "a lake"]) == 1.0
    assert embedder.texts == ["where is the river?", "a lake"]
    with pytest.raises(DataError, match="without an embedder"):
        recall(hybrid(None), questions=["a lake"])
