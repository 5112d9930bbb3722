"""LanceDB as a store: an inverted file of vectors (IVF_FLAT) and a full-text index, in a folder.

LanceDB gives candidates; their scores are computed here from the vectors, so they are those of the exact store. Of a text it is given
the words that `words` finds in it, with blanks between, so it counts the same ones as the exact store. A filter never reaches it: under one that leaves few rows these are compared one by one, and under another one more candidates are taken until enough
of them pass. Its thread is a daemon, which keeps no process alive.

LanceDB's runtime does not survive a fork: a child that calls it may die with SIGSEGV or wait for ever, whether it uses the parent's
table or opens its own. So a child of a process that loaded LanceDB never calls it: it searches as the exact store does, slower.
"""

from __future__ import annotations

import os
import shutil
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.core.errors import MissingExtraError
from headrace.core.ids import digest
from headrace.llm.index.exact import ExactStore
from headrace.llm.index.fusion import best
from headrace.llm.index.questions import CALIBRATION, near_rows
from headrace.llm.index.words import asked, words

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.llm.index.base import Mask, Places, Vector
    from headrace.llm.index.rows import Rows

FOLDER, TABLE = "lance", "rows"
IDS = "ids.npy"  # the numbers of the rows, beside LanceDB's folder
ONE_BY_ONE = 20_000  # rows that a filter leaves, below which each is compared
TRAINED = 1_000  # rows from which vectors are partitioned
PROBES = (16, 32, 64, 128, 256)  # partitions that are looked into, tried when an index is built
WANTED, SAMPLE = 0.98, 60  # recall at 10, of so many vectors, at which the next number is not tried
_loaded_in = 0  # the process that loaded LanceDB

PLAIN: dict[str, Any] = {  # of the full-text index: words are as they are given
    "base_tokenizer": "whitespace",
    "max_token_length": None,
    "lower_case": False,
    "stem": False,
    "remove_stop_words": False,
    "ascii_folding": False,
}
MOST_CHANGED = 0.2  # share of rows up to which a former index is brought up to date instead


