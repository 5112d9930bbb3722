"""The declarations of a program: the objects that its module's attributes hold, and those that they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

from headrace.core.declaration import Location
from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator


def scan(module: ModuleType) -> tuple[object, ...]:
    """All declared objects, each once, in the order of file and line: dataclass instances that know where they stand.

    Looked at: the attributes of the module, and of the project's own modules that are among them; what a list, tuple, set
    or dict there holds; and the fields of what was found, so that a table that only a model names counts as declared.

    Raises:
        DeclarationError: two things of one name.
    """
    found: dict[int, object] = {}
    for value in _attributes(module):
        _collect(value, found)
    declared = [each for each in found.values() if isinstance(getattr(each, "where", None), Location)]
    ordered = sorted(declared, key=_place)
    _collisions(ordered)
    return tuple(ordered)


def _attributes(module: ModuleType) -> Iterator[object]:
    yield from _own(module)
    top = module.__name__.partition(".")[0]
    for value in _own(module):
        if isinstance(value, ModuleType) and value is not module and value.__name__.startswith(f"{top}."):
            yield from _own(value)


def _own(module: ModuleType) -> Iterator[object]:
    """What the program put there, without `__builtins__` and the like."""
    yield from (value for name, value in list(vars(module).items()) if not name.startswith("__"))


def _collect(value: object, found: dict[int, object]) -> None:
    """Follows fields without recursion: declarations may be linked in long chains."""
    waiting = [value]
    while waiting:
        for each in _inside(waiting.pop()):
            if id(each) not in found:
                found[id(each)] = each
                waiting += (getattr(each, each_field.name, None) for each_field in fields(cast("type", each)))


def _inside(value: object) -> Iterator[object]:
    """The value itself or, of a container, its members, as far as they are dataclass instances."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    members = cast("list[object]", value) if isinstance(value, list | tuple | set | frozenset) else [value]
    yield from (each for each in members if is_dataclass(each) and not isinstance(each, type))


def _where(value: object) -> Location:
    return cast("Location", getattr(value, "where", None))


def _place(value: object) -> tuple[str, int]:
    return _where(value).file, _where(value).line


def namespace(cls: type) -> str:
    """Names of declarations are unique within it: `table` for all that make a table, for others the class's own name."""
    return getattr(cls, "namespace", "") or cls.__name__.lower()


def _collisions(found: list[object]) -> None:
    """Looks at what has a `namespace`; a selection, for example, is named after its table and may occur twice."""
    taken: dict[tuple[str, str], object] = {}
    for each in found:
        if not hasattr(each, "namespace"):
            continue
        name: str = getattr(each, "name", "")
        other = taken.setdefault((namespace(type(each)), name), each)
        if other is not each:
            raise DeclarationError(
                f"{_where(each)}: {namespace(type(each))} {name!r} is declared twice.",
                findings=[f"first at {_where(other)}"],
                hint="Give one of them another name.",
            )
