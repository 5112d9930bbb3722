"""Whether a project uses language models, and which of its models do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.core.ids import digest
from headrace.environments.importing import roots
from headrace.environments.project_table import load_project
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.workspace.workspace import Workspace

FILES = 2_000  # of a program, whose times are looked at
OF_GIT = ("HEAD", "index", "packed-refs", "logs/HEAD", "refs/heads", "refs/tags")  # what a commit or a tag touches


@dataclass(frozen=True, kw_only=True)
class LanguageModelUse(Record):
    """Whether a project uses language models in an environment.

    Attributes:
        env: the environment.
        used: whether routes are configured there, or its code declares a prompt or a model with `predict=`.
        mark: of the code and the routes: another text once they may have changed.
    """

    env: str
    used: bool
    mark: str


@operation("llm routes")
def language_model_use(workspace: Workspace, *, known: LanguageModelUse | None = None) -> LanguageModelUse:
    """Whether a project uses language models. Routes tell without the code, which is imported once for each version of it.

    Args:
        workspace: the environment.
        known: what was found before: it is returned where neither the code nor the routes have changed since.
    """
    env = workspace.configured
    if env.llm.routes:
        return LanguageModelUse(env=env.name, used=True, mark=f"routes {digest(sorted(env.llm.routes))}")
    mark = _mark(workspace)
    if known is not None and (known.env, known.mark) == (env.name, mark):
        return known
    return LanguageModelUse(env=env.name, used=_declares(workspace), mark=mark)


def generation_models(workspace: Workspace) -> tuple[str, ...]:
    """The names of the models that answer: declared with `predict=`, or with a version that was evaluated with a route."""
    found = {each.model for each in workspace.registry.versions() if each.routes}
    with suppress(HeadraceError):  # a program that is broken: versions show all the same
        from headrace.training.declarations import Model

        found |= {each.name for each in workspace.project.all(Model) if each.predict is not None}
    return tuple(sorted(found))


def _declares(workspace: Workspace) -> bool:
    from headrace.llm.prompts.declarations import Prompt
    from headrace.training.declarations import Model

    try:
        declared = workspace.project.declarations
    except HeadraceError:
        return False
    return any(isinstance(each, Prompt) or (isinstance(each, Model) and each.predict is not None) for each in declared)


def _mark(workspace: Workspace) -> str:
    """Of the times of the files that a change of the code touches: cheap enough to make for each page."""
    from headrace.releases import applied

    release = workspace.release
    if release is None and (current := applied.current(workspace.state)) is not None:
        release = current.release
    times = [
        (str(each), stat.st_mtime_ns, stat.st_size) for each in _files(workspace.config.folder) if (stat := _stat(each))
    ]
    return digest([release, *map(list, times)])


def _files(folder: Path) -> Iterator[Path]:
    yield folder / "headrace.toml"
    with suppress(HeadraceError):
        top = load_project(folder).module.partition(".")[0]
        for root in roots(folder):
            yield root / f"{top}.py"
            yield from (each for _, each in zip(range(FILES), sorted((root / top).rglob("*.py")), strict=False))
    repository = next((each / ".git" for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if repository is not None:
        yield from (repository / each for each in ("", *OF_GIT))


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
