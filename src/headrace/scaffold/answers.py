"""Everything that the files of a project depend on, as a record and as the file `.headrace-template.toml`.

The files are a function of the answers (`kinds.files_of`), so the base of a later update can be written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

    from headrace.core.ids import Json

FILE = ".headrace-template.toml"
VERSION = 1  # of the templates
AS_JSON = {
    "toml": "json"
}  # metadata of a field whose values TOML does not have, such as null: it is a text of JSON there
INTRODUCTION = """# What this project was made from by `headrace init`: its files, as they were then, are a function of these answers.
"""


class Described(Protocol):
    """What is known of the data of a project: a dataclass, with the name of its table."""

    section: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


D = TypeVar("D", bound=Described)


@dataclass(frozen=True, kw_only=True)
class Answers(Generic[D]):
    """What was asked for.

    Attributes:
        headrace: the version that made the project.
        python: the version of Python that it was made with, `3.11`.
        kind: of project: `tabular`.
        name: of the project, its folder and its package.
        ci: the systems that it has a file for: `github`, `gitlab`.
        is_sample: whether the data is the shipped sample.
        deploy: how versions come into higher environments: `code`, `models` or `hybrid`.
        data: what is known of the data: `Rows` of the kind `tabular`, `Documents` of the kind `assistant`.
        template: the version of the templates.
    """

    headrace: str
    python: str
    kind: str
    name: str
    ci: tuple[str, ...]
    is_sample: bool
    data: D
    deploy: str = "code"
    template: int = VERSION

    def to_toml(self) -> str:
        """The content of `.headrace-template.toml`."""
        lines = [
            INTRODUCTION,
            *(f"{name} = {_value(getattr(self, name))}" for name in ("headrace", "python", "kind", "template")),
            "",
            "[answers]",
            *(f"{name} = {_value(getattr(self, name))}" for name in ("name", "ci", "is_sample", "deploy")),
            "",
            f"[answers.{self.data.section}]",
        ]
        for each in fields(self.data):
            value = getattr(self.data, each.name)
            if each.metadata == AS_JSON:
                lines.append(f"{each.name} = {_value(json.dumps(value, ensure_ascii=False))}")
            elif value is not None:
                lines.append(f"{each.name} = {_value(value)}")
        return "\n".join([*lines, ""])


def from_table(table: dict[str, Any], described: type[D]) -> Answers[D]:
    """The answers of what TOML has read of `.headrace-template.toml`.

    Args:
        table: the document.
        described: what is known of the data of such a project.

    Raises:
        KeyError: there is no such table in the document.
        TypeError: a key is missing or unknown.
        ValueError: a text is no JSON where one should be.
    """
    asked = dict(table["answers"])
    data = {name: _frozen(value) for name, value in asked.pop(described.section).items()}
    for each in fields(described):
        if each.metadata == AS_JSON:
            data[each.name] = json.loads(cast("str", data[each.name]))
    asked = {name: _frozen(value) for name, value in asked.items()}
    rest = {name: value for name, value in table.items() if name != "answers"}
    return Answers(**rest, **cast("dict[str, Any]", asked), data=described(**cast("dict[str, Any]", data)))


def _value(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, cast('tuple[object, ...]', value)))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _frozen(value: Json | Mapping[str, object]) -> object:
    return tuple(value) if isinstance(value, list) else value
