"""A language model for tests that is none: it answers from the passages that it is given, by the words that they share.

It is deterministic and needs no network. What makes it useful is that the instruction in the system message changes its
answers as it would change a model's, in the ways of `RULES`, so that tuning an instruction measurably changes a metric of its
answers. `extractive` answers questions, `reflection` proposes better instructions as the reflection model of a tuner, and
`judge` scores answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Message = Mapping[str, str]

WORD = re.compile(r"[a-z0-9]+")
SENTENCE = re.compile(r"(?<=[.!?;])\s+")
QUOTED = re.compile(r"<data-([0-9a-f]{12})>\n(.*?)\n</data-\1>", re.DOTALL)  # what the filter `quoted` of prompts wrote
LABEL = re.compile(r"^\s*(?:\[([^\]\n]{1,120})\]|([\w.-]{1,120}):(?=\s))[ \t]*")
COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "can",
        "do",
        "does",
        "for",
        "from",
        "get",
        "given",
        "gives",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "my",
        "of",
        "on",
        "one",
        "or",
        "s",
        "so",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "this",
        "to",
        "was",
        "what",
        "when",
        "where",
        "which",
        "will",
        "with",
        "you",
        "your",
    ]
)
UNKNOWN = "I do not know."
GREETING = "That is a good question, thank you for asking it!"
HEDGE = "As far as I can tell, and without being sure of it, this might be what you are looking for:"
CLOSING = "Please let me know if there is anything else that I can help you with today."
INVENTED = "It is most probably built into the language, so you can simply call it."
ENOUGH = 0.3  # the share of a question's words that a passage has to have where the answer is to come from the passages alone
LONG = 4  # sentences of an answer that nobody asked to be short


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Something that an instruction can ask for.

    Attributes:
        asked: what an instruction says where it asks for it.
        instruction: a sentence that asks for it.
        feedback: what feedback says where it is missing.
    """

    asked: re.Pattern[str]
    instruction: str
    feedback: re.Pattern[str]


def _rule(asked: str, instruction: str, feedback: str) -> Rule:
    return Rule(
        asked=re.compile(asked, re.IGNORECASE), instruction=instruction, feedback=re.compile(feedback, re.IGNORECASE)
    )


RULES = {
    # the one best sentence; else up to four of the best passage
    "short": _rule(
        r"(one|single) (short )?sentence|\bconcise|\bbrief",
        "Answer in one sentence.",
        r"too long|longer than|verbose|shorter|too many words|\bprecision\b",
    ),
    # the sentence as it stands; else behind a hedge
    "quote": _rule(
        r"\bquote|word for word|verbatim|exact words",
        "Quote the passage word for word.",
        r"paraphras|hedg|wording|exact words|not the words of|differs from the reference",
    ),
    # no greeting and no closing words
    "direct": _rule(
        r"(no|without)( an?)? (preamble|greeting|introduction)|start with the answer|\bdirectly\b",
        "Start with the answer, without a preamble.",
        r"preamble|greeting|polite|small talk|filler",
    ),
    # UNKNOWN where no passage shares enough words with the question; else something invented
    "grounded": _rule(
        r"only (from|on|with) the passages|only the passages|do not know|don't know",
        "Answer only from the passages, and say that you do not know where they do not answer.",
        r"unsupported|not supported|made up|invented|unfaithful|not in the passage|hallucinat",
    ),
    # the label of the passage at the end
    "cite": _rule(
        r"\bcite|\bcitation|name the source",
        "Cite the passage.",
        r"no citation|not cited|without a source|missing source",
    ),
}


def extractive(messages: Sequence[Message], *, passages: int | None = None) -> str:
    """Answers the question in the last user message from the passages in it.

    The question is what follows the last `Question:`, else the last line that ends with a question mark. Passages are blocks
    between empty lines, and may begin with a label: `[os.path.join] …`. Either may be `quoted`. The instruction is what the
    system messages say; what it can ask for are the `RULES`: without any, the answer greets, hedges, is up to four sentences long and ends politely.

    Args:
        messages: of a chat, with `role` and `content`.
        passages: how many of the first passages it reads, as a smaller model would; defaults to all of them.

    Returns:
        The answer.
    """
    instruction = "\n".join(each["content"] for each in messages if each["role"] == "system")
    asked = next((each["content"] for each in reversed(messages) if each["role"] == "user"), "")
    question, rest = _question(QUOTED.sub(r"\2", asked))
    rules = {name for name, rule in RULES.items() if rule.asked.search(instruction)}
    blocks = [_Passage.read(each) for each in re.split(r"\n[ \t]*\n", rest) if WORD.search(each.lower())][:passages]
    wanted = _words(question)
    best = max(blocks, key=lambda each: _overlap(wanted, _words(each.whole)), default=None)
    if best is None or _overlap(wanted, _words(best.whole)) < ENOUGH:
        answer, label = UNKNOWN if "grounded" in rules else INVENTED, ""
    else:
        answer, label = best.answer(wanted, 1 if "short" in rules else LONG), best.label
    parts = [
        "" if "direct" in rules else GREETING,
        "" if "quote" in rules or not _from_passage(answer) else HEDGE,
        answer,
        f"[{label}]" if "cite" in rules and label else "",
        "" if "direct" in rules else CLOSING,
    ]
    return " ".join(each for each in parts if each)


