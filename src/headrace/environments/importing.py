"""Imports a project from a folder, under a name that contains its version.

Two versions of one program live in one process, and neither is confused with an installed package of the same name. The
module `shop.project` of version `4f1c…` is `headrace_project_4f1c….shop.project` in `sys.modules`; inside the program
`import shop.features` and `from shop.features import x` mean the same version's modules, also when a function does so
later, because the program's modules have a `__builtins__` of their own, whose `__import__` knows the project's names.
Relative imports work by themselves.

What does not go through `__import__` does not know the version: `importlib.import_module("shop.features")` inside the
program finds what is on `sys.path`, if anything. `importlib.import_module(".features", __package__)` is right. No
bytecode is read or written, so a file that was edited twice in one second is read twice, and a read-only folder stays
as it is.
"""

from __future__ import annotations

import builtins
import linecache
import re
import sys
import threading
import tokenize
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from headrace.core.errors import ConfigError, DeclarationError
from headrace.core.ids import digest
from headrace.environments.toml import suggest
from headrace.environments.user_code import PREFIX, located, plain, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import CodeType

    from headrace.core.declaration import Location

NEVER = frozenset({"headrace", "__main__", "__future__", *sys.builtin_module_names})
LOCK = threading.RLock()


def load_tree(folder: Path, module: str, *, version: str) -> ModuleType:
    """Imports a project's module as it is in `folder`.

    Args:
        folder: what would be on `sys.path`; its `src`, if there is one, counts too.
        module: dotted, as the program itself would import it.
        version: says which content the folder has. The same version gives the same module object; a folder that was
            edited needs a new one. Modules of a version stay in the process.

    Raises:
        ConfigError: there is no such module in the folder.
        UserCodeError: the program raised, or does not parse.
    """
    places = roots(folder)
    _check(places, folder, module)
    root = _root_module(namespace(version), places, module.partition(".")[0])
    there = set(sys.modules)
    with running(f"importing {module!r}"), located():
        loaded = import_module(f"{root.__name__}.{module}")
    _keep_texts(name for name in set(sys.modules) - there if name.startswith(f"{root.__name__}."))
    return loaded


def _keep_texts(names: Iterable[str]) -> None:
    """Keeps the texts of modules: these stay in the process, and the folder that they came from may not."""
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file and file.endswith(".py"):
            with suppress(OSError, SyntaxError, UnicodeDecodeError), tokenize.open(file) as text:
                lines = text.read().splitlines(keepends=True)
                # without a time of its file, an entry is not dropped when the file is gone
                linecache.cache[file] = (sum(map(len, lines)), None, lines, file)


def namespace(version: str) -> str:
    """The top of the names that a version's modules have in this process."""
    return PREFIX + (version if re.fullmatch(r"\w+", version) else digest(version))


def folder_of(file: str) -> Path | None:
    """The folder of the loaded program that a file belongs to; None where it belongs to none.

    Committed code lies inside the folder of the working tree: the innermost one counts.
    """
    tops = [module for name, module in list(sys.modules.items()) if name.startswith(PREFIX) and "." not in name]
    folders = {Path(module.__path__[0]) for module in tops}
    return max(
        (each for each in folders if Path(file).is_relative_to(each)), key=lambda each: len(each.parts), default=None
    )


def program_file(here: Location, path: str | Path, kind: str) -> Path:
    """A file that is a part of the program, as SQL or a prompt is.

    Args:
        here: where it is declared; the path is relative to the folder of that module.
        path: of the file.
        kind: what people call it: "SQL file".

    Raises:
        DeclarationError: there is no such file, or it lies outside of the program's folder.
    """
    file = Path(here.file).parent / path
    inside = folder_of(here.file)  # none in a notebook, which is no version of a program
    if inside is not None and not file.resolve().is_relative_to(inside.resolve()):
        raise DeclarationError(
            f"{here}: the {kind} {str(path)!r} is outside of the program's folder {str(inside)!r}.",
            hint="It is a part of the program: put it beside the module that names it, and commit it.",
        )
    if not file.is_file():
        raise DeclarationError(f"{here}: there is no {kind} {str(file)!r}.", hint=f"Looked beside {here.file}.")
    return file


def own_names(folder: Path) -> frozenset[str]:
    """The top-level names that are the project's, as its own modules import them."""
    return _names(roots(folder))


def roots(folder: Path) -> tuple[Path, ...]:
    """The folders below which a project's modules lie: its own and, where that is no package, its `src`."""
    source = folder / "src"
    return (folder, source) if source.is_dir() and not (source / "__init__.py").exists() else (folder,)


