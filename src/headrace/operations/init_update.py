"""A project brought forward to the templates of the installed version: a three-way merge. No environment is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.core import locks
from headrace.core.errors import ConfigError, RefusedError
from headrace.environments import config, git
from headrace.operations.init import installed_version
from headrace.operations.record import Record
from headrace.scaffold import answers as template
from headrace.scaffold import base as stored
from headrace.scaffold import kinds, update
from headrace.scaffold.merge import MergedFile, Result, merge_files

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.scaffold.answers import Answers

ANSWERS = template.FILE


@dataclass(frozen=True, kw_only=True)
class UpdatedFile(Record):
    """What became of a file.

    Attributes:
        path: in the project.
        result: `added`, `updated` where the project had not changed it, `merged` where it had, `removed`; `left out` where
            nothing was done because the project has deleted it; `conflict`.
        reason: why it is a conflict or left out; else empty.
    """

    path: str
    result: Result
    reason: str


@dataclass(frozen=True, kw_only=True)
class ProjectUpdated(Record):
    """A project that was brought forward.

    Attributes:
        name: of the project.
        folder: where it is.
        before: the version of headrace whose templates it had.
        after: the installed version.
        files: those that the templates make otherwise; empty where there was nothing to do.
        conflicts: how many of them somebody has to look at.
        resumed: whether an update that was interrupted has been finished now.
    """

    name: str
    folder: str
    before: str
    after: str
    files: tuple[UpdatedFile, ...]
    conflicts: int
    resumed: bool


def update_project(folder: Path | None = None) -> ProjectUpdated:
    """Merges what the templates make now into a project: into its working tree, where it can be looked at and committed.

    Args:
        folder: of the project, or inside it; None: the current one.

    Returns:
        What became of the files. An update that was interrupted is finished first, and then it is the one that is returned.

    Raises:
        ConfigError: there is no project, it was not made by `headrace init`, or by a newer headrace than is installed.
        RefusedError: the project is not in git, has changes that are not committed, or is being updated already.
    """
    home = config.find(folder or Path.cwd())
    (home / update.LOCK).parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with locks.hold(home / update.LOCK):
            if update.is_pending(home):
                return _read(update.finish(home), resumed=True)
            return _update(home)
    except BlockingIOError:
        raise RefusedError(
            f"{str(home)!r} is being updated by another process.",
            hint="Wait until it has ended, and look at git status.",
        ) from None


def _update(home: Path) -> ProjectUpdated:
    answers = kinds.read_answers(home)
    now = replace(answers, headrace=installed_version(), template=template.VERSION)
    _check_not_newer(answers, now)
    base, theirs = stored.read_base(home), kinds.rendered(now)
    _check_clean(home)
    tracked = frozenset(git.lines(home, "ls-files", "-z"))
    names = (f"headrace {answers.headrace}", f"headrace {now.headrace}")
    files = merge_files(home, base, theirs, tracked=tracked, names=names)
    files += _own(home, now, theirs if base != theirs else None)
    report = ProjectUpdated(
        name=now.name,
        folder=str(home),
        before=answers.headrace,
        after=now.headrace,
        files=tuple(UpdatedFile(path=each.path, result=each.result, reason=each.reason) for each in files),
        conflicts=sum(each.result == "conflict" for each in files),
        resumed=False,
    )
    if written := [each for each in files if each.writes]:
        update.prepare(home, written, report.to_json())
        update.finish(home)
    return report


def _own(home: Path, answers: Answers[Any], rendered: dict[str, str] | None) -> list[MergedFile]:
    """The answers, and the base of the next update: nobody's to edit, so they are replaced."""
    wanted = {ANSWERS: answers.to_toml().encode()}
    if rendered is not None:
        wanted[stored.FILE] = stored.pack(rendered)
    there = {path: (home / path).read_bytes() for path in wanted}
    return [
        MergedFile(path=path, result="updated", before=there[path], after=content)
        for path, content in wanted.items()
        if there[path] != content
    ]


def _check_not_newer(answers: Answers[Any], now: Answers[Any]) -> None:
    from packaging.version import InvalidVersion, Version

    try:
        newer = Version(answers.headrace) > Version(now.headrace) or answers.template > now.template
    except InvalidVersion:
        raise ConfigError(
            f"{ANSWERS} has {answers.headrace!r} for a version of headrace.",
            hint=f"Restore it from git: git checkout -- {ANSWERS}",
        ) from None
    if newer:
        raise ConfigError(
            f"the project's files are those of headrace {answers.headrace}; installed is {now.headrace}.",
            hint=f"pip install 'headrace>={answers.headrace}'",
        )


def _check_clean(home: Path) -> None:
    if not git.inside(home):
        raise RefusedError(
            f"{str(home)!r} is in no git repository: an update could not be looked at, or undone.",
            hint="git init && git add . && git commit -m 'before the update'",
        )
    told = git.entries(git.ask_of_files(home, "status", "--porcelain", "-z", "--no-renames", "--", "."))
    if told:
        raise RefusedError(
            f"{str(home)!r} has changes that are not committed: an update could not be told from them.",
            findings=told,
            hint="Commit them, or git stash --include-untracked; then headrace init --update",
        )


def _read(told: dict[str, Json], *, resumed: bool) -> ProjectUpdated:
    document: dict[str, Any] = {**told, "resumed": resumed}
    document["files"] = tuple(UpdatedFile(**each) for each in document["files"])
    return ProjectUpdated(**document)
