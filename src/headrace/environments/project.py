"""A loaded project: its configuration, the code that runs, and the declarations of that code."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar, cast

from headrace.core.errors import NotFoundError, UserCodeError
from headrace.environments.checkout import submodules
from headrace.environments.importing import load_tree, own_names
from headrace.environments.project_table import load_project
from headrace.environments.scan import scan

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

    from headrace.environments.code import Code
    from headrace.environments.config import Config
    from headrace.environments.project_table import ProjectTable

Kind = TypeVar("Kind")


class Project:
    """What the code of an environment declares. The program is imported when it is first asked for.

    Args:
        config: the project's folder and environments.
        code: which version of the program. What `[project]` says is taken from that version too: a commit is run by the
            module that it names, not by one that the working tree names since.
    """

    def __init__(self, config: Config, code: Code) -> None:
        self.config = config
        self.code = code

    @cached_property
    def settings(self) -> ProjectTable:
        """`[project]` of this version."""
        return load_project(self.code.folder)

    @property
    def as_of(self) -> datetime | None:
        """The moment that a project which replays the past calls now; None for the real one."""
        return self.settings.as_of

    @cached_property
    def module(self) -> ModuleType:
        """The module with the declarations.

        Raises:
            ConfigError: there is no such module.
            UserCodeError: importing it raised.
        """
        try:
            with redirect_stdout(sys.stderr):  # what a module prints when it is imported is no answer of a command
                return load_tree(self.code.folder, self.settings.module, version=self.code.tree)
        except UserCodeError as error:
            if isinstance(error.__cause__, ModuleNotFoundError) and (without := self._submodules()):
                hint = f"{', '.join(without)} of this commit is a git submodule, and committed code runs without: "
                hint += "commit its files, or install it as a package."
                raise UserCodeError(error.what, findings=error.findings, hint=hint) from error.__cause__
            raise

    def _submodules(self) -> list[str]:
        return [] if self.code.kind == "worktree" else submodules(self.config.folder, self.code.tree)

    def imported(self, module: str) -> ModuleType:
        """A module by its name: of this version of the project where the name is one of its own, else an installed one.

        Raises:
            ConfigError: the project has no such module.
            UserCodeError: importing it raised.
            ImportError: no such module is installed.
        """
        if module.partition(".")[0] not in own_names(self.code.folder):
            return import_module(module)
        with redirect_stdout(sys.stderr):
            return load_tree(self.code.folder, module, version=self.code.tree)

    @cached_property
    def declarations(self) -> tuple[object, ...]:
        """Everything that is declared, in the order of file and line.

        Raises:
            DeclarationError: two things of one name.
        """
        return scan(self.module)

    def all(self, cls: type[Kind]) -> list[Kind]:
        """The declared objects of a class, each once, in the order of file and line."""
        return [each for each in self.declarations if isinstance(each, cls)]

    def find(self, cls: type[Kind], name: str) -> Kind:
        """The declared object of that class and name.

        Raises:
            NotFoundError: there is none; the nearest one is suggested.
        """
        named = {cast("str", getattr(each, "name", "")): each for each in self.all(cls)}
        if name not in named:
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
            raise NotFoundError(kind, name, named, hint=f"Declared in {self.settings.module}.")
        return named[name]
