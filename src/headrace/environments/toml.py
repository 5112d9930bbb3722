"""A TOML file as text and as parsed, so that every error can name the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.core import credentials
from headrace.core.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Table = Mapping[str, object]
UNSHOWN = ("notify", "webhook", "email", "audit")  # their URLs and addresses are private, and look like any other


@dataclass(frozen=True)
class TomlFile:
    """The file as text, for line numbers, and as parsed."""

    path: Path
    text: str
    table: Table

    @staticmethod
    def read(path: Path) -> TomlFile:
        """Reads and parses.

        Raises:
            ConfigError: no such file, not UTF-8, or not TOML.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"There is no {path.name} in {str(path.parent)!r}.") from None
        return TomlFile.parse(path, content)

    @staticmethod
    def parse(path: Path, content: bytes) -> TomlFile:
        """Parses; the path is what messages name.

        Raises:
            ConfigError: not UTF-8, or not TOML.
        """
        try:
            text = content.decode()
            return TomlFile(path, text, tomllib.loads(text))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#x}.") from None
        except tomllib.TOMLDecodeError as error:
            raise syntax_error(path, text, error) from None  # pyright: ignore[reportPossiblyUnboundVariable]

    def error(
        self, what: str, *, section: str, key: str | None = None, hint: str = "", excerpt: bool = True
    ) -> ConfigError:
        """An error about a key, or about a whole section, with its line where that can be told.

        A line that holds a credential, or tells who is told, is not shown.
        """
        line = line_of(self.text, section, key)
        at = f"{self.path}:{line}" if line else str(self.path)
        may = line and excerpt and not is_private(section, key)
        shown = _excerpt(line, self.text.splitlines()[line - 1].strip()) if line and may else []
        return ConfigError(f"{at}: {what}", hint=hint, findings=shown)

    def section(self, name: str, value: object) -> Table:
        """The value as a table.

        Raises:
            ConfigError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise self.error(f"[{name}] must be a table, not {described(value)}.", section=name)
        return cast("Table", value)

    def only(self, keys: Iterable[str], known: Iterable[str], section: str) -> None:
        """Refuses the first key that is not known."""
        possible = list(known)
        for key in keys:
            if key not in possible:
                where = f"[{section}]" if section else f"at the top of {self.path.name}"
                raise self.error(f"unknown key {key!r} {where}.", section=section, key=key, hint=suggest(key, possible))


def syntax_error(path: Path, text: str, error: tomllib.TOMLDecodeError) -> ConfigError:
    """Takes the place out of the message: before Python 3.14 tomllib says it nowhere else."""
    said = str(error)
    at = re.search(r"\(at line (\d+), column (\d+)\)", said)
    lines = text.splitlines()
    line = int(at[1]) if at else len(lines)
    what = said[: at.start()].strip() if at else re.sub(r"\s*\(at end of document\)", "", said)
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    excerpt = [] if not text or set("\"'") & set(text) else _excerpt(line, text)  # where a value ends is not known
    return ConfigError(f"{path}:{line}: this is not TOML: {what}.", findings=excerpt)


def is_private(section: str, key: str | None) -> bool:
    """Whether a key says who is told, and where."""
    return any(part in UNSHOWN for part in (*section.split("."), key))


def _excerpt(line: int, text: str) -> list[str]:
    return [] if credentials.is_in(text) or any(each in text for each in UNSHOWN) else [f"{line} | {text}"]


def described(value: object) -> str:
    """A value that is refused, as a message says it: of a table its keys only, and no credential."""
    if isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in cast("Table", value))
        return f"a table of {keys}" if keys else "an empty table"
    if isinstance(value, list):
        items = cast("list[object]", value)
        plain = all(isinstance(each, str | int | float) for each in items)
        return repr(items) if plain and not credentials.is_in(" ".join(map(str, items))) else "a list"
    return "a text with a credential in it" if isinstance(value, str) and credentials.is_in(value) else repr(value)


def line_of(text: str, section: str, key: str | None) -> int | None:
    """Where `key` stands under the header `[section]` (or the header itself), as far as plain lines tell; from 1."""
    inside = section == ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]*?)\s*\]+", line)
        if header:
            name = header[1].replace('"', "").replace(" ", "")
            inside = name == section
            if (inside and key is None) or (key is not None and name == f"{section}.{key}".lstrip(".")):
                return number
            if section == "" and key is not None and name.split(".")[0] == key:
                return number
        elif inside and key is not None and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
    if "." in section:  # written as a key of the table above
        return line_of(text, *section.rsplit(".", 1))
    return None


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    error = NotFoundError("key", name, known)
    return f"Did you mean {error.near!r}?" if error.near else f"Known: {', '.join(known)}."
