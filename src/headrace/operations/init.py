"""A new project: its folder, made from a name and, where there is some, data. No environment is opened."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import scaffold
from headrace.core.errors import ConfigError, NotFoundError
from headrace.deployment.declarations import PATTERNS
from headrace.operations.record import Record
from headrace.scaffold import answers as template
from headrace.scaffold import base
from headrace.scaffold.project_files import CI
from headrace.scaffold.repository import Committed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.scaffold.kind import Material

KIND = scaffold.KINDS["tabular"].name
KINDS = tuple(scaffold.KINDS)
SYSTEMS = tuple(CI)


@dataclass(frozen=True, kw_only=True)
class InitGuess(Record):
    """Something that the data does not say and that was decided.

    Attributes:
        about: what was decided: `label`.
        value: what was taken.
        reason: why.
        change: what changes it: an option of `headrace init`, or a place in the project.
    """

    about: str
    value: str
    reason: str
    change: str


@dataclass(frozen=True, kw_only=True)
class InitQuestions(Record):
    """What a kind of project asks a person.

    Attributes:
        source: the question for the data.
        columns: option → the question for it, of the options that name a column of a CSV file.
    """

    source: str
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(Record):
    """A project that was made.

    Attributes:
        name: of the project.
        folder: where it is.
        kind: of project.
        files: paths in the folder.
        guesses: what was guessed of the data.
        commit: the id of the first commit; empty where there is none.
        reason: why the files are not committed; else empty.
        fix: the commands that commit them; else empty.
        next: the commands that come first in the folder.
    """

    name: str
    folder: str
    kind: str
    files: tuple[str, ...]
    guesses: tuple[InitGuess, ...]
    commit: str
    reason: str
    fix: str
    next: tuple[str, ...]


def check_init(name: str, *, kind: str = KIND, folder: Path | None = None, git: bool = True) -> Path:
    """Whether a project of that name can be made, before anything is asked.

    Args:
        name: of the project.
        kind: of project.
        folder: in which the project's folder is made; None: the current one.
        git: whether a repository is to be made.

    Returns:
        The place of the project.

    Raises:
        ConfigError: the name is no identifier, something is there, git is not installed, or a package is missing.
        NotFoundError: there is no such kind.
    """
    place = (folder or Path.cwd()) / scaffold.check_name(name)
    scaffold.kind_named(kind)
    scaffold.check_free(place)
    if git:
        scaffold.is_inside(place.parent)
    return place


def init_questions(kind: str = KIND) -> InitQuestions:
    """What a kind of project asks a person on a terminal.

    Args:
        kind: of project.

    Raises:
        NotFoundError: there is no such kind.
    """
    of = scaffold.kind_named(kind)
    return InitQuestions(source=of.source, columns=dict(of.questions))


def describe_source(
    source: Path,
    *,
    kind: str = KIND,
    key: str | None = None,
    time: str | None = None,
    label: str | None = None,
    text: str | None = None,
) -> tuple[InitGuess, ...]:
    """What is guessed of the data of a project.

    Args:
        source: the data: a CSV file, or of the kind `assistant` a folder, too.
        kind: of project.
        key: see `create_project`.
        time: see `create_project`.
        label: see `create_project`.
        text: see `create_project`.

    Raises:
        ConfigError: the data cannot be read, or a column cannot be what it is named for.
        NotFoundError: there is no such kind or column.
    """
    return _guesses(_material(kind, source, {"key": key, "time": time, "label": label, "text": text}).guesses)


def create_project(
    name: str,
    *,
    kind: str = KIND,
    folder: Path | None = None,
    source: Path | None = None,
    key: str | None = None,
    time: str | None = None,
    label: str | None = None,
    text: str | None = None,
    ci: Sequence[str] = SYSTEMS,
    deploy: str = PATTERNS[0],
    git: bool = True,
) -> ProjectCreated:
    """Makes the folder of a project, whole or not at all.

    Args:
        name: of the project, its folder and its package.
        kind: of project.
        folder: in which the project's folder is made; None: the current one.
        source: a CSV file, or of the kind `assistant` a folder with `.md` and `.txt` files, too, which is copied; None: the sample.
        key: the column that tells rows or documents apart; empty: none; None: it is guessed.
        time: the column with the moment of each decision, of the kind `tabular`; empty: none; None: it is guessed.
        label: the column that is predicted, of the kind `tabular`; None: it is guessed.
        text: the column with the texts of documents, of the kind `assistant`; None: it is guessed.
        ci: the systems that the project has a file for.
        deploy: how versions come into higher environments: `code`, `models` or `hybrid`; see `hr.Deployment`.
        git: whether it becomes a repository with a first commit, unless it is in one already.

    Returns:
        What was made and guessed, and whether it is committed.

    Raises:
        ConfigError: see `check_init` and `describe_source`; or a package that the project needs is not installed.
        NotFoundError: there is no such kind, column, system of CI or pattern.
    """
    place = check_init(name, kind=kind, folder=folder, git=git)
    for each in ci:
        if each not in SYSTEMS:
            raise NotFoundError("CI system", each, SYSTEMS)
    if deploy not in PATTERNS:
        raise NotFoundError("deployment pattern", deploy, PATTERNS, hint="--deploy code, models or hybrid.")
    material = _material(kind, source, {"key": key, "time": time, "label": label, "text": text})
    answers = scaffold.Answers(
        headrace=installed_version(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        kind=kind,
        name=name,
        ci=tuple(each for each in SYSTEMS if each in ci),
        is_sample=source is None,
        deploy=deploy,
        data=material.described,
    )
    rendered = scaffold.rendered(answers)
    files: dict[str, str | bytes] = {
        **rendered,
        template.FILE: answers.to_toml(),
        base.FILE: base.pack(rendered),
        **material.files,
    }
    committed = Committed()
    with scaffold.write(place, files) as made:
        if git and not scaffold.is_inside(place.parent):
            committed = scaffold.commit_first(made)
        elif git:
            committed = Committed(reason="the folder is in a repository already", fix="git add . && git commit")
    return ProjectCreated(
        name=name,
        folder=str(place),
        kind=kind,
        files=tuple(sorted(files)),
        guesses=_guesses(material.guesses),
        commit=committed.commit,
        reason=committed.reason,
        fix=committed.fix,
        next=tuple(each.format(name=name) for each in scaffold.kind_named(kind).next),
    )


def _material(kind: str, source: Path | None, options: Mapping[str, str | None]) -> Material[Any]:
    """What the project begins with."""
    of = scaffold.kind_named(kind)
    for option, value in options.items():
        if value is not None and option not in of.questions:
            raise ConfigError(
                f"--{option} is nothing of a project of the kind {kind!r}.",
                hint=f"It has {', '.join(f'--{each}' for each in of.questions)}.",
            )
        if value and source is None:
            raise ConfigError(
                f"column {value!r} is of a file, and there is none.", hint="headrace init NAME --from FILE.csv"
            )
    return of.begin(source, {option: options.get(option) for option in of.questions})


def _guesses(guesses: Sequence[scaffold.Guess]) -> tuple[InitGuess, ...]:
    return tuple(
        InitGuess(about=each.about, value=each.value, reason=each.reason, change=each.change) for each in guesses
    )


def installed_version() -> str:
    """The version of headrace that is installed."""
    from importlib.metadata import version

    return version("headrace")