class LanceStore:
    """See `VectorStore`.

    Args:
        folder: of the version, with the folder `lance` in it.
        rows: of the version.
        probes: how many partitions a search looks into.

    Raises:
        MissingExtraError: LanceDB is not installed.
    """

    name = "lancedb"

    def __init__(self, folder: Path, rows: Rows, probes: int) -> None:
        self._rows, self._probes = rows, probes
        self._exact = ExactStore(rows.table["text"], rows.vectors)
        ids = _stored_ids(folder, rows)
        self._order: Places = np.argsort(ids)
        self._sorted: Places = ids[self._order]
        self._table: Any = None if _forked() else _connect(folder / FOLDER).open_table(TABLE)

    def nearest(self, vector: Vector, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """See `VectorStore.nearest`."""
        count = len(self._rows) if mask is None else int(mask.sum())
        if _forked() or not count or (mask is not None and count < max(ONE_BY_ONE, k)):
            return self._exact.nearest(vector, k, mask)
        take = int((2 * k + 10) * len(self._rows) / count)
        while take < len(self._rows):
            query = self._table.search(vector, query_type="vector").distance_type("dot").nprobes(self._probes)
            found = self._places(query.limit(take).select(["id", "_distance"]).to_arrow())
            places = np.sort(found if mask is None else found[mask[found]])
            ranked = best(self._rows.vectors[places] @ vector, places, len(places))
            # what is beyond the candidates may score the same as the last of them
            if len(ranked) > k and ranked[k - 1][1] > ranked[-1][1]:
                return ranked[:k]
            if len(found) < take:
                break
            take *= 4
        return self._exact.nearest(vector, k, mask)

    def matching(self, text: str, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """See `VectorStore.matching`."""
        if _forked():
            return self._exact.matching(text, k, mask)
        match: Any = import_module("lancedb.query").MatchQuery

        count = len(self._rows) if mask is None else int(mask.sum())
        question, take = " ".join(asked(text)), k + 50
        while count and question:
            query = self._table.search(match(question, "text"), query_type="fts").limit(take)
            found = query.select(["id", "_score"]).to_arrow()
            places = self._places(found)
            scores = found["_score"].to_numpy()
            order = np.argsort(places)
            places, scores = places[order], scores[order]
            if mask is not None:
                places, scores = places[mask[places]], scores[mask[places]]
            if len(places) >= k or found.num_rows < take:
                return best(scores, places, k)
            take = min(take * 8, len(self._rows) + 1)
        return []

    def _places(self, found: pa.Table) -> Places:
        """The numbers of rows by the ids that LanceDB has."""
        return self._order[np.searchsorted(self._sorted, found["id"].to_numpy())]


def row_ids(rows: Rows) -> Places:
    """A number for each row that it keeps from version to version."""
    keys, chunks = rows.table["key"].to_pylist(), rows.table["chunk"].to_pylist()
    found: Places = np.empty(len(keys), np.int64)
    taken: set[int] = set()
    for place, (key, chunk) in enumerate(zip(keys, chunks, strict=True)):
        number = int(digest(f"{chunk} {key}")[:15], 16)
        while number in taken:
            number += 1
        taken.add(number)
        found[place] = number
    return found


def _stored_ids(folder: Path, rows: Rows) -> Places:
    """The numbers of the rows, as `build` kept them: to compute them takes seconds in a large index."""
    try:
        found: Places = np.load(folder / IDS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return row_ids(rows)
    return found if found.shape == (len(rows),) else row_ids(rows)


def build(folder: Path, rows: Rows, former: tuple[Path, Rows] | None = None) -> int:
    """Writes LanceDB's files of a version into a folder.

    Args:
        folder: of the version; nothing of LanceDB is in it yet.
        rows: of the version.
        former: the folder of another version and its rows; if few of them differ, its files are taken over and brought up to
            date. Defaults to none.

    Returns:
        How many partitions a search looks into.

    Raises:
        MissingExtraError: LanceDB is not installed.
    """
    ids = row_ids(rows)
    table = None if former is None else _taken_over(folder / FOLDER, rows, ids, *former)
    if table is None:
        table = _connect(folder / FOLDER).create_table(TABLE, _data(rows, ids, np.arange(len(rows))))
        _index(table, len(rows))
    np.save(folder / IDS, ids)
    return _calibrated(folder, rows)


def _index(table: Any, count: int) -> None:
    from lancedb.index import FTS, IvfFlat

    if count >= TRAINED:
        table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=max(int(count**0.5), 1)))
    if count:
        table.create_index("text", config=FTS(**PLAIN))


def _taken_over(target: Path, rows: Rows, ids: Places, folder: Path, former: Rows) -> Any:
    """A former version's table with the rows of this one; None if that does not pay."""
    if not (folder / FOLDER).is_dir() or former.dimension != rows.dimension or len(former) < TRAINED:
        return None
    hashes = rows.table["content_hash"].to_pylist()
    there = dict(zip(_stored_ids(folder, former).tolist(), former.table["content_hash"].to_pylist(), strict=True))
    wanted = dict(zip(ids.tolist(), hashes, strict=True))
    written = np.array(
        [place for place, (row, value) in enumerate(wanted.items()) if there.get(row) != value], np.int64
    )
    gone = [row for row, value in there.items() if wanted.get(row) != value]
    if len(written) + len(gone) > MOST_CHANGED * len(rows):
        return None
    shutil.copytree(folder / FOLDER, target, copy_function=os.link)  # its files are never changed
    table = _connect(target).open_table(TABLE)
    for start in range(0, len(gone), 500):
        table.delete(f"id IN ({', '.join(str(row) for row in gone[start : start + 500])})")
    if len(written):
        table.add(_data(rows, ids, written))
    table.optimize()
    return table


def _data(rows: Rows, ids: Places, places: Places) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors[places].ravel(), pa.float32()), rows.dimension)
    texts = [" ".join(words(text)) for text in rows.table["text"].take(pa.array(places)).to_pylist()]
    return pa.table({"id": pa.array(ids[places]), "text": pa.array(texts, pa.string()), "vector": vectors})


def _calibrated(folder: Path, rows: Rows) -> int:
    """The least number of partitions that is enough for these vectors."""
    if len(rows) < TRAINED:
        return PROBES[0]
    exact = ExactStore(rows.table["text"], rows.vectors)
    questions = near_rows(rows.vectors, SAMPLE, CALIBRATION)
    true = [{place for place, _ in exact.nearest(vector, 10, None)} for vector in questions]
    store = LanceStore(folder, rows, PROBES[0])
    for probes in PROBES:
        store = LanceStore(folder, rows, probes)
        found = [{place for place, _ in store.nearest(vector, 10, None)} for vector in questions]
        if sum(len(a & b) for a, b in zip(true, found, strict=True)) >= WANTED * 10 * SAMPLE:
            return probes
    return len(rows)  # all of them


def _forked() -> bool:
    """Whether this process is a child of the one that loaded LanceDB."""
    return _loaded_in not in (0, os.getpid())


def _connect(folder: Path) -> Any:
    global _loaded_in  # noqa: PLW0603  # of the process, as LanceDB's runtime is
    try:
        import lancedb
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "lancedb", "llm", "an index with store='lancedb'") from None
    _loaded_in = _loaded_in or os.getpid()
    # it says so after each fork of the process, whoever forks
    warnings.filterwarnings("ignore", message="lancedb fork support is experimental", category=RuntimeWarning)
    return lancedb.connect(str(folder))
