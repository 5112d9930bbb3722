"""What SQL a user may write: one SELECT over declared tables, checked before anything runs, with errors that name the line.

The check is an allow-list. It keeps a definition portable and reproducible; what keeps it from the disk is the sandbox
of `Lakehouse.connect`, which holds even where the parser here and DuckDB's should read a statement differently.
"""

from __future__ import annotations

import difflib
import re
import threading
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType  # pyright: ignore[reportPrivateImportUsage]

from headrace.core.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from headrace.lakehouse.declarations import Sql

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
    current_schemas current_setting current_transaction_id current_user currval getenv getvariable in_search_path
    inet_client_addr inet_client_port inet_server_addr inet_server_port nextval pg_my_temp_schema pg_sleep query query_table
    session_user setval sleep_ms txid_current user version write_log""".split()  # noqa: SIM905
)
# Functions of two moments: of one moment, they measure from the present.
FROM_NOW = frozenset({"age"})
# Words that DuckDB evaluates without parentheses, unless a column is called so; quoting the column tells them apart.
BARE = frozenset(
    """current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user""".split()  # noqa: SIM905
)
TABLE_FUNCTIONS = (exp.GenerateSeries, exp.Unnest, exp.Explode)
STARTS = ("SELECT", "WITH", "FROM", "TABLE", "(")
FILES = re.compile(r"[/\\*]|\.(csv|tsv|parquet|json|jsonl|ndjson|db|duckdb|txt|gz|zip|zst)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A statement that passed the check.

    Attributes:
        sql: what the user wrote, and where.
        text: the statement without a trailing semicolon, line for line as written, so that DuckDB's line numbers hold.
        inputs: the tables it reads, sorted.
        normalized: equal for statements that differ only in layout, comments and the case of keywords.
    """

    sql: Sql
    text: str
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
    tree, tokens = _parse(sql)
    _only_reads(sql, tree)
    inputs = _tables(sql, tree, known)
    _functions(sql, tokens, deterministic=deterministic)
    if deterministic and (sample := tree.find(exp.TableSample)):
        refuse(
            sql, "a sample of rows is not the same rows each time.", sample, hint="Take rows by a hash of their key."
        )
    return Query(
        sql=sql,
        text=sql.text[: tokens[-1].end + 1],
        inputs=tuple(sorted(inputs)),
        normalized=_normalized(sql.text, tokens),
    )


def check_expression(text: str, columns: Sequence[str], *, where: str, role: str) -> str:
    """Reads an SQL expression over one row, as in `expect(...)` and `repair(...)`, and gives it back to be embedded.

    Args:
        text: the expression.
        columns: the columns of the row.
        where: `file:line` of the declaration, for messages.
        role: what the expression is, for messages: "expectation", "repair of 'visib'".

    Raises:
        SqlError: it does not parse, is more than one expression, names an unknown column, reads another table,
            aggregates, or depends on the clock or on chance.
    """

    def stop(why: str, hint: str = "") -> NoReturn:
        raise SqlError(f"{where}: {role} {text!r}: {why}", hint=hint)

    try:
        trees = [tree for tree in sqlglot.parse(text, read=DIALECT) if tree is not None]
        tokens = sqlglot.tokenize(text, read=DIALECT)
        # The embedding must parse as well: this is what a stray parenthesis or comment would break out of.
        sqlglot.parse_one(f"SELECT ({text}\n)", read=DIALECT)
    except SqlglotError as error:
        stop(f"it does not parse: {_first_line(error)}")
    if len(trees) != 1 or not isinstance(trees[0], exp.Condition | exp.Paren) or isinstance(trees[0], exp.Query):
        stop("it is not one expression over the row.", hint='For example: hr.expect("distance > 0").')
    tree = trees[0]
    if tree.find(exp.Query, exp.Table):
        stop("it reads a table.", hint="An expectation sees one row: join what it needs in the table's SELECT.")
    if found := tree.find(exp.AggFunc, exp.Window):
        stop(
            f"{found.sql(DIALECT)} looks at several rows.",
            hint="An expectation sees one row: compute it in the SELECT.",
        )
    for name, _ in _calls(tokens):
        if name in CHANCE | SESSION | FROM_NOW:
            stop(f"{name}() is not a function of the row.", hint="Take what it needs as a column.")
    _known_columns(tree, columns, stop)
    return text


def _known_columns(tree: exp.Expr, columns: Sequence[str], stop: Callable[[str], NoReturn]) -> None:
    known = {name.lower(): name for name in columns}
    local = {name.name.lower() for scope in tree.find_all(exp.Lambda) for name in scope.expressions}
    for node in tree.find_all(exp.Column):
        first = node.parts[0].name  # `a.b` is the field b of the struct a: there is no table to qualify with
        if first.lower() not in known and first.lower() not in local:
            near = difflib.get_close_matches(first.lower(), known, n=1)
            said = f"did you mean {known[near[0]]!r}?" if near else f"there is {', '.join(columns)}."
            stop(f"there is no column {first!r}: {said}")


