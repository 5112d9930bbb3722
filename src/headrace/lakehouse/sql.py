"""What SQL a user may write: one SELECT over declared tables, checked before anything runs, with errors that name the line.

DuckDB reads the text, and what it read is what runs: see `syntax`. The check is a list of what is allowed in the tree. It
keeps a definition portable and reproducible; what keeps it from the disk is `Lakehouse.ask`, which holds even where the
check should let something pass. sqlglot quotes names and texts, and decides nothing.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import duckdb
from sqlglot import exp

from headrace.core.errors import SqlError
from headrace.core.ids import digest
from headrace.lakehouse import syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from headrace.lakehouse.declarations import Sql
    from headrace.lakehouse.syntax import Found, Node, Statement

DIALECT = "duckdb"

# Functions whose value depends on when or how often they are asked: a table defined by them is another one each time.
CHANCE = frozenset(
    """ago current_date current_localtime current_localtimestamp current_time current_timestamp gen_random_uuid
    get_current_time get_current_timestamp localtime localtimestamp now pg_conf_load_time pg_postmaster_start_time
    random setseed stats today transaction_timestamp uuid uuidv4 uuidv7 vector_type""".split()  # noqa: SIM905
)
# Functions that read or change the session, the process or the machine instead of the row. Never allowed.
SESSION = frozenset(
    """current_catalog current_connection_id current_database current_query current_query_id current_role current_schema
    current_schemas current_setting current_transaction_id current_user currval get_block_size getenv getvariable in_search_path
    inet_client_addr inet_client_port inet_server_addr inet_server_port json_serialize_plan nextval pg_get_constraintdef
    pg_get_viewdef pg_my_temp_schema pg_sleep query query_table
    session_user setval sleep_ms txid_current user version write_log""".split()  # noqa: SIM905
)
# Functions of two moments: of one moment, they measure from the present.
FROM_NOW = frozenset({"age"})
# Words that DuckDB evaluates without parentheses, in quotes too, unless a column is called so: with its table, it is one.
BARE = frozenset(
    """current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user user""".split()  # noqa: SIM905
)
TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
FILES = re.compile(r"[/\\*]|\.(csv|tsv|parquet|json|jsonl|ndjson|db|duckdb|txt|gz|zip|zst)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A statement that passed the check.

    Attributes:
        sql: what the user wrote, and where.
        runs: what DuckDB made of it, which is what is executed.
        inputs: the tables it reads, sorted.
        normalized: equal for statements that differ only in layout, comments and the case of keywords.
    """

    sql: Sql
    runs: duckdb.Statement = field(compare=False, repr=False)
    inputs: tuple[str, ...]
    normalized: str


def quoted(name: str) -> str:
    """A column name, or a table's `schema.table`, as a quoted identifier of each part."""
    return ".".join(exp.to_identifier(part, quoted=True).sql(DIALECT) for part in name.split("."))


def column(name: str) -> str:
    """A column name as one quoted identifier, dots and all."""
    return exp.to_identifier(name, quoted=True).sql(DIALECT)


