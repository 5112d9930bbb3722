"""BM25 over the texts of an index.

The formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.2 and
b = 0.75; a word's weight is ln(1 + (N - n + 0.5) / (n + 0.5)), as in Lucene. What a word adds to the score of a text does not depend
on the question, so it is computed once and kept in a file, which is mapped.

A word is a run of letters and digits, without regard to case and accents: "Être" is "etre". Every store counts these words. A
question counts each of its words once, and no more than the first 256.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from headrace.llm.index.base import Places, Vector

K1, B = 1.2, 0.75
WORD = re.compile(r"[^\W_]+")
OF_A_QUESTION = 256  # words that are looked up
FREQUENT = 0.25  # share of texts from which a word's scores are kept for all texts: that is smaller, and faster to add
FILE = "words.arrow"


def words(text: str) -> list[str]:
    """The words of a text, in their order: without case, and without the accents of letters that Unicode composes."""
    text = text.lower()
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in parts if not unicodedata.combining(letter)).lower()
    return WORD.findall(text)


def asked(text: str) -> list[str]:
    """The words of a question, each once, by their first place."""
    return list(dict.fromkeys(words(text)))[:OF_A_QUESTION]


class Bm25:
    """Words, each with the texts that it is in and what it adds to their scores.

    Args:
        table: one row for each word, in one piece, with the columns `word`, `place` (in which texts it is; empty for a word that has a
            score for every text) and `score`; `build` makes it.
        count: how many texts there are.
    """

    def __init__(self, table: pa.Table, count: int) -> None:
        self.table, self._count = table, count
        self._numbers = {word: number for number, word in enumerate(table["word"].to_pylist())}
        self._starts, self._places = _flat(table["place"])
        self._begins, self._scores = _flat(table["score"])

    def scores(self, text: str) -> Vector:
        """The score of each text for the words of a question; 0 for texts that have none of them."""
        found = np.zeros(self._count, np.float32)
        for word in sorted(asked(text)):
            number = self._numbers.get(word)
            if number is None:
                continue
            places = self._places[self._starts[number] : self._starts[number + 1]]
            scores = self._scores[self._begins[number] : self._begins[number + 1]]
            if not len(places):
                found += scores
            else:
                found[places] += scores
        return found


def build(texts: Iterable[str]) -> Bm25:
    """Counts the words of texts, which are numbered from 0."""
    vocabulary: dict[str, int] = {}
    which, often, lengths, sizes = list[int](), list[int](), list[int](), list[int]()
    for text in texts:
        found = Counter(words(text))
        lengths.append(found.total())
        sizes.append(len(found))
        which += [vocabulary.setdefault(word, len(vocabulary)) for word in found]
        often += found.values()
    counts = np.bincount(np.array(which, np.int64), minlength=len(vocabulary))
    frequent = counts > FREQUENT * len(lengths)
    order = np.argsort(frequent, kind="stable")  # frequent words come last
    numbers = np.argsort(order)[np.array(which, np.int64)]
    counts, frequent = counts[order], frequent[order]
    sequence = np.argsort(numbers, kind="stable")
    numbers = numbers[sequence]
    places = np.repeat(np.arange(len(lengths)), sizes)[sequence]
    times = np.array(often, np.float64)[sequence]
    length = np.array(lengths, np.float64)
    mean = max(float(length.mean()), 1.0) if lengths else 1.0
    weights = np.log1p((len(lengths) - counts + 0.5) / (counts + 0.5))
    norm = K1 * (1 - B + B * length[places] / mean)
    scores = (weights[numbers] * times * (K1 + 1) / (times + norm)).astype(np.float32)
    rare = int(counts[~frequent].sum())
    every = np.zeros((int(frequent.sum()), len(lengths)), np.float32)
    every[numbers[rare:] - int((~frequent).sum()), places[rare:]] = scores[rare:]
    known = list(vocabulary)
    table = pa.table(
        {
            "word": pa.array([known[number] for number in order], pa.string()),
            "place": _lists(np.where(frequent, 0, counts), places[:rare]),
            "score": _lists(np.where(frequent, len(lengths), counts), np.concatenate([scores[:rare], every.ravel()])),
        }
    )
    return Bm25(table, len(lengths))


def save(folder: Path, words: Bm25) -> None:
    """Writes the words of an index into its folder."""
    with pa.OSFile(str(folder / FILE), "wb") as sink, pa.ipc.new_file(sink, words.table.schema) as writer:
        writer.write_table(words.table)


def load(folder: Path, count: int) -> Bm25 | None:
    """The words of an index of so many rows, as `save` wrote them; None where there is no such file, or a torn one."""
    try:
        return Bm25(pa.ipc.open_file(pa.memory_map(str(folder / FILE))).read_all(), count)
    except (OSError, ValueError, KeyError):
        return None


def _lists(counts: Places, values: npt.NDArray[Any]) -> pa.LargeListArray:
    """Values as lists of so many each."""
    return pa.LargeListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int64()), pa.array(values)
    )


def _flat(column: pa.ChunkedArray) -> tuple[Places, npt.NDArray[Any]]:
    """Where the lists of a column begin, and their values one after the other."""
    if column.num_chunks == 0:  # of a file without words
        return np.zeros(1, np.int64), np.empty(0, np.float32)
    whole = cast("pa.LargeListArray", column.chunk(0))
    return whole.offsets.to_numpy(), whole.values.to_numpy()
