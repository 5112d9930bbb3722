"""The part of a project's code that its on-demand functions need, which is packed with a model.

A project's module declares tables, models and deployments beside the functions that predicting calls. Of the module
that defines such a function, only the statements are kept that the function refers to, directly or through others, each
on its own line, so that a traceback says the same line as in the project. Modules that these statements import are kept
whole.

If the needed part cannot be determined from the text (`exec`, `globals()`, a star import, an import by a computed
name), `needed` returns None, and the whole project is packed. `load_check` proves afterwards that nothing is missing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from importlib.util import decode_source
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.environments.importing import own_names, roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

UNTOLD = frozenset({"globals", "exec", "eval", "vars", "__builtins__", "__getattr__"})  # reach names that no text says
BY_NAME = frozenset({"import_module", "find_spec", "__import__"})  # import, or find, what their first argument says
BESIDE = frozenset({"__file__", "__path__", "__spec__", "__loader__"})  # lead to files beside the code
READERS = ("importlib.resources", "importlib_resources", "pkgutil", "inspect")  # so do these modules


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Code that travels.

    Attributes:
        files: relative path → text.
        imports: the top-level modules from outside that it imports, also inside functions.
        reads_beside: it may read files that lie beside it.
    """

    files: Mapping[str, str]
    imports: frozenset[str]
    reads_beside: bool


class UnreportedError(Exception):
    """What the code needs cannot be told from its text."""


def needed(folder: Path, functions: Iterable[tuple[str, str]], *, modules: Iterable[str] = ()) -> Needed | None:
    """The part of a project's code that some of its functions need.

    Args:
        folder: of the project.
        functions: each a module and a name in it.
        modules: that are needed whole beside them.

    Returns:
        None where it cannot be told.
    """
    try:
        return _Slice(folder, functions, modules).result()
    except (UnreportedError, SyntaxError, UnicodeDecodeError):
        return None


