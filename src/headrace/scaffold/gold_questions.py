"""Gold questions of documents that nobody has asked about yet: the title, and the sentence that the document begins with.

They make the evaluation run from the first day, and say whether documents are found. What people ask is a better test.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.scaffold.documents import Document

MOST = 50
WORDS = 8  # of a text that begin it, where it has no title
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def made_questions(documents: Sequence[Document]) -> tuple[dict[str, object], ...]:
    """Up to 50 questions, of documents that are spread evenly.

    Args:
        documents: those with a text.

    Returns:
        For each `id`, `question`, `reference`, the right answer, and `relevant`, the key of the document that has it.
    """
    count = min(MOST, len(documents))
    chosen = [documents[place * len(documents) // count] for place in range(count)]
    return tuple(
        {"id": f"q{number:02}", "question": _question(each), "reference": _first(each), "relevant": [each.key]}
        for number, each in enumerate(chosen, start=1)
    )


def as_lines(questions: Sequence[dict[str, object]]) -> bytes:
    """Questions as JSON, one a line."""
    return "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in questions).encode()


def _question(document: Document) -> str:
    asked = document.title or " ".join(_first(document).split()[:WORDS])
    return f"{asked.rstrip('.:!? ')}?"


def _first(document: Document) -> str:
    return " ".join(SENTENCE.split(document.text, maxsplit=1)[0].split())
