"""Events and entries of the audit record: the names that the sources write, and the descriptions in `events.toml`."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from itertools import product
from pathlib import Path

from docs.generate.docstrings import cell, markdown, table

import headrace
from headrace.access.rights import OPERATIONS

PACKAGE = Path(headrace.__file__).parent
WRITERS = {  # the module, the function, and the place of the name among its arguments
    "events": ("headrace.core.events", "publish", 1),
    "audit": ("headrace.access.audit", "record", 2),
}
FAMILIES = {  # names whose end is a value of a record
    ("rollout.", "values['status']"): ("done", "ended"),
    ("serving.", "trouble.what"): ("not_followed", "log_dropped", "slow"),
}
ENTRIES = "right.entry"  # what the table of rights names


@cache
def names(what: str) -> dict[str, set[str]]:
    """Each name that is written, with the files that write it.

    Args:
        what: `events` or `audit`.

    Raises:
        LookupError: a name is computed in a way that this function does not know.
    """
    home, function, place = WRITERS[what]
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = any(
            isinstance(node, ast.ImportFrom) and node.module == home and function in {each.name for each in node.names}
            for node in ast.walk(tree)
        )
        if not imported:
            continue
        for caller, call in _calls(tree, function):
            for name in _values(call.args[place], caller, tree, path.name):
                found.setdefault(name, set()).add(path.relative_to(PACKAGE).as_posix())
    return dict(sorted(found.items()))


def _calls(tree: ast.Module, name: str) -> list[tuple[ast.FunctionDef, ast.Call]]:
    """The calls of a function or method, each with the function that it is in."""
    return [
        (function, node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) == name or getattr(node.func, "attr", None) == name)
    ]


def _values(node: ast.expr, function: ast.FunctionDef, tree: ast.Module, file: str) -> list[str]:
    """The texts that an expression can be, as far as its module says."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*_values(node.body, function, tree, file), *_values(node.orelse, function, tree, file)]
    if isinstance(node, ast.JoinedStr):
        parts = [_part(part, node, function, tree, file) for part in node.values]
        return ["".join(each) for each in product(*parts)]
    if ast.unparse(node) == ENTRIES:
        return [right.entry for right in OPERATIONS.values() if right.entry]
    if isinstance(node, ast.Name):
        return _named(node.id, function, tree, file)
    raise LookupError(f"{file}:{node.lineno}: {ast.unparse(node)} is a name that {__name__} cannot follow.")


def _part(
    part: ast.expr, whole: ast.JoinedStr, function: ast.FunctionDef, tree: ast.Module, file: str
) -> tuple[str, ...] | list[str]:
    if not isinstance(part, ast.FormattedValue):
        return _values(part, function, tree, file)
    first = whole.values[0]
    prefix = str(first.value) if isinstance(first, ast.Constant) else ""
    return FAMILIES.get((prefix, ast.unparse(part.value))) or _values(part.value, function, tree, file)


def _named(name: str, function: ast.FunctionDef, tree: ast.Module, file: str) -> list[str]:
    """The values of a variable: what it is assigned, what its annotation lists, or what callers pass."""
    for node in ast.walk(function):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert node.value is not None
            return _values(node.value, function, tree, file)
    taken = [*function.args.args, *function.args.kwonlyargs]
    parameter = next(each for each in taken if each.arg == name)
    if isinstance(parameter.annotation, ast.Subscript) and ast.unparse(parameter.annotation.value) == "Literal":
        return list(ast.literal_eval(ast.unparse(parameter.annotation.slice)))
    place = [each.arg for each in function.args.args].index(name)
    found: list[str] = []
    for caller, call in _calls(tree, function.name):
        found += _values(call.args[place], caller, tree, file)
    return found


def descriptions(what: str) -> dict[str, dict[str, str]]:
    """Each described name, with its `meaning` and, for events, its `subject` and `payload`.

    Args:
        what: `events` or `audit`.
    """
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)[what]
    return {name: {"meaning": each} if isinstance(each, str) else each for name, each in found.items()}


def undescribed(what: str) -> list[str]:
    """Written names without a description."""
    known = descriptions(what)
    return [name for name in names(what) if not known.get(name, {}).get("meaning")]


def stale(what: str) -> list[str]:
    """Described names that nothing writes, and keys of payloads that no file that writes the event names."""
    written = names(what)
    found = [name for name in descriptions(what) if name not in written]
    for name, each in descriptions(what).items():
        texts = [(PACKAGE / path).read_text(encoding="utf-8") for path in written.get(name, ())]
        keys = each.get("payload", "").split()
        found += [f"{name} {key}" for key in keys if not any(f'"{key}"' in text for text in texts)]
    return found


def page() -> str:
    """The page of events and of the audit record."""
    rows = [
        (
            f"`{name}`",
            cell(each["meaning"]),
            cell(each["subject"]),
            ", ".join(f"`{key}`" for key in each["payload"].split()),
        )
        for name, each in sorted(descriptions("events").items())
    ]
    audit = [(f"`{name}`", cell(each["meaning"])) for name, each in sorted(descriptions("audit").items())]
    return "\n\n".join(
        [
            "# Events and audit entries",
            "## Events",
            markdown(
                "An event is written in the transaction of the change that it reports, and then delivered to each channel "
                "of the environment, at least once. A channel gets `id`, `name`, `subject`, `at` (UTC) and `payload`."
            )
            + " See [core](../core.md#events) and [notifications](../environments.md#notifications).",
            table(("Event", "Meaning", "Subject", "Keys of the payload"), rows),
            "## Entries of the audit record",
            "`headrace audit` shows them: who did what, when, with which details. See [access](../access.md).",
            table(("Action", "Meaning"), audit),
        ]
    )
