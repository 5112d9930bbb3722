"""What a kind of project is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from headrace.scaffold.answers import Described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.scaffold.answers import Answers
    from headrace.scaffold.guess import Guess

D = TypeVar("D", bound=Described)


@dataclass(frozen=True, kw_only=True)
class Material(Generic[D]):
    """What a project begins with: the user's data, or the sample.

    Attributes:
        described: what the files depend on of it.
        files: path → content of what is copied into the project, below `data/`.
        guesses: what was guessed of it; none of the sample.
    """

    described: D
    files: Mapping[str, bytes]
    guesses: tuple[Guess, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[D]):
    """A kind of project.

    Attributes:
        name: as `--kind` has it.
        extras: the extras of headrace that it needs.
        source: what `--from` takes, as a question on a terminal.
        describes: what the files depend on of the data: a dataclass of texts, numbers, truth values and tuples of them.
        questions: option → the question for it on a terminal, of the options that name a column of a CSV file.
        begin: the material, of the data at a path (None: the sample) and of the options that name columns. It raises
            ConfigError and NotFoundError.
        files: path → text, for the answers.
        next: the commands that come first in the folder of a new project; `{name}` is its name.
    """

    name: str
    extras: tuple[str, ...]
    source: str
    describes: type[D]
    questions: Mapping[str, str] = field(default_factory=dict[str, str])
    begin: Callable[[Path | None, Mapping[str, str | None]], Material[D]]
    files: Callable[[Answers[D]], dict[str, str]]
    next: tuple[str, ...] = ("headrace run refresh",)