def json_pointer(name: str) -> str:
    """Where a member of a JSON object is, for DuckDB's JSON functions, whatever its name holds (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def literal(value: str) -> str:
    """Text as an SQL string."""
    return exp.Literal.string(value).sql(DIALECT)


def check(sql: Sql, known: Collection[str], *, deterministic: bool = True) -> Query:
    """Reads one SELECT and refuses everything that it must not do.

    Args:
        sql: the statement and its file.
        known: the tables that it may name, `schema.table`.
        deterministic: refuse functions of the clock and of chance, as a table's definition must: the same inputs give
            the same rows. A question asked at the terminal may use them.

    Raises:
        SqlError: file, line, the line itself, and what to write instead.
    """
    return _check(sql, frozenset(known), deterministic)


@lru_cache(maxsize=512)
def _check(sql: Sql, known: frozenset[str], deterministic: bool) -> Query:
    statement = _parse(sql)
    try:
        found = list(syntax.walk(statement.tree))
        normalized = digest(syntax.without_places(statement.tree))
    except RecursionError:
        raise _too_deep(sql) from None
    _only_reads(sql, found, deterministic=deterministic)
    inputs = _tables(sql, found, known)
    _functions(sql, found, deterministic=deterministic)
    return Query(sql=sql, runs=statement.runs, inputs=tuple(sorted(inputs)), normalized=normalized)


def relation(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    """The rows of a checked statement, not yet computed.

    Raises:
        SqlError: it names something that is not there, or the types do not fit.
    """
    try:
        return connection.sql(query.runs)
    except duckdb.Error as error:
        raise explain(_placed(connection, query, error), query) from None


def _placed(connection: duckdb.DuckDBPyConnection, query: Query, error: duckdb.Error) -> duckdb.Error:
    """The same error as it is when the statement is executed: then DuckDB says where it is."""
    try:
        connection.execute(query.runs)
    except duckdb.Error as placed:
        return placed
    return error


def check_expression(text: str, columns: Sequence[str], *, where: str, role: str) -> str:
    """Reads an SQL expression over one row, as in `expect(...)` and `repair(...)`, and gives it back to be embedded.

    What is given back can stand in parentheses, with a line feed before the closing one: DuckDB reads the same expression
    there as it does alone.

    Args:
        text: the expression.
        columns: the columns of the row.
        where: `file:line` of the declaration, for messages.
        role: what the expression is, for messages: "expectation", "repair of 'visib'".

    Raises:
        SqlError: it does not parse, is more than one expression, names an unknown column, reads another table,
            aggregates, or depends on the clock or on chance.
    """

    def stop(reason: str, hint: str = "") -> NoReturn:
        raise SqlError(f"{where}: {role} {text!r}: {reason}", hint=hint)

    try:
        tree = _expression(text, stop)
        _one_row(tree, columns, stop)
        _known_columns(tree, columns, stop)
    except RecursionError:
        stop("it is nested too deeply.")
    return text


def _expression(text: str, stop: Callable[..., NoReturn]) -> Node:
    """The one expression that a text is: alone, and between parentheses."""
    if odd := _odd(text):
        stop(odd)
    try:
        alone, inside = syntax.statements(f"select\n{text}\n"), syntax.statements(f"select (\n{text}\n)")
    except duckdb.Error as error:
        stop(f"it does not parse: {_first_line(error)}", hint='Write one expression: hr.expect("distance > 0").')
    made = [_only_item(each) for each in (alone, inside)]
    if made[0] is None or made[0] != made[1]:
        stop("it does not parse as one expression over the row.", hint='For example: hr.expect("distance > 0").')
    return made[0]


def _only_item(found: Sequence[Statement]) -> Node | None:
    """The expression of `select <expression>`; None for any other text."""
    if len(found) != 1 or found[0].tree is None:
        return None
    tree = syntax.without_places(found[0].tree)
    items = tree.pop("select_list", [])
    plain = syntax.without_places(syntax.tree("select 1")["statements"][0]["node"])
    plain.pop("select_list")
    return items[0] if tree == plain and len(items) == 1 and not items[0]["alias"] else None


def _one_row(tree: Node, columns: Sequence[str], stop: Callable[..., NoReturn]) -> None:
    """Refuses what is not made of one row alone."""
    there = {name.lower() for name in columns}
    for node in _nodes(tree):
        if node["class"] == "SUBQUERY":
            stop("it reads a table.", hint="An expectation sees one row: join what it needs in the table's SELECT.")
        if node["class"] in ("STAR", "POSITIONAL_REFERENCE"):
            stop("it does not name its columns.", hint="Write the name of each column.")
        called = str(node.get("function_name", "")).lower()
        if node["class"] == "WINDOW" or called in syntax.aggregates():
            stop(f"{called}() looks at several rows.", hint="An expectation sees one row: compute it in the SELECT.")
    for found in syntax.walk(tree):
        if found.what in ("function", "word") and _is_elsewhere(found, CHANCE | SESSION, there):
            stop(f"{found.name}() is not a function of the row.", hint="Take what it needs as a column.")
        if found.what in ("unknown", "parameter", "table", "table function", "sample", "version"):
            stop(f"{found.name or found.what} is not of the row.")


def _known_columns(tree: Node, columns: Sequence[str], stop: Callable[..., NoReturn]) -> None:
    known = {name.lower(): name for name in columns}
    local = {
        part["column_names"][0].lower()
        for node in _nodes(tree)
        if node["class"] == "LAMBDA"
        for part in _nodes(node["lhs"])
        if part["class"] == "COLUMN_REF"
    }
    for node in _nodes(tree):
        if node["class"] != "COLUMN_REF":
            continue
        first = str(node["column_names"][0])  # `a.b` is the field b of the struct a: there is no table to qualify with
        if first.lower() not in known and first.lower() not in local:
            near = difflib.get_close_matches(first.lower(), known, n=1)
            said = f"did you mean {known[near[0]]!r}?" if near else f"there is {', '.join(columns)}."
            stop(f"there is no column {first!r}: {said}")


def _nodes(tree: Any) -> Iterable[Node]:
    """Every expression in a tree."""
    if isinstance(tree, list):
        for each in cast("list[Any]", tree):
            yield from _nodes(each)
    elif isinstance(tree, dict):
        found = cast("Node", tree)
        if "class" in found:
            yield found
        for each in found.values():
            yield from _nodes(each)


def explain(error: duckdb.Error, query: Query, *, above: int = 0) -> SqlError:
    """DuckDB's complaint about a checked statement, in terms of the user's file.

    Args:
        error: what DuckDB raised.
        query: the statement that ran.
        above: how many lines stood above the statement in what was executed.
    """
    return _explain(error, query.sql, above=above)


# ---------------------------------------------------------------------------------------------- parsing


def _parse(sql: Sql) -> Statement:
    """The one statement of a text, which is a SELECT."""
    if odd := _odd(sql.text):
        raise SqlError(f"{sql.file}:1: {odd}", hint="Write one SELECT.")
    try:
        found = syntax.statements(sql.text)
    except duckdb.Error as error:
        raise _explain(error, sql) from None
    except RecursionError:
        raise _too_deep(sql) from None
    if not found:
        raise SqlError(f"{place(sql, 1)}: there is no statement.", hint="Write one SELECT.")
    if found[0].tree is None and (len(found) == 1 or found[0].kind != "SELECT"):
        what = "PIVOT" if found[0].kind == "MULTI" else found[0].kind  # DuckDB makes several of a PIVOT without values
        refuse(sql, f"{what} is not a SELECT.", hint="A table is defined by one SELECT; Headrace writes it.")
    if len(found) > 1:
        at = len(found[0].runs.query.encode())
        hint = "Write one SELECT; use WITH for steps on the way."
        refuse(sql, "there is more than one statement.", (at, 0), hint=hint)
    return found[0]


def _odd(text: str) -> str:
    """What is wrong with a text that cannot be a statement at all."""
    if "\0" in text:
        return "it holds a zero byte."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"it is not Unicode: {text[error.start : error.end]!r}."
    return ""


def _too_deep(sql: Sql) -> SqlError:
    return SqlError(f"{place(sql, 1)}: the statement is nested too deeply.", hint="Use WITH for steps on the way.")


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().splitlines()[0].removeprefix("Parser Error: ")


# ---------------------------------------------------------------------------------------------- the allow-list


def _only_reads(sql: Sql, found: Sequence[Found], *, deterministic: bool) -> None:
    """SELECT, set operations and VALUES, and nothing else anywhere inside."""
    for each in found:
        if each.what == "unknown":
            refuse(sql, f"{each.name} is not a SELECT.", _span(sql, each), hint="Write it as a SELECT with GROUP BY.")
        if each.what == "parameter":
            refuse(sql, "a parameter has no value here.", _span(sql, each), hint="Write the value.")
        if each.what == "version":
            refuse(sql, "the version of a table is chosen by the run.", _span(sql, each), hint="Leave the version out.")
        if deterministic and each.what == "sample":
            reason = "a sample of rows is not the same rows each time."
            refuse(sql, reason, _span(sql, each), hint="Take rows by a hash of their key.")


def _tables(sql: Sql, found: Sequence[Found], known: frozenset[str]) -> set[str]:
    """The declared tables that the statement reads."""
    aliases = {str(each.node["alias"]).lower() for each in found if each.what == "table" and each.node["alias"]}
    inputs: set[str] = set()
    for each in found:
        if each.what == "table function" and each.name not in TABLE_FUNCTIONS:
            refuse(
                sql,
                f"{each.name} reads something that is not a declared table.",
                _span(sql, each),
                hint="Declare an hr.Source for outside data. "
                "Of table functions there are range, generate_series and unnest.",
            )
        if each.what == "table":
            if len(each.parts) != 2 or each.name not in known:
                _unknown(sql, each, known | each.steps, aliases)
            inputs.add(each.name)
    return inputs


def _unknown(sql: Sql, found: Found, candidates: frozenset[str], aliases: set[str]) -> NoReturn:
    name, at = found.name, _span(sql, found)
    if len(found.parts) == 1 and (FILES.search(name) or _written(sql, found)[:1] in ("'", '"')):
        reason = f"{name!r} is not a declared table; files cannot be read."
        refuse(sql, reason, at, hint="Declare an hr.Source for it.")
    if len(found.parts) > 2:
        refuse(sql, f"{name!r} names a database.", at, hint="Write schema.table, as it was declared.")
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near and "." not in name:
        near = [full for full in sorted(candidates) if full.split(".")[-1] == name][:1]
    said = f"did you mean {near[0]!r}?" if near else _some(candidates)
    hint = f"{name!r} is the alias of a table; write its full name again." if name in aliases else ""
    refuse(sql, f"there is no table {name!r}: {said}", at, hint=hint)


def _some(known: Iterable[str]) -> str:
    names = sorted(known)
    return (
        f"there is {', '.join(repr(name) for name in names[:10])}{' …' if len(names) > 10 else ''}."
        if names
        else "none is declared."
    )


def _functions(sql: Sql, found: Sequence[Found], *, deterministic: bool) -> None:
    for each in found:
        if each.what not in ("function", "table function", "word"):
            continue
        qualify = f'A column of this name is written with its table: t."{each.name}".' if each.what == "word" else ""
        if _is_elsewhere(each, SESSION):
            refuse(sql, f"{each.name} reads the session, not the tables.", _span(sql, each), hint=qualify)
        if deterministic and _is_elsewhere(each, CHANCE):
            refuse(
                sql,
                f"{each.name} gives another value each time, so the same inputs would not give the same table.",
                _span(sql, each),
                hint=qualify or "Take the time from a column of an input; a spine has the moment of each decision.",
            )


def _is_elsewhere(found: Found, names: frozenset[str], columns: Collection[str] = ()) -> bool:
    """Whether something is a function among those named, or of one moment, which it measures from the present."""
    if found.what == "word":
        return found.name in BARE & names and found.name not in columns
    if found.name in FROM_NOW and names & CHANCE:
        return len(found.node.get("arguments", ())) < 2
    return found.name in names


# ---------------------------------------------------------------------------------------------- messages


def refuse(sql: Sql, reason: str, at: tuple[int, int] | None = None, *, hint: str = "") -> NoReturn:
    """Raises an SqlError that shows the line and marks the place in it.

    Args:
        sql: the statement.
        reason: what is wrong.
        at: how many bytes stand before what is wrong, and how many it is.
        hint: what to write instead.
    """
    written = sql.text.encode()
    start = len(written[: at[0]].decode(errors="ignore")) if at else 0
    wide = len(written[at[0] : at[0] + at[1]].decode(errors="ignore")) if at else 0
    while at and not wide and start < len(sql.text) - 1 and sql.text[start] in " \t\r\n;":
        start += 1
    line = sql.text.count("\n", 0, start) + 1
    begin = sql.text.rfind("\n", 0, start) + 1
    mark = (start - begin, max(wide, 1)) if at else None
    raise SqlError(f"{place(sql, line)}: {reason}", findings=_excerpt(sql, line, mark), hint=hint)


def place(sql: Sql, line: int) -> str:
    """`file:line` of a line of the statement, also where it stands as a string inside a Python file."""
    try:
        whole = Path(sql.file).read_text(encoding="utf-8")
    except (OSError, ValueError):  # the terminal, or a file that has gone since
        return f"{sql.file}:{line}"
    offset = whole.find(sql.text)
    if offset < 0:  # composed by the program, or changed since
        return f"{sql.file}: line {line} of the SQL"
    return f"{sql.file}:{whole.count(chr(10), 0, offset) + line}"


def _excerpt(sql: Sql, line: int, mark: tuple[int, int] | None) -> tuple[str, ...]:
    lines = [each.rstrip("\r") for each in sql.text.split("\n")]
    if not 0 < line <= len(lines):
        return ()
    text = lines[line - 1]
    gutter = " " * len(str(line))
    shown = (f"{line} | {text}",)
    if mark is None:
        return shown
    pad = "".join("\t" if letter == "\t" else " " * _columns(letter) for letter in text[: mark[0]])
    return (*shown, f"{gutter} | {pad}{'^' * min(mark[1], max(len(text) - mark[0], 1))}")


def _span(sql: Sql, found: Found) -> tuple[int, int] | None:
    """Where something is in the text, in bytes; of a table, its name without the alias; None if unknown."""
    if found.at is None:
        return None
    wide = int(found.node.get("query_location_length", 0))
    plain = len(".".join(found.parts).encode())
    return found.at, plain if 0 < plain < wide and not _quotes(sql, found.at, plain) else wide


def _quotes(sql: Sql, start: int, wide: int) -> bool:
    return b'"' in sql.text.encode()[start : start + wide] or b"'" in sql.text.encode()[start : start + wide]


def _written(sql: Sql, found: Found) -> str:
    """Something as the user wrote it."""
    start, wide = _span(sql, found) or (0, 0)
    return sql.text.encode()[start : start + wide].decode(errors="ignore")


def _explain(error: duckdb.Error, sql: Sql, *, above: int = 0) -> SqlError:
    said = str(error)
    found = re.search(r"^LINE (\d+): (.*)\n( *)(\^+)", said, re.MULTILINE)
    what = re.split(r"\n\s*\n|\nLINE \d+:", said, maxsplit=1)[0].strip()
    what = re.sub(r"^[A-Z]\w+(?: \w+)? Error: ", "", what)
    line, mark = 1, None
    if found:
        line = max(int(found[1]) - above, 1)
        lines = sql.text.split("\n")
        shown = len(found[3]) - len(f"LINE {found[1]}: ")
        mark = _marked(lines[line - 1], found[2], shown, len(found[4])) if line <= len(lines) else None
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
    said = f"did you mean {near[0]!r}?" if near else f"perhaps one of {listed}."
    return f"there is no {missing[1]} {missing[2]!r} here: {said}", ""
