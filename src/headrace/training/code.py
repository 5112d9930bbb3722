"""The project's code that is packed with a model: which files, and which distributions it imports."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from contextlib import suppress
from functools import partial
from importlib import metadata
from importlib.util import decode_source
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.environments.user_code import plain
from headrace.training.distributions import owners

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from headrace.training.code_slice import Needed

LARGEST = 20_000_000  # bytes
SKIPPED = ("__pycache__", "node_modules", "site-packages", "tests", "mlruns")
DATA = (
    ".csv", ".tsv", ".json.gz", ".jsonl", ".parquet", ".arrow", ".feather", ".orc", ".avro", ".xlsx", ".gz", ".zip",
    ".tar", ".zst", ".bz2", ".xz", ".7z", ".db", ".db-wal", ".db-shm", ".sqlite", ".sqlite3", ".duckdb", ".log", ".ipynb",
    ".png", ".jpg", ".mp4",
)  # fmt: skip
COMPILED = (".pyc", ".pyo")
# Where no git says what counts: names of files that hold secrets.
SECRET = re.compile(
    r"(^|[._-])(credentials?|secrets?|passwords?|passwd|tokens?|apikeys?|api[_-]keys?|htpasswd|netrc|pgpass|kubeconfig"
    r"|service[_-]?accounts?([_-]key)?|client[_-]secrets?)([._-]|$)"
    r"|^id_(rsa|dsa|ecdsa|ed25519)|\.(pem|key|p8|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg|ovpn|env)$"
    r"|\.(tfstate|tfvars)(\.|$)",
    re.IGNORECASE,
)


def copy(
    source: Path,
    target: Path,
    *,
    module: str,
    leave_out: Iterable[Path] = (),
    needed: Needed | None = None,
    names: Container[str] | None = None,
) -> tuple[str, ...]:
    """Copies a project's code, as git counts it: not what is hidden, tests, environments, Delta tables, nor data files.

    A data file inside the package that holds the project's module is code (a small table that a function looks up in). A
    link is never followed out of what counts. Outside of git, files that are called as secrets are stay where they are.

    Args:
        source: the project's folder.
        target: made here.
        module: the project's module, `shop.project`.
        leave_out: folders with what environments keep.
        needed: of the Python files, only this part; of other files, none where this part reads none.
        names: the relative paths that count; None where no git says so.

    Returns:
        Relative paths that lie among the code and did not come along.

    Raises:
        DataError: there is more than 20 MB; the message lists the largest files.
    """
    package = source / module.partition(".")[0]
    skipped = {path.resolve() for path in leave_out}
    reads = needed is None or needed.reads_beside
    counts = partial(_counts, source, names)
    there = list(_files(source, package, skipped))
    files = [path for path in there if counts(path)] if reads else []
    left_out = tuple(str(path.relative_to(source)) for path in there if not counts(path))
    if needed is not None:
        files = [path for path in files if path.suffix != ".py"]
    total = sum(path.stat().st_size for path in files)
    if total > LARGEST:
        largest = sorted(files, key=lambda path: -path.stat().st_size)[:5]
        raise DataError(
            f"the project's code has {total / 1e6:.0f} MB; at most {LARGEST / 1e6:.0f} MB travel with a model.",
            findings=[f"{path.stat().st_size / 1e6:.1f} MB {path.relative_to(source)}" for path in largest],
            hint=f"Keep data outside the package {package.name!r}, or in a folder of its own.",
        )
    target.mkdir(parents=True)
    for path in files:
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    for name, text in needed.files.items() if needed else ():
        if not counts(source / name):
            continue
        to = target / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8")
    return left_out


def _counts(source: Path, names: Container[str] | None, path: Path) -> bool:
    """Whether a file is of the code, by its own name and by that of the file that it leads to."""
    top = source.resolve()
    for each in (path, path.resolve()):
        try:
            name = each.relative_to(source if each is path else top)
        except ValueError:
            return False  # a link that leads out
        if name.as_posix() not in names if names is not None else any(map(SECRET.search, name.parts)):
            return False
    return True


def _files(source: Path, package: Path, skipped: set[Path]) -> Iterator[Path]:
    for here, folders, names in os.walk(source):
        folder = Path(here)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in SKIPPED
            and (folder / name).resolve() not in skipped
            and not (folder / name / "pyvenv.cfg").exists()
            and not (folder / name / "_delta_log").exists()
        )
        ours = folder == package or package in folder.parents
        for name in sorted(names):
            path = folder / name
            if (
                not name.startswith(".")
                and not name.endswith(COMPILED)
                and path.is_file()
                and (ours or not name.endswith(DATA))
            ):
                yield path


def imports(folder: Path, module: str) -> set[str]:
    """The top-level modules from outside that loading the project's package imports (not those inside functions)."""
    root = module.partition(".")[0]
    files = (folder / root).rglob("*.py") if (folder / root).is_dir() else [folder / f"{root}.py"]
    own = {path.name.removesuffix(".py") for path in folder.iterdir()}
    found: set[str] = set()
    for file in files:
        with suppress(SyntaxError, UnicodeError):  # a template, or of another Python: what loads it would raise as well
            found |= set(_imported(ast.parse(decode_source(file.read_bytes())).body))
    return found - own - set(sys.stdlib_module_names)


def _imported(body: Iterable[ast.AST]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                yield node.module.partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imported(ast.iter_child_nodes(node))


def places(functions: Mapping[str, Callable[..., object]], modules: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """Where the project's modules hold these functions: function → its module, as the project imports it, and its name there.

    Args:
        functions: by name.
        modules: the project's, as they are imported now.

    Returns:
        None where a module holds one of them under no name.
    """
    found: dict[str, tuple[str, str]] = {}
    known = [sys.modules[name] for name in modules if name in sys.modules]
    for name, function in functions.items():
        ordered = sorted(known, key=lambda module: module.__name__ != getattr(function, "__module__", None))
        held = (
            (plain(module.__name__), attribute)
            for module in ordered
            for attribute, value in vars(module).items()
            if value is function and module.__name__ != plain(module.__name__)
        )
        place = next(held, None)
        if place is None:
            return None
        found[name] = place
    return found


def distributions(modules: Iterable[str]) -> set[str]:
    """The installed distributions that hold these top-level modules. A module of none is left out."""
    holders = owners()
    return {name for module in modules for name in holders.get(module, ())}


def pinned(names: Iterable[str]) -> tuple[str, ...]:
    """Distributions as pip is told of them, Headrace first: `("headrace==0.1.0", "numpy==2.4.6")`."""
    others = sorted(f"{name}=={metadata.version(name)}" for name in {*names} - {"headrace"})
    return (f"headrace=={metadata.version('headrace')}", *others)
