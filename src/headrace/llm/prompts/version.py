"""A prompt's identity: its text, its inputs and their digest. Rendered, compared, and packaged into a model version."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError, DeclarationError, HeadraceError
from headrace.core.ids import digest
from headrace.llm.prompts.sections import join, split
from headrace.llm.prompts.template import compile_prompt, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from headrace.llm.prompts.messages import Message, Role
    from headrace.llm.prompts.sections import Section

FOLDER, INDEX = "prompts", "prompts.json"
LIMIT = 1_000_000  # bytes of the rendered messages
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
FILLED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
SENTENCE = 30  # letters and digits of a sentence that is nobody else's


@dataclass(frozen=True)
class PromptVersion:
    """A prompt with its text.

    Args:
        name: of the prompt.
        text: its source, with sections.
        inputs: the names of the values that are put in.
        instructions: those of them that the section `system` may use.
        limit: bytes of UTF-8 that the rendered messages may have together; defaults to 1,000,000.

    Raises:
        DeclarationError: as `headrace.llm.prompts.template.compile_prompt`, or `name` is none.
        MissingExtraError: Jinja is not installed.
    """

    name: str
    _: KW_ONLY
    text: str
    inputs: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    limit: int = LIMIT

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"{self.name!r} is not the name of a prompt.",
                hint="Write lower case letters, digits, hyphens and underscores: 'answer'.",
            )
        compile_prompt(self.text, self.inputs, self.instructions)

    @property
    def digest(self) -> str:
        """What identifies it: 32 hexadecimal characters over the text and the inputs; the name does not count."""
        return digest([self.text, sorted(self.inputs), sorted(self.instructions)])

    @property
    def sections(self) -> tuple[Section, ...]:
        """Its sections, one a message."""
        return split(self.text)

    @property
    def system_sentences(self) -> tuple[str, ...]:
        """The sentences of the system sections, without what is put into them. Short ones are left out: others say them, too."""
        texts = (FILLED.sub("\n", section.text) for section in self.sections if section.role == "system")
        sentences = (sentence.strip() for text in texts for sentence in SENTENCE_END.split(text))
        return tuple(each for each in sentences if sum(map(str.isalnum, each)) >= SENTENCE)

    def render(self, **values: object) -> tuple[Message, ...]:
        """The messages for these values, which are cleaned before (`headrace.llm.prompts.values.clean_text`).

        Args:
            **values: one for each input.

        Raises:
            DataError: a value is missing, not an input, or not possible, or the template cannot be applied to it.
            LimitError: the messages have more bytes than `limit`, or rendering takes too much.
        """
        try:
            return render(compile_prompt(self.text, self.inputs, self.instructions), self.inputs, values, self.limit)
        except HeadraceError as error:
            error.what = f"prompt {self.name!r}: {error.what}"
            raise

    def with_section(self, number: int, text: str) -> PromptVersion:
        """The same prompt with another text in one section, counted from 0: how a tuned instruction is put in.

        Raises:
            DeclarationError: the text does not make a prompt; it cannot begin another section.
            IndexError: there is no such section.
        """
        sections: list[tuple[Role, str]] = [(section.role, section.text) for section in self.sections]
        sections[number] = (sections[number][0], text)
        return PromptVersion(
            self.name, text=join(sections), inputs=self.inputs, instructions=self.instructions, limit=self.limit
        )

    def to_json(self) -> dict[str, object]:
        """What identifies and describes it, without its text: for `prompts.json`."""
        return {
            "digest": self.digest,
            "inputs": list(self.inputs),
            "instructions": list(self.instructions),
            "limit": self.limit,
        }

    @classmethod
    def from_json(cls, name: str, stored: Mapping[str, Any], text: str) -> PromptVersion:
        """The prompt that `to_json` described.

        Raises:
            DataError: the text is not that of the digest, or the description cannot be read.
        """
        try:
            version = cls(
                name,
                text=text,
                inputs=tuple(stored["inputs"]),
                instructions=tuple(stored["instructions"]),
                limit=int(stored["limit"]),
            )
            expected = stored["digest"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the description of the prompt {name!r} cannot be read: {error!r}.") from None
        if version.digest != expected:
            raise DataError(
                f"the prompt {name!r} was changed after it was packaged: its digest is {version.digest}, not {expected}.",
                hint="Change the file in the project, and make a new version.",
            )
        return version


@dataclass(frozen=True, kw_only=True)
class PromptDiff:
    """What differs between two versions of a prompt.

    Attributes:
        text: a unified diff of the sources; empty where they are equal.
        sections: the sections that differ: `"system"`, `"user"`, `"user 2"` for the second of a role.
        inputs: the names that only one of the two has.
    """

    text: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...]


def diff(old: PromptVersion, new: PromptVersion) -> PromptDiff:
    """What differs between two versions of a prompt."""
    lines = difflib.unified_diff(
        old.text.splitlines(),
        new.text.splitlines(),
        f"{old.name} {old.digest[:8]}",
        f"{new.name} {new.digest[:8]}",
        lineterm="",
    )
    before, after = _labelled(old.sections), _labelled(new.sections)
    return PromptDiff(
        text="\n".join(lines),
        sections=tuple(label for label in dict.fromkeys((*before, *after)) if before.get(label) != after.get(label)),
        inputs=tuple(sorted(set(old.inputs) ^ set(new.inputs))),
    )


def save(folder: Path, versions: Iterable[PromptVersion]) -> None:
    """Writes prompts into a folder: `prompts/<name>.md` each, and `prompts.json`, which describes them.

    Raises:
        DeclarationError: two have one name.
    """
    index: dict[str, object] = {}
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for version in versions:
        if version.name in index:
            raise DeclarationError(f"there are two prompts {version.name!r}.", hint="Give each a name of its own.")
        index[version.name] = version.to_json()
        (folder / FOLDER / f"{version.name}.md").write_text(version.text, encoding="utf-8", newline="\n")
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> dict[str, PromptVersion]:
    """The prompts of a folder that `save` wrote, by name.

    Raises:
        DataError: a file is missing, cannot be read, or was changed.
    """
    try:
        index: dict[str, dict[str, object]] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if any(not NAME.fullmatch(name) for name in index):
            raise DataError(f"{str(folder / INDEX)!r} names a prompt that cannot be one.")
        texts = {name: (folder / FOLDER / f"{name}.md").read_bytes().decode() for name in index}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the prompts in {str(folder)!r} cannot be read: {error}.") from None
    return {name: PromptVersion.from_json(name, index[name], texts[name]) for name in index}


def _labelled(sections: Sequence[Section]) -> dict[str, str]:
    labelled: dict[str, str] = {}
    for section in sections:
        number = sum(label.split(" ")[0] == section.role for label in labelled) + 1
        labelled[section.role if number == 1 else f"{section.role} {number}"] = section.text
    return labelled