def _check(roots: Sequence[Path], folder: Path, module: str) -> None:
    """Says that a module is missing before Python says so about a name that nobody wrote."""
    inside = Path(*module.split("."))
    for root in roots:
        if any((root / inside).with_suffix(suffix).is_file() for suffix in SOURCE_SUFFIXES) or (root / inside).is_dir():
            return
    near = sorted(
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for root in roots
        for file in (*root.glob("[!.]*.py"), *root.glob("[!.]*/*.py"))
    )
    raise ConfigError(
        f"[project] module = {module!r}: there is no such module in {str(folder)!r}.",
        hint=suggest(module, near) if near else f"Looked for {inside}.py.",
    )


def _root_module(name: str, roots: tuple[Path, ...], wanted: str) -> ModuleType:
    """The empty package above a version's modules, made once."""
    with LOCK:
        if Finder not in sys.meta_path:
            sys.meta_path.insert(0, Finder)
        known = sys.modules.get(name)
        if known is not None and all(Path(path).is_dir() for path in known.__path__):
            return known
        made = known or ModuleType(name, "A version of a project; see headrace.environments.importing.")
        made.__path__ = [str(root) for root in roots]
        made.__spec__ = ModuleSpec(name, None, is_package=True)
        made.__dict__["__builtins__"] = {**vars(builtins), "__import__": Importer(name, _names(roots) | {wanted})}
        sys.modules[name] = made
        return made


def _names(roots: Sequence[Path]) -> frozenset[str]:
    """The top-level names that are the project's: modules, packages, and folders of modules that are not installed ones."""
    found: set[str] = set()
    for root in roots:
        for path in root.iterdir():
            name = path.name if path.is_dir() else path.name.partition(".")[0]
            if not name.isidentifier() or name in NEVER:
                continue
            if path.is_dir():
                ours = (path / "__init__.py").is_file() or (any(path.glob("*.py")) and not _installed(name))
            else:
                ours = path.name.removeprefix(name) in {*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES}
            if ours:
                found.add(name)
    return frozenset(found)


def _installed(name: str) -> bool:
    """Whether a regular package of that name could be imported: it comes before a folder without `__init__.py`."""
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.loader is not None and spec.has_location


@dataclass(frozen=True)
class Importer:
    """The `__import__` of one version's modules."""

    root: str
    names: frozenset[str]

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the signature of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Maps the project's own names to this version; everything else is imported as ever."""
        top = name.partition(".")[0]
        if level or top not in self.names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        try:
            leaf = builtins.__import__(f"{self.root}.{name}", globals, locals, fromlist or (), 0)
        except ImportError as error:
            if error.name and error.name.startswith(
                f"{self.root}."
            ):  # the user, and their `except`, know the short name
                error.name = error.name.removeprefix(f"{self.root}.")
                error.msg = plain(error.msg)
            raise
        return leaf if fromlist else sys.modules[f"{self.root}.{top}"]


class Loader(SourceFileLoader):
    """Runs a file of a project, always from its source, with the builtins of its version."""

    def get_code(self, fullname: str) -> CodeType:
        """Compiles. Cached bytecode would be chosen by a time stamp of whole seconds."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def get_source(self, fullname: str) -> str:
        """The text of the module, for `inspect`."""
        return decode_source(self.get_data(self.get_filename(fullname)))

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its `__import__`, then runs it."""
        root = sys.modules[module.__name__.partition(".")[0]]
        module.__dict__["__builtins__"] = root.__dict__["__builtins__"]
        super().exec_module(module)


class Finder:
    """Finds the modules of loaded versions, and nothing else."""

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG003
    ) -> ModuleSpec | None:
        """A module or package in a folder of its parent; a folder without `__init__.py` is a package too.

        Directories are read anew each time: listings that Python caches can miss a file that was just written.
        """
        if not fullname.startswith(PREFIX) or path is None:
            return None
        top, *inside = fullname.split(".")
        portions: list[str] = []
        for root in sys.modules[top].__path__:  # not `path`: a version may have moved since its packages were imported
            entry = str(Path(root, *inside[:-1]))
            finder = FileFinder(entry, (Loader, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))
            spec = finder.find_spec(fullname)
            if spec is None:
                continue
            if spec.loader is not None:
                return spec
            portions += spec.submodule_search_locations or []
        if not portions:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        cast("list[str]", spec.submodule_search_locations).extend(portions)
        return spec
