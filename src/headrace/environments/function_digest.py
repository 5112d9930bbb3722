"""A digest of a project's function by its text: the same in every process that has the same text.

The text of the function counts, and that of the functions, classes and assignments of the same project that it refers
to by name, in its own module or in another one, directly or through others. Of closure variables and defaults the
values count. Code that it reaches in another way (`getattr`, a registry, an installed library) does not count. A value
that a module computes counts by the text that computes it, which does not depend on the project's folder.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, TypeGuard

from headrace.core.errors import DeclarationError
from headrace.core.ids import canonical, digest
from headrace.environments.user_code import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def place(function: FunctionType) -> str:
    """`shop.gates:fair`: the module as the project calls it, and the qualified name."""
    return f"{plain(function.__module__)}:{function.__qualname__}"


def function_digest(function: FunctionType) -> str:
    """32 hexadecimal characters of the text of a function and of what it refers to in its project.

    Raises:
        DeclarationError: the text cannot be read, as of a function that was made by `exec`.
    """
    texts: dict[str, str] = {}
    _follow(function, texts)
    return digest(texts)


def _follow(thing: FunctionType | type, texts: dict[str, str]) -> None:
    name = f"{plain(thing.__module__)}:{thing.__qualname__}"
    if name in texts:
        return
    texts[name] = _text(thing, name)
    if isinstance(thing, FunctionType):
        for label, value in _around(thing):
            _keep(f"{name} {label}", value, thing, texts)
    functions = [thing] if isinstance(thing, FunctionType) else list(filter(_is_function, vars(thing).values()))
    for function in functions:
        for label, value in _named(function):
            if isinstance(value, FunctionType | type):
                if _top(value.__module__) == _top(thing.__module__):
                    _follow(value, texts)
            elif not isinstance(value, ModuleType):
                texts |= _assignments(label, value, _top(thing.__module__))


def _is_function(value: object) -> TypeGuard[FunctionType]:
    return isinstance(value, FunctionType)


def _text(thing: FunctionType | type, name: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        raise DeclarationError(
            f"the text of {name} cannot be read, so nobody could tell when it changes.",
            hint="Define the function with def, in a file of the project.",
        ) from None


def _around(function: FunctionType) -> Iterator[tuple[str, object]]:
    """The values of variables around a function, and of its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # it has no value yet
            yield name, cell.cell_contents
    yield "defaults", function.__defaults__
    yield "keyword defaults", function.__kwdefaults__


def _keep(label: str, value: object, near: FunctionType, texts: dict[str, str]) -> None:
    if isinstance(value, FunctionType | type):
        if _top(value.__module__) == _top(near.__module__):
            _follow(value, texts)
        else:
            texts[label] = f"{value.__module__}:{value.__qualname__}"
        return
    try:
        texts[label] = canonical(value)
    except (TypeError, ValueError):  # something that has no fixed text
        texts[label] = type(value).__name__


def _named(function: FunctionType) -> Iterator[tuple[str, object]]:
    """What a function refers to in its module, and in other modules of its project by an attribute."""
    names = dict.fromkeys(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and _top(value.__name__) == _top(function.__module__):
            yield from ((inner, vars(value)[inner]) for inner in names if inner in vars(value))
        elif name in function.__globals__:
            yield name, value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _assignments(name: str, value: object, top: str) -> dict[str, str]:
    """The statements of the project's modules that give a name this value."""
    found: dict[str, str] = {}
    for module in [each for key, each in list(sys.modules.items()) if _top(key) == top]:
        if vars(module).get(name, sys) is value:
            text = _source(module)
            lines = [
                ast.get_source_segment(text, node) or "" for node in ast.parse(text).body if name in _targets(node)
            ]
            if lines:
                found[f"{plain(module.__name__)}:{name}"] = "\n".join(lines)
    return found


def _source(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def _targets(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _top(module: str) -> str:
    """Of the project's modules: the package of their version; of Headrace each module by itself, for it is no project."""
    first = module.partition(".")[0]
    return module if first == "headrace" else first
