# ruff: noqa: RUF001  # letters of many scripts
"""What can be seen of a text without a model, to monitor drift: refusals, emptiness, length.

Each check takes a column and gives one value a row. A missing text counts as an empty one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.llm.evaluation.text import words
from headrace.llm.evaluation.values import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    Flags = np.ndarray[Any, np.dtype[np.bool_]]
    Counts = np.ndarray[Any, np.dtype[np.int64]]

BEGINNING = 400  # characters, in which a refusal stands
PHRASES = (
    # English
    r"\bi(?:'m| am) (?:(?:very|so|really) )?sorry,? (?:but )?i (?:can|could|am|must|do|will)(?:'t|not|n't| not)?\b",
    r"\bi (?:can(?:'t|not| not)|could ?n(?:'t|ot)|won't|will not|am (?:not able|unable|not allowed) to) (?:help|assist|answer|provide|comply|do that|fulfil|fulfill|discuss|share|support|create|generate|give|engage)",
    r"\bi'm (?:not able|unable|not allowed) to (?:help|assist|answer|provide|comply|discuss|share|create|generate|give)",
    r"\b(?:i must|i have to|i) (?:respectfully )?(?:decline|refuse) (?:to|this|your)\b",
    r"\bas an ai(?: language model| assistant)?,? i (?:can(?:'t|not)|do not|don't|am not|am unable)",
    r"\b(?:against|violates?) my (?:guidelines|programming|policy|policies)\b",
    # German
    r"\b(?:dabei|damit|hierbei) kann ich (?:ihnen |dir )?(?:leider )?nicht (?:helfen|weiterhelfen|dienen)",
    r"\bich kann (?:ihnen |dir |diese \w+ |das |dies )?(?:dabei |damit |leider )*nicht (?:helfen|beantworten|unterstützen)",
    r"\btut mir leid,? (?:aber )?(?:ich kann|das kann ich|dabei kann ich)\b",
    # French
    r"\bje (?:suis désolée?,? (?:mais )?je )?ne (?:peux|puis) pas (?:vous |t')?(?:y )?(?:aider|répondre|fournir|satisfaire)",
    r"\bje suis (?:désolée?,? (?:mais )?je ne peux|dans l'incapacité)",
    # Spanish, Portuguese, Italian
    r"\blo siento,? (?:pero )?no puedo\b|\bno puedo (?:ayudarte|ayudarle|ayudar|responder|proporcionar|cumplir)",
    r"\b(?:desculpe|sinto muito|lamento),? (?:mas )?não posso\b|\bnão posso (?:ajudar|ajudá|responder|fornecer)",
    r"\bmi dispiace,? (?:ma )?non posso\b|\bnon posso (?:aiutarti|aiutarla|aiutare|rispondere|fornire)",
    # Dutch, Polish, Russian
    r"\bhet spijt me,? (?:maar )?ik kan\b|\bik kan (?:je |u )?(?:daar |hier)?(?:bij |mee )?niet (?:helpen|beantwoorden)",
    r"\bprzykro mi,? (?:ale )?nie mogę\b|\bnie mogę (?:ci |państwu )?(?:pomóc|odpowiedzieć)",
    r"\bизвините,? (?:но )?я не могу\b|\bя не могу (?:вам |тебе )?(?:помочь|ответить|предоставить|выполнить)",
    # Chinese, Japanese, Korean, Arabic
    r"(?:抱歉|对不起|對不起)[,,。!\s]*(?:但)?我(?:不能|无法|無法)|我(?:不能|无法|無法)(?:回答|提供|协助|協助|帮助|幫助)",
    r"申し訳(?:ありません|ございません)が?[、,\s]*.{0,30}?(?:できません|できかねます|お答え)|お(?:答え|手伝い)(?:は)?でき(?:ません|かねます)",
    r"죄송(?:하지만|합니다).{0,30}?(?:없습니다|어렵습니다)|(?:도와|답변)\S* ?(?:드릴)? ?수 없습니다",
    r"(?:عذرا|آسف|أعتذر).{0,20}?(?:لا يمكنني|لا أستطيع)|لا (?:يمكنني|أستطيع) (?:المساعدة|مساعدتك|الإجابة|تقديم)",
)
REFUSALS = re.compile("|".join(PHRASES))


def refusals(texts: Sequence[object]) -> Flags:
    """Whether a text reads as a refusal to answer: a heuristic by phrases of twelve languages near its beginning.

    It finds the usual words of assistants and misses unusual ones. It is for the share over many answers and how that
    changes, not for a decision on one answer.

    Raises:
        DataError: a cell is no text.
    """
    found = (REFUSALS.search(_plain(text_of(text, "text", row)[:BEGINNING])) for row, text in enumerate(texts))
    return np.fromiter((each is not None for each in found), dtype=np.bool_, count=len(texts))


def empty(texts: Sequence[object]) -> Flags:
    """Whether nothing of a text can be seen: it is missing, or holds only spaces, controls and what has no width."""
    shown = (any(_is_visible(each) for each in text_of(text, "text", row)) for row, text in enumerate(texts))
    return np.fromiter((not each for each in shown), dtype=np.bool_, count=len(texts))


def lengths_in_words(texts: Sequence[object]) -> Counts:
    """The number of words of each text, as `text.words` divides it: in Chinese or Thai each character counts."""
    counts = (len(words(text_of(text, "text", row))) for row, text in enumerate(texts))
    return np.fromiter(counts, dtype=np.int64, count=len(texts))


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("\u02bc", "'")
    return " ".join("".join(each for each in folded if unicodedata.category(each) != "Cf").split())


def _is_visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character)[0] not in "CZ"