def _from_passage(answer: str) -> bool:
    """Whether an answer comes from a passage."""
    return answer not in {UNKNOWN, INVENTED}


@dataclass(frozen=True, kw_only=True)
class _Passage:
    label: str
    whole: str
    sentences: tuple[str, ...]

    @classmethod
    def read(cls, block: str) -> _Passage:
        found = LABEL.match(block)
        label = next((each for each in found.groups() if each), "") if found else ""
        text = block[found.end() :] if found else block
        title, _, body = text.strip().partition("\n")
        told = body if body.strip() and not title.rstrip().endswith((".", "!", "?")) else text
        sentences = tuple(each.strip() for each in SENTENCE.split(" ".join(told.split())) if each.strip())
        return cls(label=label or title.split("(")[0].strip(), whole=block, sentences=sentences)

    def answer(self, wanted: set[str], most: int) -> str:
        """The best sentence, and those that follow it up to `most`."""
        scores = [_overlap(wanted, _words(each)) for each in self.sentences]
        start = scores.index(max(scores))
        return " ".join(self.sentences[start : start + most])


def _question(text: str) -> tuple[str, str]:
    """The question, and the text without it."""
    label = "Question:"
    if (place := text.rfind(label)) >= 0:
        question, _, after = text[place + len(label) :].strip().partition("\n")
        return question, f"{text[:place]}\n\n{after}"
    lines = text.strip().splitlines()
    asked = [number for number, line in enumerate(lines) if line.rstrip().endswith("?")]
    number = asked[-1] if asked else len(lines) - 1
    return (lines[number], "\n".join([*lines[:number], "", *lines[number + 1 :]])) if lines else ("", "")


def _words(text: str) -> set[str]:
    """The words that carry meaning, without the endings of plurals and verbs."""
    return {re.sub(r"(?<=\w{3})(ing|ed|es|s)$", "", each) for each in WORD.findall(text.lower())} - COMMON


def _overlap(wanted: set[str], there: set[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 0.0


def reflect(prompt: str) -> str:
    """Proposes an instruction, as the reflection model of a tuner.

    Args:
        prompt: the current instruction between the first pair of lines of three backticks, and feedback on its answers.

    Returns:
        The current instruction with one sentence more, between three backticks: that of the rule that the instruction lacks and
        the feedback misses most often. Where feedback misses none of them it is the first rule that the instruction lacks;
        where it lacks none, the instruction stays as it is.
    """
    found = re.search(r"```[a-z]*\n(.*?)```", prompt, re.DOTALL)
    current = found.group(1).strip() if found else ""
    feedback = prompt[found.end() :] if found else prompt
    lacking = [rule for rule in RULES.values() if not rule.asked.search(current)]
    if lacking:
        missed = max(lacking, key=lambda rule: len(rule.feedback.findall(feedback)))  # the first one of equals
        current = f"{current} {missed.instruction}".strip()
    return f"```\n{current}\n```"


def judge(messages: Sequence[Message]) -> str:
    """Scores an answer by the share of its words that the other material has: how faithful it is to it.

    The material is in the user messages as sections: `[… name]` up to `[… end of name]`, or a line `Name:` each. The section
    whose name has `answer` in it, and not `reference` or `expected`, is judged; a section `question` is no evidence. The scale
    is read from "from LOW … to HIGH" in the system message, and defaults to 0 and 1.

    Args:
        messages: of a chat, with `role` and `content`.

    Returns:
        JSON: `{"score": a whole number on the scale, "reason": a sentence}`.
    """
    system = "\n".join(each["content"] for each in messages if each["role"] == "system")
    material = "\n".join(each["content"] for each in messages if each["role"] == "user")
    scale = re.search(r"from (-?\d+)\b[^.\n]*? to (-?\d+)\b", system)
    low, high = (int(scale.group(1)), int(scale.group(2))) if scale else (0, 1)
    answer, evidence = set[str](), set[str]()
    for name, text in _sections(material):
        if "answer" in name and not re.search("reference|expected|correct", name):
            answer |= _words(text)
        elif "question" not in name:
            evidence |= _words(text)
    share = 1.0 if UNKNOWN in material and answer <= _words(UNKNOWN) else _overlap(answer, evidence)
    reason = f"{share:.0%} of the answer's words are in the material."
    return json.dumps({"score": low + round(share * (high - low)), "reason": reason})


def _sections(material: str) -> list[tuple[str, str]]:
    marked = re.findall(r"^\[(\S+) ([^\]\n]+)\]\n(.*?)\n\[\1 end of \2\]", material, re.DOTALL | re.MULTILINE)
    if marked:
        return [(name.lower(), text) for _, name, text in marked]
    parts = re.split(r"^([A-Za-z][A-Za-z ]{1,30}):", material, flags=re.MULTILINE)
    return [(name.lower(), text) for name, text in zip(parts[1::2], parts[2::2], strict=True)]


def small(messages: Sequence[Message]) -> str:
    """`extractive` of a model that reads the first passage alone, for an endpoint."""
    return extractive(messages, passages=1)


def reflection(messages: Sequence[Message]) -> str:
    """`reflect` for an endpoint: the last message is the prompt."""
    return reflect(messages[-1]["content"])
