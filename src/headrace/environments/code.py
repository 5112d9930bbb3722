"""Identity of the code that runs in an environment: the working tree, a commit, or a release.

Staging and prod never run the working tree: what runs there is written out from git (`checkout.py`) and is what was
committed, whatever the folder or git's index contains. This holds for code only: relative paths of `hr.Source(files=…)`
start at the project's folder, because data is not committed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.ids import digest
from headrace.environments import git, worktree
from headrace.environments.checkout import checkout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.environments.config import Config, Environment

    Unproven = Callable[[str], str | None]  # of a commit, why it may not run for want of evidence; None where it may

CACHE = ".headrace/code"
Kind = Literal["worktree", "commit", "release"]
COMMIT_FIRST = "git init && git add . && git commit -m 'first version'"


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code that runs.

    Attributes:
        commit: for the working tree the commit that it started from; None outside git or before the first one.
        tree: git's id of the project's tree at that commit; for the working tree a digest of its content. Code with
            the same tree is the same code: this goes into step keys, and names the version that is imported.
        release: the tag.
        dirty: the folder holds changes that are in no commit. They run only where `kind` is `worktree`.
        folder: import from here.
    """

    kind: Kind
    commit: str | None
    tree: str
    release: str | None
    dirty: bool
    folder: Path

    @property
    def identity(self) -> str:
        """The commit, where the code is exactly that; else, of a working tree, the digest of its content."""
        as_committed = self.commit is not None and (self.kind != "worktree" or not self.dirty)
        return self.commit if as_committed and self.commit else self.tree

    def __str__(self) -> str:
        short = self.commit[:8] if self.commit else "not committed"
        if self.kind == "worktree":
            return f"working tree ({short}{', changed' if self.dirty and self.commit else ''})"
        return f"{self.release} ({short})" if self.release else short


def resolve(config: Config, env: Environment, *, release: str | None = None, unproven: Unproven | None = None) -> Code:
    """Finds the code that may run in an environment, and makes it ready to be imported.

    Args:
        config: the project.
        env: says what may run: `any` the working tree, `commit` what HEAD has, `release` a tag.
        release: run this release, in whichever environment. Unless said, `release` environments run the highest one
            by version that may run; a pre-release (`v2.0.0-rc1`) only if there is nothing else.
        unproven: says why a release may not run here, for want of an attestation; None: any may.

    Raises:
        RefusedError: there is no commit, no release that may run, not this project in it, or a release that was another one
            before.
        NotFoundError: no such release.
    """
    if env.commit is not None:
        return _pinned(config, env.commit)
    in_git = git.inside(config.folder)
    data = [other.root for other in config.environments]
    commit = git.revision(config.folder, "HEAD^{commit}") if in_git else None
    if release is None and env.code == "any":
        return Code(
            kind="worktree",
            commit=commit,
            tree=worktree.content(config.folder, data, in_git=in_git),
            release=None,
            dirty=commit is None or worktree.changed(config.folder, data),
            folder=config.folder,
        )
    if commit is None:
        raise _not_committed(config, env, in_git=in_git)
    if release is not None or env.code == "release":
        release, commit = find_release(config.folder, env.name, env.releases, release, unproven=unproven)
    tree = tree_of(config.folder, commit, release)
    cache = config.folder / CACHE
    if release is not None:
        _stays(cache, release, tree)
    return Code(
        kind="commit" if release is None else "release",
        commit=commit,
        tree=tree,
        release=release,
        dirty=worktree.changed(config.folder, data),
        folder=checkout(config.folder, tree, cache),
    )


def _pinned(config: Config, commit: str) -> Code:
    """The commit that a test is of, whatever is checked out meanwhile."""
    tree = tree_of(config.folder, commit)
    folder = checkout(config.folder, tree, config.folder / CACHE)
    return Code(kind="commit", commit=commit, tree=tree, release=None, dirty=False, folder=folder)


def newest_release(config: Config, env: Environment, *, unproven: Unproven | None = None) -> str:
    """The tag of the highest release of an environment that may run there, by version.

    Raises:
        RefusedError: there is none.
    """
    return find_release(config.folder, env.name, env.releases, None, unproven=unproven)[0]


def names(config: Config, code: Code) -> frozenset[str] | None:
    """The files of the code, by relative path, as git counts them; None outside of git."""
    if code.kind != "worktree":
        return frozenset(git.lines(config.folder, "ls-tree", "-r", "-z", "--full-tree", "--name-only", code.tree))
    if not git.inside(config.folder):
        return None
    return worktree.names(config.folder, [other.root for other in config.environments])


def _not_committed(config: Config, env: Environment, *, in_git: bool) -> RefusedError:
    reason = "has no commit yet" if in_git else "is not in a git repository (or git is not installed)"
    tag = " && git tag v0.1.0" if env.code == "release" else ""
    return RefusedError(
        f"{env.name} runs {'releases' if env.code == 'release' else 'committed code'} only, and {str(config.folder)!r} {reason}.",
        hint=(COMMIT_FIRST if not in_git else COMMIT_FIRST.removeprefix("git init && ")) + tag,
    )


def tree_of(folder: Path, commit: str, release: str | None = None) -> str:
    """The project's part of a commit: it may be a folder of a larger repository.

    Raises:
        RefusedError: the project is not in it.
    """
    tree = git.revision(folder, f"{commit}:./")
    if tree is None or not git.lines(folder, "ls-tree", "-z", "--full-tree", tree, "headrace.toml"):
        raise RefusedError(
            f"the project {str(folder)!r} is not in {f'release {release}' if release else 'commit'} {commit[:8]}.",
            hint="git add . && git commit" + (", then tag a release of that commit" if release else ""),
        )
    return tree