@dataclass
class _Module:
    """A module, as groups of statements: those that share a line are one group."""

    name: str
    path: Path
    text: str
    groups: list[list[ast.stmt]]

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@dataclass
class _Slice:
    folder: Path
    functions: Iterable[tuple[str, str]]
    given: Iterable[str]
    whole: set[str] = field(default_factory=set)
    wanted: dict[str, set[str]] = field(default_factory=dict)  # of modules that are cut
    outside: set[str] = field(default_factory=set)
    beside: bool = False

    def __post_init__(self) -> None:
        self.roots = roots(self.folder)
        self.own = own_names(self.folder)
        self.modules: dict[str, _Module | None] = {}
        self.waiting: list[str] = []
        for module, name in self.functions:
            self._want(module, name)
        for module in self.given:
            self._want(module)

    def result(self) -> Needed:
        while self.waiting:
            self._visit(self.waiting.pop())
        files = {}
        for name in {*self.whole, *self.wanted}:
            module = self._module(name)
            if module is None:
                continue
            files[str(module.path.relative_to(self.folder))] = (
                module.text if name in self.whole else _text(module, self._kept(module))
            )
        return Needed(files=files, imports=frozenset(self.outside), reads_beside=self.beside)

    def _visit(self, name: str) -> None:
        module = self._module(name)
        if module is None:
            return
        kept = module.groups if name in self.whole else self._kept(module)
        for node in (node for group in kept for statement in group for node in ast.walk(statement)):
            self._follow(module, node)

    def _follow(self, module: _Module, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._imported(alias.name)
        elif isinstance(node, ast.ImportFrom):
            self._imported_from(module, node)
        elif isinstance(node, ast.Name) and node.id in UNTOLD:
            raise UnreportedError(node.id)
        elif isinstance(node, ast.Name) and node.id in BESIDE:
            self.beside = True
        elif isinstance(node, ast.Call) and _called(node) in BY_NAME:
            said = node.args[0] if node.args else None
            if not isinstance(said, ast.Constant) or not isinstance(said.value, str):
                raise UnreportedError(_called(node))
            if said.value.startswith(".") or said.value.partition(".")[0] in self.own:
                raise UnreportedError(said.value)
            self._imported(said.value)
        elif isinstance(node, ast.Attribute) and node.attr == "modules" and _root(node) == "sys":
            raise UnreportedError("sys.modules")

    def _imported(self, name: str) -> None:
        top = name.partition(".")[0]
        if name.startswith(READERS):
            self.beside = True
        if top not in self.own:
            self.outside.add(top)
            return
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            self._want(".".join(parts[:end]))

    def _imported_from(self, module: _Module, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = module.package.split(".")
            above = above[: len(above) - (node.level - 1)]
            base = ".".join([*above, base] if base else above)
        if base.partition(".")[0] not in self.own:
            self._imported(base)
            for alias in node.names:
                self.beside |= f"{base}.{alias.name}".startswith(READERS)
            return
        if "." in base:
            self._imported(base.rpartition(".")[0])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if alias.name != "*" and self._module(inner) is not None:
                self._imported(inner)
            elif base in self.wanted and alias.name != "*":
                self._want(base, alias.name)
            else:
                self._want(base)

    def _want(self, name: str, attribute: str | None = None) -> None:
        if name in self.whole:
            return
        if attribute is None:
            self.whole.add(name)
        elif attribute in self.wanted.setdefault(name, set()):
            return
        else:
            self.wanted[name].add(attribute)
        self.waiting.append(name)
        if "." in name:
            self._want(name.rpartition(".")[0])  # a package is imported before what is in it

    def _module(self, name: str) -> _Module | None:
        if name not in self.modules:
            inside = Path(*name.split("."))
            tried = [root / file for root in self.roots for file in (inside / "__init__.py", inside.with_suffix(".py"))]
            path = next((file for file in tried if file.is_file()), None)
            self.modules[name] = None if path is None else _parsed(name, path)
        return self.modules[name]

    def _kept(self, module: _Module) -> list[list[ast.stmt]]:
        """The groups of statements that the wanted names need."""
        names = set(self.wanted[module.name])
        kept: list[bool] = [any(_is_future(statement) for statement in group) for group in module.groups]
        imported = {
            name
            for group in module.groups
            for each in group
            if isinstance(each, ast.Import | ast.ImportFrom)
            for name in _binds(each)
        }
        changed = True
        while changed:
            changed = False
            for place, group in enumerate(module.groups):
                if kept[place] or not any(_serves(statement, names, imported) for statement in group):
                    continue
                kept[place] = changed = True
                for statement in group:
                    names |= _refers(statement)
        bound = {
            name for place, group in enumerate(module.groups) for each in group if kept[place] for name in _binds(each)
        }
        if self.wanted[module.name] - bound or any("*" in _binds(each) for group in module.groups for each in group):
            raise UnreportedError(module.name)
        return [group for place, group in enumerate(module.groups) if kept[place]]


def _parsed(name: str, path: Path) -> _Module:
    text = decode_source(path.read_bytes())
    groups: list[list[ast.stmt]] = []
    for statement in ast.parse(text, filename=str(path)).body:
        if groups and _first(statement) <= (groups[-1][-1].end_lineno or 0):
            groups[-1].append(statement)
        else:
            groups.append([statement])
    return _Module(name, path, text, groups)


def _text(module: _Module, kept: Iterable[list[ast.stmt]]) -> str:
    """The kept statements on their own lines; between them, empty ones."""
    lines = module.text.split("\n")
    numbers = {
        number for group in kept for each in group for number in range(_first(each) - 1, each.end_lineno or each.lineno)
    }
    return "\n".join(line if number in numbers else "" for number, line in enumerate(lines)).rstrip("\n") + "\n"


def _first(statement: ast.stmt) -> int:
    return min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _serves(statement: ast.stmt, names: set[str], imported: set[str]) -> bool:
    """Whether a statement gives one of the names its value, or may change what it holds.

    A plain assignment or definition of other names does not: `model = hr.Model(…, features=[hour])` only takes `hour`.
    """
    if _is_main(statement):
        return False
    if not names.isdisjoint(_binds(statement)):
        return True
    if isinstance(
        statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Pass
    ):
        return False
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return any(
            not names.isdisjoint(_refers(target))
            for target in targets
            for target in ast.walk(target)
            if isinstance(target, ast.Attribute | ast.Subscript)
        )
    refers = _refers(statement) & names
    return bool(refers - imported) or (isinstance(statement, ast.Expr) and _root(statement.value) in refers)


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )


def _root(node: ast.expr) -> str:
    """`pd` of `pd.set_option("…")`."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _refers(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.Global):
            found.update(each.names)
    return found


def _binds(node: ast.AST) -> set[str]:
    """The module's names that a statement gives a value."""
    return set(_bound(node))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        for each in ast.walk(node):
            if isinstance(each, ast.Global):
                yield from each.names
        return
    if isinstance(node, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)
