"""Public names: `hr.*`, `hr.protocols` and the session, each with its signature and its docstring."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pkgutil import walk_packages
from types import FunctionType
from typing import TYPE_CHECKING

from docs.generate import docstrings
from docs.generate.docstrings import Docstring, definitions, markdown, parse

import headrace as hr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WIDTH = 88  # characters of a signature in one line
ALIASES = {
    "Params": "What a fit function gets as its parameters: name → boolean, number or text. A type for annotations."
}
HIDDEN = ("_", "self", "cls", "where", "namespace")  # the last two are of declarations, and for Headrace itself
LEADS = re.compile(r"-> (.+):$|self\.\w+ = (\w+)\(", re.MULTILINE)  # what is returned, and attributes
WORD = re.compile(r"\w+")
SEE = re.compile(r"See \w+\.")


@dataclass(frozen=True)
class Member:
    """A public method or attribute of a class.

    Attributes:
        name: as users write it.
        value: the function, the property, or None for an attribute without code.
        owner: the class that has it.
    """

    name: str
    value: object
    owner: type

    @property
    def function(self) -> Callable[..., object] | None:
        """The function of a method; None for an attribute."""
        inner = getattr(self.value, "__func__", self.value)
        return inner if isinstance(inner, FunctionType) else None

    @cached_property
    def doc(self) -> Docstring:
        """Its docstring, with what that of a base class says where it says nothing itself, or only `See Task.`."""
        own = parse(self.value) if self.value is not None else Docstring(text="")
        bases = (base for base in self.owner.__mro__[1:] if self.name in vars(base))
        base = next(bases, None)
        if base is None or not _has_sources(base):
            return own
        inherited = member(self.name, base).doc
        text = own.text.partition("; see")[0].removesuffix(".") + "." if own.text else ""
        return Docstring(
            text=inherited.text if not own.text or SEE.fullmatch(own.text) else text,
            listed={**inherited.listed, **own.listed},
            written={**inherited.written, **own.written},
        )


def _has_sources(cls: type) -> bool:
    """Whether a class is not one of Python itself, such as `ABC` or `tuple`."""
    return cls.__module__.partition(".")[0] not in sys.stdlib_module_names


def member(name: str, owner: type) -> Member:
    """What a class has under a name."""
    value = vars(owner).get(name)
    has_code = isinstance(value, FunctionType | property | classmethod | staticmethod | cached_property)
    return Member(name, value if has_code else None, owner)


def hr_names() -> dict[str, object]:
    """Every name of `hr`, but the module `hr.protocols`."""
    return {name: getattr(hr, name) for name in hr.__all__ if name != "protocols"}


def protocol_names() -> dict[str, object]:
    """Every name of `hr.protocols`."""
    return {name: getattr(hr.protocols, name) for name in hr.protocols.__all__}


def session_names() -> dict[str, type]:
    """`Session`, and every class of `headrace.session` that its attributes and methods lead to."""
    package = import_module("headrace.session")
    classes: dict[str, type] = {}
    for each in walk_packages(package.__path__, "headrace.session."):
        module = import_module(each.name)
        classes |= {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        }
    found = {"Session": classes["Session"]}
    waiting = [classes["Session"]]
    while waiting:
        returned = " ".join(map(" ".join, LEADS.findall(inspect.getsource(waiting.pop()))))
        new = {name: value for name, value in classes.items() if name not in found and name in WORD.findall(returned)}
        found |= new
        waiting += new.values()
    return found


def parameters(value: object) -> list[inspect.Parameter]:
    """The public parameters of a function or of a constructor, without `self`."""
    try:
        known = inspect.signature(value).parameters.values()  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return []
    return [each for each in known if not _is_hidden(each) and not each.name.startswith("_")]


def _is_hidden(parameter: inspect.Parameter) -> bool:
    """`where` is hidden where it is the place in the user's program; a filter may be called so, too."""
    if parameter.name == "where":
        return "Mapping" not in str(parameter.annotation)
    return parameter.name in HIDDEN


def members(cls: type, public: tuple[type, ...] = ()) -> Iterator[Member]:
    """The public methods and attributes of a class and of its bases, without parameters of the constructor.

    Args:
        cls: the class.
        public: classes with a page of their own, whose members are shown there.
    """
    taken = {each.name for each in parameters(cls)}
    for owner in cls.__mro__:
        if not _has_sources(owner) or (owner is not cls and owner in public):
            continue
        for name in dict.fromkeys([*vars(owner), *inspect.get_annotations(owner)]):
            if name.startswith("_") or name in taken or name in HIDDEN:
                continue
            taken.add(name)
            yield member(name, owner)