def explain(error: duckdb.Error, query: Query, *, above: int = 0) -> SqlError:
    """DuckDB's complaint about a checked statement, in terms of the user's file.

    Args:
        error: what DuckDB raised.
        query: the statement that ran.
        above: how many lines stood above the statement in what was executed.
    """
    return _explain(error, query.sql, above=above)


# ---------------------------------------------------------------------------------------------- parsing


def _parse(sql: Sql) -> tuple[exp.Expr, list[Token]]:
    """The tree, and the tokens without trailing semicolons."""
    connection, lock = _parser()
    with lock:
        try:
            connection.extract_statements(sql.text)  # DuckDB's parser points at the token; sqlglot forgives too much
        except duckdb.Error as error:
            raise _explain(error, sql) from None
    tokens = sqlglot.tokenize(sql.text, read=DIALECT)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise SqlError(f"{place(sql, 1)}: there is no statement.", hint="Write one SELECT.")
    if tokens[0].text.upper() not in STARTS:
        what = f"{tokens[0].text.upper()} is not a SELECT."
        refuse(sql, what, tokens[0], hint="A table is defined by one SELECT; Headrace writes it.")
    if second := next((token for token in tokens if token.token_type is TokenType.SEMICOLON), None):
        refuse(
            sql, "there is more than one statement.", second, hint="Write one SELECT; use WITH for steps on the way."
        )
    try:
        return sqlglot.parse_one(sql.text[: tokens[-1].end + 1], read=DIALECT), tokens
    except SqlglotError as error:
        raise SqlError(
            f"{place(sql, _line_of(error))}: {_first_line(error)}",
            hint="DuckDB reads this, but Headrace cannot tell which tables it takes. Write it in plainer SQL.",
        ) from None


@lru_cache(maxsize=1)
def _parser() -> tuple[duckdb.DuckDBPyConnection, threading.Lock]:
    """An empty database that only parses, and the lock to hold while it does."""
    return duckdb.connect(), threading.Lock()


def _first_line(error: SqlglotError) -> str:
    return str(error).splitlines()[0]


def _line_of(error: SqlglotError) -> int:
    found = re.search(r"[Ll]ine (\d+)", str(error))
    return int(found[1]) if found else 1


def _normalized(text: str, tokens: list[Token]) -> str:
    """The tokens, each as written, with one space between; keywords and function names in capitals.

    Made from tokens, not from the tree: sqlglot's tree is the same for some texts that DuckDB tells apart (`~` and
    `regexp_matches`), and equal text here means that nothing has to be computed again.
    """
    words: list[str] = []
    for index, token in enumerate(tokens):
        written = text[token.start : token.end + 1]
        before = tokens[index - 1].token_type if index else None
        called = index + 1 < len(tokens) and tokens[index + 1].token_type is TokenType.L_PAREN
        named = before in (TokenType.ALIAS, TokenType.DOT)  # the case of a column's name shows in the table
        parts = written.split()  # `group by` is one token
        if not named and all(part.isidentifier() and (called or _keyword(part)) for part in parts):
            written = " ".join(parts).upper()
        words.append(written)
    return " ".join(words)


def _keyword(word: str) -> bool:
    return word.lower() in _keywords()


@lru_cache(maxsize=1)
def _keywords() -> frozenset[str]:
    connection, lock = _parser()
    with lock:
        words = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    return frozenset(word for (word,) in words)


# ---------------------------------------------------------------------------------------------- the allow-list


def _only_reads(sql: Sql, tree: exp.Expr) -> None:
    """SELECT, set operations and VALUES, and nothing else anywhere inside."""
    for node in tree.walk():
        inside = node.this if isinstance(node, exp.Subquery | exp.CTE) else None
        if inside is not None and not isinstance(inside, exp.Query | exp.Table | exp.Values):
            refuse(sql, f"{inside.key.upper()} is not a SELECT.", inside, hint="Write it as a SELECT with GROUP BY.")
        if isinstance(node, exp.Into | exp.Lock | exp.Command):
            refuse(sql, f"{node.key.upper()} changes something; only reading is allowed.", node)
        if isinstance(node, exp.Placeholder | exp.Parameter | exp.SessionParameter):
            refuse(sql, "a parameter has no value here.", node, hint="Write the value.")


def _tables(sql: Sql, tree: exp.Expr, known: frozenset[str]) -> set[str]:
    """The declared tables that the statement reads."""
    steps = frozenset(cte.alias.lower() for cte in tree.find_all(exp.CTE))
    aliases = {node.alias.lower() for node in tree.find_all(exp.Table) if node.alias}
    inputs: set[str] = set()
    for node in tree.find_all(exp.Table):
        if not isinstance(node.this, exp.Identifier):
            _table_function(sql, node)
            continue
        if node.args.get("when") or node.args.get("version"):
            refuse(sql, "the version of a table is chosen by the run.", node, hint="Leave the version out.")
        name = ".".join(part.name for part in node.parts).lower()
        if "." not in name and name in steps:
            continue
        if name not in known:
            _unknown(sql, node, known | steps, aliases)
        inputs.add(name)
    return inputs