def find_release(
    folder: Path, env: str, pattern: str, wanted: str | None, *, unproven: Unproven | None = None
) -> tuple[str, str]:
    """The tag of the wanted release of an environment, or of the highest one that may run, and its commit.

    The commit is that of the moment when the tag was looked at: a tag that is moved meanwhile changes nothing.

    Raises:
        RefusedError: there is none, the wanted tag is not a release here, or it may not run.
        NotFoundError: the wanted one does not exist.
    """
    tags = _tags(folder)
    releases = [tag for tag in tags if fnmatchcase(tag, pattern)]
    if wanted is not None:
        if wanted not in tags:
            raise NotFoundError("release", wanted, releases, hint="Releases are git tags: git tag --list")
        if wanted not in releases:
            raise RefusedError(
                f"{wanted!r} is a tag, but no release: releases of {env} are tagged {pattern!r}.",
                hint=f"git tag {_next(pattern)} {wanted}" if re.fullmatch(r"\w[\w./-]*", wanted) else "",
            )
        if unproven is not None and (reason := unproven(tags[wanted])):
            raise _unproven(env, wanted, reason)
        return wanted, tags[wanted]
    if not releases:
        others = f" (there is {', '.join(list(tags)[:5])})" if tags else ""
        raise RefusedError(
            f"{env} runs releases only, and no commit is tagged {pattern!r}{others}.",
            hint=f"git tag {_next(pattern)}",
        )
    ordered = sorted(releases, key=version, reverse=True)
    for tag in ordered:
        if unproven is None or not unproven(tags[tag]):
            return tag, tags[tag]
    assert unproven is not None  # else the first one was returned
    raise _unproven(env, ordered[0], unproven(tags[ordered[0]]) or "")


def _unproven(env: str, tag: str, reason: str) -> RefusedError:
    return RefusedError(
        f"release {tag} may not run in {env}: {reason}.",
        hint=f"Test its commit where the key is: headrace test integration. Without a test an admin says why: "
        f"headrace release allow {tag} --env {env} --reason …",
    )


def releases(folder: Path, pattern: str) -> dict[str, str]:
    """The tags of commits that match a pattern, and their commits, the highest version first.

    Raises:
        RefusedError: the folder is in no repository.
    """
    if not git.inside(folder):
        raise RefusedError(f"{str(folder)!r} is in no git repository, so it has no releases.", hint=COMMIT_FIRST)
    tags = _tags(folder)
    ordered = sorted((tag for tag in tags if fnmatchcase(tag, pattern)), key=version, reverse=True)
    return {tag: tags[tag] for tag in ordered}


def _tags(folder: Path) -> dict[str, str]:
    """Tags that lead to a commit, by name, with the commit's id."""
    fields = "%(objecttype)|%(*objecttype)|%(objectname)|%(*objectname)|%(refname)"
    answer = git.ask(folder, "for-each-ref", f"--format={fields}", "refs/tags")
    tags: dict[str, str] = {}
    for line in answer.splitlines():
        kind, peeled_kind, name, peeled, ref = line.split(b"|", 4)
        commit = peeled if peeled_kind == b"commit" else name if kind == b"commit" else None
        if commit is not None:
            tags[os.fsdecode(ref.removeprefix(b"refs/tags/"))] = commit.decode()
    return dict(sorted(tags.items()))


def _next(pattern: str) -> str:
    return pattern.replace("*", "0.1.0", 1) if pattern.count("*") == 1 else "<name>"


def version(tag: str) -> tuple[bool, tuple[int, ...], int, tuple[tuple[int, int, str], ...], str]:
    """Orders tags as versions: `v0.10` after `v0.9`; pre-releases before everything final, `v1.0-rc2` after `v1.0-rc1`.

    What a dash, or a letter straight after the number, introduces is a pre-release, as in semantic versions and PEP 440;
    `.post1` and `+build` come after the version that they extend.
    """
    match = re.match(r"[^0-9]*([0-9]+(?:\.[0-9]+)*)(.*)", tag, re.DOTALL)
    numbers, rest = (tuple(int(part) for part in match[1].split(".")), match[2]) if match else ((), tag)
    while numbers and numbers[-1] == 0:  # v1 is v1.0
        numbers = numbers[:-1]
    later = bool(re.match(r"[.-]?(post|r(ev)?\d)|\+", rest))
    early = bool(rest) and not later
    words = tuple(
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.findall(r"[0-9]+|[^0-9.\-]+", rest)
    )
    return (not early, numbers, int(later), words, tag)


def _stays(cache: Path, release: str, tree: str) -> None:
    """Refuses a release that ran here before with other code: somebody moved the tag.

    Raises:
        RefusedError: it did.
    """
    noted = cache / f"release-{digest(release)}"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        before = noted.read_text(encoding="utf-8").split()[0]
    except (FileNotFoundError, IndexError):  # not there, or cut short when the machine stopped
        temporary = cache / f".release-{os.getpid()}-{digest(release)}"
        temporary.write_text(f"{tree} {release}\n", encoding="utf-8")
        temporary.replace(noted)
        return
    if before != tree:
        raise RefusedError(
            f"release {release!r} has been moved: its code was {before[:8]} when it first ran here, now it is {tree[:8]}.",
            hint=f"Tag a new release, or, if the first one never counted, remove {noted}.",
        )