def described(cls: type) -> dict[str, str]:
    """The arguments and attributes that docstrings of a class and of its bases describe."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if _has_sources(owner) and owner.__doc__:
            found |= docstrings.parse_text(inspect.cleandoc(owner.__doc__)).described()
    return found


def undescribed(name: str, value: object, *, constructed: bool = True) -> Iterator[str]:
    """What of a name has no description: itself, its parameters, its result, or its members and their parameters.

    Args:
        name: the name.
        value: what it names.
        constructed: whether users make instances of a class themselves.
    """
    if name in ALIASES:
        return
    doc = parse(value)
    if not doc.text:
        yield name
    known = described(value) if isinstance(value, type) else doc.described()
    if constructed:
        yield from (f"{name}({each.name})" for each in parameters(value) if each.name not in known)
    if inspect.isfunction(value) and "Returns" not in doc.written:
        yield f"{name} → what it returns"
    if isinstance(value, type):
        for each in members(value):
            if not each.doc.text and each.name not in known:
                yield f"{name}.{each.name}"
            yield from (f"{name}.{each.name}({taken})" for taken in _undescribed(each))


def _undescribed(method: Member) -> Iterator[str]:
    """The parameters of a method that have no description; a short docstring may name them in its sentence."""
    known = method.doc.described()
    for each in parameters(method.function) if method.function else []:
        if each.name not in known and not re.search(rf"\b{each.name}\b", method.doc.text):
            yield each.name


def stale(name: str, value: object) -> Iterator[str]:
    """What a docstring describes and is not there: arguments that are no parameters, attributes that are none."""
    doc = parse(value)
    known = {each.name for each in parameters(value)}
    if known or not isinstance(value, type):
        yield from (f"{name}({each})" for each in doc.listed.get("Args", {}) if each.strip("*") not in known)
    if not isinstance(value, type):
        return
    found = list(members(value))
    known |= {each.name for each in found}
    source = inspect.getsource(value)
    for each in doc.listed.get("Attributes", {}):
        if each not in known and f"self.{each} =" not in source and f"self.{each}:" not in source:
            yield f"{name}.{each}"
    for method in found:
        taken = {each.name for each in parameters(method.function)} if method.function else set()
        own = parse(method.value).listed.get("Args", {}) if method.function else {}
        yield from (f"{name}.{method.name}({each})" for each in own if each.strip("*") not in taken)


def signature(name: str, value: object) -> str:
    """A call as it is declared, in one line or with a line for each parameter."""
    shown = [_parameter(each) for each in parameters(value)]
    kinds = [each.kind for each in parameters(value)]
    for place, kind in enumerate(kinds):
        if kind is inspect.Parameter.KEYWORD_ONLY:
            if inspect.Parameter.VAR_POSITIONAL not in kinds[:place]:
                shown.insert(place, "*")
            break
    ending = ""
    if not isinstance(value, type):
        result = inspect.signature(value).return_annotation  # pyright: ignore[reportArgumentType]
        ending = "" if result is inspect.Signature.empty else f" -> {_type(result)}"
    line = f"{name}({', '.join(shown)}){ending}"
    if len(line) <= WIDTH or not shown:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + f"){ending}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        default = repr(parameter.default)
        equals = "=" if parameter.annotation is inspect.Parameter.empty else " = "
        text += equals + ("…" if default.startswith("<") else _quoted(default))
    return text


def _type(annotation: object) -> str:
    known = getattr(annotation, "__forward_arg__", annotation)
    text = known if isinstance(known, str) else inspect.formatannotation(known)
    return _quoted(text.strip("'\""))


def _quoted(text: str) -> str:
    """Texts in double quotes, unless one has such a quote inside."""
    return text if '"' in text else text.replace("'", '"')


def page(
    name: str,
    value: object,
    *,
    level: int = 1,
    prefix: str = "hr.",
    public: tuple[type, ...] = (),
    constructed: bool = True,
) -> str:
    """A name as Markdown.

    Args:
        name: the name.
        value: what it names.
        level: of its heading.
        prefix: what is written before the name.
        public: classes with a page of their own.
        constructed: whether users make instances of a class themselves.
    """
    blocks = [f"{'#' * level} {prefix}{name}"]
    if name in ALIASES:
        blocks += [f"```python\n{prefix}{name} = {value}\n```", ALIASES[name]]
        return "\n\n".join(blocks)
    doc = parse(value)
    takes = parameters(value) if constructed else []
    if takes or not isinstance(value, type):
        blocks.append(f"```python\n{signature(f'{prefix}{name}', value)}\n```")
    blocks.append(markdown(doc.text))
    if not isinstance(value, type):
        return "\n\n".join([*blocks, *docstrings.sections(doc)])
    known = described(value)
    arguments = {each.name: known.get(each.name, "") for each in takes}
    plain = Docstring(text="", listed={"Raises": doc.listed.get("Raises", {})}, written=doc.written)
    blocks += docstrings.sections(plain, described=arguments)
    found = list(members(value, public))
    bases = [base for base in value.__mro__[1:] if base in public]
    if bases:
        blocks.append(f"It is a `hr.{bases[0].__name__}` and has the attributes and methods of that class, too.")
    attributes = {each.name: each.doc.text or known.get(each.name, "") for each in found if each.function is None}
    own = doc.listed.get("Attributes", {})  # those that are set when an instance is made, too
    attributes = {**{each: text for each, text in own.items() if each not in arguments}, **attributes}
    if attributes:
        blocks += [f"{'#' * (level + 1)} Attributes", definitions(attributes)]
    methods = [each for each in found if each.function is not None]
    if methods:
        blocks.append(f"{'#' * (level + 1)} Methods")
    for each in methods:
        assert each.function is not None
        blocks += [
            f"{'#' * (level + 2)} {each.name} {{ #{name}-{each.name} }}",
            f"```python\n{signature(each.name, each.function)}\n```",
            markdown(each.doc.text),
            *docstrings.sections(each.doc),
        ]
    return "\n\n".join(blocks)
