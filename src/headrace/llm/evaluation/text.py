"""Metrics of an answer against reference answers, from 0 to 1, one value a row.

Texts are brought to Unicode's NFKC and to lower case first, and characters without a width are dropped. Han, kana, Thai,
Lao, Khmer and Burmese are written without spaces between words, so there each character counts as a word.

A row without a reference has no value (NaN). A missing answer counts as an empty one. Of several references the one that
fits best counts. An empty reference says that the question has no answer: an empty answer then scores 1, another one 0.
"""

from __future__ import annotations

import math
import string
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from headrace.core.errors import DataError
from headrace.llm.evaluation.values import list_of, same_length, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.llm.evaluation.values import Floats

LONGEST = 20_000  # words of the shorter text, of which the common ones are looked for
ARTICLES = frozenset(("a", "an", "the"))
UNSPACED = (  # scripts without spaces between words
    (0x0E01, 0x0EDF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3041, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def answer_f1(answers: Sequence[object], references: Sequence[object]) -> Floats:
    """F1 of the words that an answer shares with its reference, as SQuAD defines it.

    Both are normalised: lower case, without punctuation, without the articles a, an and the. Rajpurkar et al. 2016,
    "SQuAD: 100,000+ questions for machine comprehension of text", and its official script `evaluate-v2.0.py`.

    Args:
        answers: texts.
        references: a text, a list of texts, or None, for each answer.

    Returns:
        One value a row, from 0 to 1; NaN where there is no reference.

    Raises:
        DataError: the lengths differ, or a cell is no text.
    """
    return _best(answers, references, normalised_words, _f1)


def exact_match(answers: Sequence[object], references: Sequence[object]) -> Floats:
    """1 where an answer equals a reference after the normalisation of `answer_f1`, else 0. Arguments as there."""
    return _best(answers, references, normalised_words, lambda answer, reference: float(answer == reference))


def rouge_l(answers: Sequence[object], references: Sequence[object]) -> Floats:
    """ROUGE-L: the F-measure of the longest common subsequence of words. Arguments as of `answer_f1`.

    Words are runs of letters and digits; nothing is stemmed, articles count. Lin 2004, "ROUGE: a package for automatic
    evaluation of summaries"; the values are those of the package rouge-score with one sentence a text.
    Where both texts have more than 20,000 words, common ones are looked for among the first 20,000 of the shorter one, and
    the value is at most that of the whole.
    """
    return _best(answers, references, words, _rouge)


def normalised_words(text: str) -> list[str]:
    """The words that `answer_f1` compares: without punctuation and articles."""
    found = _folded(text).translate(_JOINED).split()
    return [word for word in found if word not in ARTICLES]


def words(text: str) -> list[str]:
    """The words that `rouge_l` compares: runs of letters, marks and digits."""
    return _folded(text).translate(_DIVIDED).split()


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _best(
    answers: Sequence[object],
    references: Sequence[object],
    divide: Callable[[str], list[str]],
    score: Callable[[list[str], list[str]], float],
) -> Floats:
    count = same_length("the comparison with references", answers=answers, references=references)
    values = np.full(count, math.nan)
    for row, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        text = text_of(answer, "answer", row)
        possible = _references(reference, row)
        if possible:
            ours = divide(text)
            values[row] = max(score(ours, divide(each)) for each in possible)
    return values


def _references(cell: object, row: int) -> list[str]:
    found: list[str] = []
    for each in list_of(cell) or ():
        if not isinstance(each, str):
            raise DataError(
                f"the reference of row {row} is {shown(each)}, not a text.",
                hint="Give a text, a list of texts, or None where there is none.",
            )
        found.append(each)
    return found


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    left, shared = Counter(reference), 0
    for word in answer:
        if left[word] > 0:
            left[word] -= 1
            shared += 1
    return 2 * shared / (len(answer) + len(reference))


def _rouge(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    return 2 * longest_common_subsequence(answer, reference) / (len(answer) + len(reference))


def longest_common_subsequence(one: list[str], other: list[str]) -> int:
    """Its length, over the first 20,000 words of the shorter one, by bits: Hyyrö 2004, "Bit-parallel LCS-length computation revisited"."""
    short, long = sorted((one, other), key=len)
    short = short[:LONGEST]
    places: dict[str, int] = {}
    for place, word in enumerate(short):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(short)) - 1
    row = full
    for word in long:
        matches = places.get(word)
        if matches is not None:
            common = row & matches
            row = ((row + common) | (row - common)) & full
    return len(short) - row.bit_count()


class _Characters(dict[int, str | None]):
    """What stands for a character in a normalised text, found once for each character.

    Args:
        divides: whether punctuation divides words (ROUGE) or is dropped (SQuAD: `U.S.` is `us`).
    """

    def __init__(self, *, divides: bool) -> None:
        super().__init__()
        self._divides = divides

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        self[code] = self._of(code, character)
        return self[code]

    def _of(self, code: int, character: str) -> str | None:
        kind = unicodedata.category(character)
        if kind == "Cf":
            return None  # which translates quicker than an empty text
        if any(first <= code <= last for first, last in UNSPACED) and kind[0] in "LMN":
            return f" {character} "
        if kind[0] in "ZC":
            return " "
        if self._divides:
            return character if kind[0] in "LMN" else " "
        return None if kind[0] == "P" or character in string.punctuation else character


_JOINED = _Characters(divides=False)
_DIVIDED = _Characters(divides=True)
