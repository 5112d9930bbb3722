"""The kinds of projects. A kind is one file, and a line here."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from headrace.core.errors import ConfigError, NotFoundError
from headrace.scaffold import answers as template
from headrace.scaffold.assistant import ASSISTANT
from headrace.scaffold.lock import locked
from headrace.scaffold.tabular import TABULAR

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.scaffold.answers import Answers
    from headrace.scaffold.kind import Kind

KINDS: dict[str, Kind[Any]] = {each.name: each for each in (TABULAR, ASSISTANT)}


def kind_named(name: str) -> Kind[Any]:
    """The kind of that name.

    Raises:
        NotFoundError: there is none.
    """
    if name not in KINDS:
        raise NotFoundError("kind of project", name, KINDS, hint=f"headrace init NAME --kind {TABULAR.name}")
    return KINDS[name]


def read_answers(folder: Path) -> Answers[Any]:
    """The answers that a project was made from.

    Raises:
        ConfigError: the folder has no readable `.headrace-template.toml`.
        NotFoundError: the project is of a kind that there is not.
    """
    path = folder / template.FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return template.from_table(table, kind_named(table["kind"]).describes)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {template.FILE} in {str(folder)!r}.", hint="`headrace init` writes it."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}.", hint=f"Restore it from git: git checkout -- {template.FILE}"
        ) from None


LOCK = "requirements.lock"


def rendered(answers: Answers[Any]) -> dict[str, str]:
    """Path → text of what an update merges: every file but the data and the answers, with the lock of what is installed here.

    Raises:
        ConfigError: something that the lock needs is not installed.
    """
    kind = kind_named(answers.kind)
    return {**kind.files(answers), LOCK: locked(kind.extras)}


def files_of(answers: Answers[Any]) -> dict[str, str]:
    """Path in the project → text, of every file but its data and `requirements.lock`: a function of the answers alone."""
    return {**kind_named(answers.kind).files(answers), template.FILE: answers.to_toml()}
