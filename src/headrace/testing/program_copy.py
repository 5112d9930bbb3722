"""The program of a project, copied into a folder of its own: what runs there touches nothing of the project."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.environments import config, git, worktree
from headrace.environments.importing import roots
from headrace.environments.keys import FILE
from headrace.environments.project_table import load_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from types import ModuleType

MOST = 10_000  # files of a program
LARGE = 1_048_576  # bytes; a larger file that is no code is linked, not copied


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that a temporary environment runs.

    Attributes:
        name: of its project.
        module: the dotted name of the module with the declarations.
        as_of: the moment that the project calls the present; None for the present itself.
        folder: where its files are.
        files: their paths, relative to the folder.
    """

    name: str
    module: str
    as_of: datetime | None
    folder: Path
    files: tuple[str, ...]

    def copy(self, into: Path) -> None:
        """Copies the files below another folder."""
        for name in self.files:
            source, target = self.folder / name, into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith(worktree.CODE) and source.stat().st_size > LARGE:
                target.symlink_to(source.resolve())
            else:
                shutil.copyfile(source, target)


def find_program(project: ModuleType | Path | str) -> Program:
    """The program of a project.

    Args:
        project: the module with its declarations, or the project's folder, or one below it.

    Raises:
        ConfigError: there is no project, the module is in no file, or there are too many files.
    """
    if isinstance(project, str | Path):
        start = Path(project)
        if not start.is_dir():
            raise ConfigError(
                f"there is no folder {str(start)!r}.",
                hint="Give the module with the declarations, or a folder with a headrace.toml.",
            )
        return _of_folder(config.find(start))
    file = getattr(project, "__file__", None)
    if file is None:
        kind = f"the module {project.__name__!r}" if hasattr(project, "__name__") else repr(project)
        raise ConfigError(
            f"{kind} is in no file, so its program cannot be copied.",
            hint="Give a module with declarations that was imported from a .py file, or a folder with a headrace.toml.",
        )
    return _of_module(project, Path(file))


def _of_folder(home: Path, module: str | None = None) -> Program:
    project = load_project(home)
    data = [environment.root for environment in config.load(home).environments]
    names: Iterable[str] = worktree.names(home, data) if git.inside(home) else _walk(home, data)
    files = [name for name in names if (home / name).is_file() and name != FILE]
    return Program(
        name=project.name,
        module=module or project.module,
        as_of=project.as_of,
        folder=home,
        files=_counted(files, home),
    )


def _of_module(module: ModuleType, file: Path) -> Program:
    try:
        home = config.find(file.parent)
    except ConfigError:
        return _alone(module, file)
    inner = max((root for root in roots(home) if file.is_relative_to(root)), key=lambda root: len(root.parts))
    return _of_folder(home, _dotted(file.relative_to(inner)))


def _alone(module: ModuleType, file: Path) -> Program:
    """A module of no project: its package, or the files and packages beside it."""
    dotted = module.__name__.split(".")
    inside = file.parent if file.name == "__init__.py" else file.with_suffix("")
    if tuple(dotted) != inside.parts[-len(dotted) :]:  # `__main__`, or a name that a test runner made
        dotted = [inside.name]
    top = inside.parents[len(dotted) - 1]
    files = [
        str(path.relative_to(top))
        for start in ([top / dotted[0]] if len(dotted) > 1 or inside == file.parent else _beside(top))
        for path in ([start] if start.is_file() else (start / name for name in _walk(start, ())))
    ]
    name = "".join(letter for letter in dotted[0] if letter.isalnum() or letter == "_").strip("_")
    return Program(name=name or "project", module=".".join(dotted), as_of=None, folder=top, files=_counted(files, top))


def _beside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (path.is_file() or (path / "__init__.py").is_file()):
            yield path


def _dotted(relative: Path) -> str:
    return ".".join(relative.with_suffix("").parts).removesuffix(".__init__")


def _walk(folder: Path, data: Iterable[Path]) -> Iterator[str]:
    """Every file, outside git, by its path below the folder."""
    left_out = {path.resolve() for path in data}
    for here, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in worktree.SKIPPED
            and not Path(here, name, "pyvenv.cfg").exists()
            and Path(here, name).resolve() not in left_out
        ]
        yield from (str(Path(here, name).relative_to(folder)) for name in files if not name.endswith(".pyc"))


def _counted(files: Iterable[str], folder: Path) -> tuple[str, ...]:
    found = tuple(sorted(files))
    if len(found) > MOST:
        raise ConfigError(
            f"{str(folder)!r} has {len(found):,} files; a temporary environment copies a program of at most {MOST:,}.",
            hint="Put the program into a git repository that ignores its data, or give a folder with the program alone.",
        )
    return found