def _table_function(sql: Sql, node: exp.Table) -> None:
    if isinstance(node.this, TABLE_FUNCTIONS):
        return
    name = _written(sql, node.this).lower() or node.this.sql(DIALECT)
    refuse(
        sql,
        f"{name} reads something that is not a declared table.",
        node,
        hint="Declare an hr.Source for outside data. Of table functions there are range, generate_series and unnest.",
    )


def _unknown(sql: Sql, node: exp.Table, candidates: frozenset[str], aliases: set[str]) -> NoReturn:
    name = ".".join(part.name for part in node.parts).lower()
    if len(node.parts) == 1 and (FILES.search(name) or node.this.args.get("quoted")):
        refuse(
            sql, f"{name!r} is not a declared table; files cannot be read.", node, hint="Declare an hr.Source for it."
        )
    if len(node.parts) > 2:
        refuse(sql, f"{name!r} names a database.", node, hint="Write schema.table, as it was declared.")
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near and "." not in name:
        near = [full for full in sorted(candidates) if full.split(".")[-1] == name][:1]
    said = f"did you mean {near[0]!r}?" if near else _some(candidates)
    hint = f"{name!r} is the alias of a table; write its full name again." if name in aliases else ""
    refuse(sql, f"there is no table {name!r}: {said}", node, hint=hint)


def _some(known: Iterable[str]) -> str:
    names = sorted(known)
    return (
        f"there is {', '.join(repr(name) for name in names[:10])}{' …' if len(names) > 10 else ''}."
        if names
        else "none is declared."
    )


def _functions(sql: Sql, tokens: list[Token], *, deterministic: bool) -> None:
    for name, token in _calls(tokens):
        if name in SESSION:
            refuse(sql, f"{name} reads the session, not the tables.", token)
        if deterministic and name in CHANCE | FROM_NOW:
            refuse(
                sql,
                f"{name} gives another value each time, so the same inputs would not give the same table.",
                token,
                hint="Take the time from a column of an input; a spine has the moment of each decision.",
            )


def _calls(tokens: list[Token]) -> Iterable[tuple[str, Token]]:
    """Every function that is called, in lower case, however it is quoted or qualified; of FROM_NOW, those of one moment."""
    for place, (token, following) in enumerate(zip(tokens, [*tokens[1:], None], strict=True)):
        called = following is not None and following.token_type is TokenType.L_PAREN
        name = token.text.lower()
        if called and name in FROM_NOW and _has_comma(tokens[place + 2 :]):
            continue
        if token.token_type is not TokenType.STRING and (
            called or (name in BARE and token.token_type is not TokenType.IDENTIFIER)
        ):
            yield name, token


def _has_comma(tokens: list[Token]) -> bool:
    """Whether the arguments that begin here are several."""
    depth = 0
    for token in tokens:
        if token.text in ("(", "[", "{") and token.token_type is not TokenType.STRING:
            depth += 1
        elif token.text in (")", "]", "}") and token.token_type is not TokenType.STRING:
            depth -= 1
        elif token.token_type is TokenType.COMMA and depth == 0:
            return True
        if depth < 0:
            break
    return False


# ---------------------------------------------------------------------------------------------- messages


def refuse(sql: Sql, why: str, at: exp.Expr | Token | None = None, *, hint: str = "") -> NoReturn:
    """Raises an SqlError that shows the line and marks the place in it."""
    start, end = _span(at)
    line = sql.text.count("\n", 0, start) + 1
    begin = sql.text.rfind("\n", 0, start) + 1
    mark = (start - begin, max(end - start, 0) + 1) if at is not None and end >= 0 else None
    raise SqlError(f"{place(sql, line)}: {why}", findings=_excerpt(sql, line, mark), hint=hint)


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


def _span(at: exp.Expr | Token | None) -> tuple[int, int]:
    """First and last character of a node or token in the text; (0, -1) if unknown."""
    if at is None:
        return 0, -1
    if isinstance(at, Token):
        return at.start, at.end
    spots = [node.meta for node in at.walk() if "start" in node.meta]
    if isinstance(at, exp.Table):  # the name, without its alias
        own = [part.meta for part in at.parts if "start" in part.meta] or [
            node.meta for node in at.this.walk() if "start" in node.meta
        ]
        spots = own or spots
    if not spots:
        return 0, -1
    return min(spot["start"] for spot in spots), max(spot["end"] for spot in spots)


def _written(sql: Sql, node: exp.Expr) -> str:
    """The first word of a node as the user wrote it."""
    start, end = (node.meta.get("start"), node.meta.get("end"))
    return sql.text[start : end + 1] if start is not None and end is not None else ""


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
