"""Errors in a user's SQL: the line of their file, the place in it, and what to write instead."""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from headrace.core.errors import SqlError

if TYPE_CHECKING:
    import duckdb

    from headrace.lakehouse.declarations import Sql
    from headrace.lakehouse.syntax import Found


def refuse(sql: Sql, reason: str, at: tuple[int, int] | None = None, *, hint: str = "") -> NoReturn:
    """Raises an SqlError that shows the line and marks the place in it.

    Args:
        sql: the statement.
        reason: what is wrong.
        at: how many bytes come before what is wrong, and how many it has. Defaults to the first line.
        hint: what to write instead.

    Raises:
        SqlError: always.
    """
    content = sql.text.encode()
    start = len(content[: at[0]].decode(errors="ignore")) if at else 0
    wide = len(content[at[0] : at[0] + at[1]].decode(errors="ignore")) if at else 0
    while at and not wide and start < len(sql.text) - 1 and sql.text[start] in " \t\r\n;":
        start += 1
    line = sql.text.count("\n", 0, start) + 1
    begin = sql.text.rfind("\n", 0, start) + 1
    mark = (start - begin, max(wide, 1)) if at else None
    raise SqlError(f"{place(sql, line)}: {reason}", findings=_excerpt(sql, line, mark), hint=hint)


def place(sql: Sql, line: int) -> str:
    """Returns `file:line` of a line of the statement, also where it is a string inside a Python file."""
    try:
        whole = Path(sql.file).read_text(encoding="utf-8")
    except (OSError, ValueError):  # the terminal, or a file that has gone since
        return f"{sql.file}:{line}"
    offset = whole.find(sql.text)
    if offset < 0:  # composed by the program, or changed since
        return f"{sql.file}: line {line} of the SQL"
    return f"{sql.file}:{whole.count(chr(10), 0, offset) + line}"


def _excerpt(sql: Sql, line: int, mark: tuple[int, int] | None) -> tuple[str, ...]:
    lines = [text.rstrip("\r") for text in sql.text.split("\n")]
    if not 0 < line <= len(lines):
        return ()
    text = lines[line - 1]
    gutter = " " * len(str(line))
    shown = (f"{line} | {text}",)
    if mark is None:
        return shown
    pad = "".join("\t" if letter == "\t" else " " * _columns(letter) for letter in text[: mark[0]])
    return (*shown, f"{gutter} | {pad}{'^' * min(mark[1], max(len(text) - mark[0], 1))}")


def span(sql: Sql, element: Found) -> tuple[int, int] | None:
    """Returns where an element is in the text, as start and length in bytes; of a table, its name without the alias.

    None if DuckDB does not say where it is.
    """
    if element.at is None:
        return None
    wide = int(element.node.get("query_location_length", 0))
    plain = len(".".join(element.parts).encode())
    return element.at, plain if 0 < plain < wide and not _quotes(sql, element.at, plain) else wide


def _quotes(sql: Sql, start: int, wide: int) -> bool:
    return b'"' in sql.text.encode()[start : start + wide] or b"'" in sql.text.encode()[start : start + wide]


def written(sql: Sql, element: Found) -> str:
    """Returns an element as the user wrote it; empty if DuckDB does not say where it is."""
    start, wide = span(sql, element) or (0, 0)
    return sql.text.encode()[start : start + wide].decode(errors="ignore")


def duckdb_error(error: duckdb.Error, sql: Sql, *, above: int = 0) -> SqlError:
    """Returns DuckDB's complaint about a statement in terms of the user's file.

    Args:
        error: what DuckDB raised.
        sql: the statement.
        above: how many lines came before the statement in what was executed. Defaults to 0.
    """
    message = str(error)
    carets = re.search(r"^LINE (\d+): (.*)\n( *)(\^+)", message, re.MULTILINE)
    what = re.split(r"\n\s*\n|\nLINE \d+:", message, maxsplit=1)[0].strip()
    what = re.sub(r"^[A-Z]\w+(?: \w+)? Error: ", "", what)
    line, mark = 1, None
    if carets:
        line = max(int(carets[1]) - above, 1)
        lines = sql.text.split("\n")
        shown = len(carets[3]) - len(f"LINE {carets[1]}: ")
        mark = _marked(lines[line - 1], carets[2], shown, len(carets[4])) if line <= len(lines) else None
    what, hint = _candidates(what)
    return SqlError(f"{place(sql, line)}: {what}", findings=_excerpt(sql, line, mark), hint=hint)


def _marked(line: str, excerpt: str, shown: int, wide: int) -> tuple[int, int] | None:
    """Where in a line DuckDB's carets point, as first character and length.

    Args:
        line: as the user wrote it.
        excerpt: of the line, as DuckDB shows it; a long line is cut, with three dots.
        shown: the column of the terminal at which the carets begin under the excerpt.
        wide: how many they are.
    """
    begin = _at_column(excerpt, shown)
    end = _at_column(excerpt, shown + wide)
    for cut_before in ("", "..."):
        for cut_after in ("", "..."):
            if not (excerpt.startswith(cut_before) and excerpt.endswith(cut_after)):
                continue
            core = excerpt[len(cut_before) : len(excerpt) - len(cut_after)]
            at = line.find(core)
            if core and at >= 0:
                first = at + begin - len(cut_before)
                return first, max(min(end - begin, len(line.rstrip()) - first), 1)
    return None


def _at_column(text: str, column: int) -> int:
    """The index of the character that a terminal shows at a column."""
    at = 0
    for index, letter in enumerate(text):
        if at >= column and _columns(letter):
            return index
        at += _columns(letter)
    return len(text)


def _columns(letter: str) -> int:
    """How many columns of a terminal a character takes; a tab none, as DuckDB counts."""
    if unicodedata.category(letter) in ("Cc", "Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _candidates(what: str) -> tuple[str, str]:
    """DuckDB's list of candidates as a did-you-mean."""
    first, _, rest = what.partition("\n")
    missing = re.match(r'Referenced (column|table) "([^"]+)"', first)
    names = re.findall(r'"([^"]+)"', rest)
    if not missing:
        return first, rest.strip()
    if not names:
        return f"there is no {missing[1]} {missing[2]!r} here.", rest.strip()
    near = difflib.get_close_matches(missing[2].lower(), [name.lower() for name in names], n=1, cutoff=0.5)
    listed = ", ".join(repr(name) for name in names)
    proposal = f"did you mean {near[0]!r}?" if near else f"perhaps one of {listed}."
    return f"there is no {missing[1]} {missing[2]!r} here: {proposal}", ""


def unreadable(text: str) -> str:
    """Returns what is wrong with a text that cannot be a statement at all; empty if nothing is."""
    if "\0" in text:
        return "it holds a zero byte."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"it is not Unicode: {text[error.start : error.end]!r}."
    return ""


def too_deep(sql: Sql) -> SqlError:
    """Returns the error about a statement that is nested more deeply than it can be read."""
    return SqlError(f"{place(sql, 1)}: the statement is nested too deeply.", hint="Use WITH for steps on the way.")


def first_line(error: duckdb.Error) -> str:
    """Returns the first line of DuckDB's message about a text that it cannot parse."""
    return str(error).strip().splitlines()[0].removeprefix("Parser Error: ")
