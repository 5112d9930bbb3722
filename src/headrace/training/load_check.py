"""Loads a package and predicts once, before it is logged, in a process that sees only its requirements.

The process (`load_check_process.py`) has the standard library and the files of the distributions of the requirements,
an empty working folder and home, and no environment variables except those of the machine. It loads the package by the
module that MLflow calls and predicts some rows. A package is refused if it

- does not load there, or predicts differently than in training;
- reads a file or a folder that is neither in it nor of an installed distribution, opens a connection, or starts a
  program from its own code, because its predictions would change with them.

A distribution that the project's code requests in any way, also by `importlib.import_module` or `find_spec`,
becomes a requirement.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.core import processes
from headrace.core.declaration import PACKAGE as OURS
from headrace.core.errors import UserCodeError
from headrace.environments.user_code import plain
from headrace.training.distributions import closure, editable, infos, owners
from headrace.training.output import differing

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

LIMIT = 600.0  # seconds
PROGRAM = Path(__file__).with_name("load_check_process.py")


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a package did in the process.

    Attributes:
        answers: its output for the rows; None where it raised.
        distributions: that it needs beyond those that were given.
        problem: why it cannot be registered; empty where it can.
        findings: the lines of the project, and what they read.
        reads: the problem is what it reads, not that it cannot be loaded.
        left_out: the file of the project that it misses, which git does not count.
    """

    answers: pd.DataFrame | None
    distributions: tuple[str, ...]
    problem: str = ""
    findings: tuple[str, ...] = ()
    reads: bool = False
    left_out: str = ""

    def refuse(self, model: str) -> UserCodeError:
        """The error that says so."""
        hint = (
            "Put the content into what fit() returns, or read a file beside the on-demand function: "
            'Path(__file__).parent / "…", which is packed with it.'
            if self.reads
            else "Predicting has the package and its requirements, and nothing of the project's folder, of this machine or of its environment variables."
        )
        if self.left_out:
            hint = (
                f"If {self.left_out!r} holds no secret: git add --force {self.left_out}. Outside of git, give it a name that no "
                "secret has. Otherwise predicting has to do without it."
            )
        return UserCodeError(
            f"model {model!r} would not predict elsewhere: {self.problem}", findings=self.findings, hint=hint
        )


def ask(
    package: Path,
    rows: pd.DataFrame,
    expected: pd.DataFrame,
    *,
    loader: str,
    distributions: Iterable[str],
    project: Path | None,
    left_out: Iterable[str] = (),
) -> LoadReport:
    """Loads a package in a process of its own, and compares what it answers.

    Args:
        package: its folder.
        rows: full rows.
        expected: what training answered for them.
        loader: the module with `_load_pyfunc(path)`.
        distributions: the names of those that are logged.
        project: the folder that must not be seen; None where there is none.
        left_out: files of the project's code that are not in the package, relative.
    """
    given = list(distributions)
    extra: list[str] = []
    known = owners(project)
    while True:
        seen = _run(package, rows, loader=loader, granted=closure([*given, *extra]), project=project)
        extra += [name for name in seen["asked"] if name not in extra]
        missing = known.get(seen["missing"] or "", []) if seen["missing"] in seen["refused"] else []
        more = [name for name in missing if name not in extra]
        if seen["error"] is None or not more:
            break
        extra += more  # a library that its user does not name in its metadata
    return _with_missing(_judge(seen, expected, tuple(extra)), left_out)


def _with_missing(answered: LoadReport, left_out: Iterable[str]) -> LoadReport:
    """The same; a file that was left out, where the problem names it, is said to be the reason."""
    for name in left_out if answered.problem else ():
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".").removeprefix("src.")
        if name in answered.problem or (name.endswith(".py") and f"'{module}'" in answered.problem):
            reason = f"{answered.problem} {name!r} was left out of the package: it is not among the files that git counts, or is called as a secret is."
            return replace(answered, problem=reason, left_out=name)
    return answered


def _judge(seen: dict[str, Any], expected: pd.DataFrame, extra: tuple[str, ...]) -> LoadReport:
    if seen["reads"]:
        told = [f"{what}{f', at {where}' if where else ''}" for what, where in seen["reads"]]
        first = told[0]
        return LoadReport(
            answers=seen["answers"],
            distributions=extra,
            problem=f"predicting {first}, which is not in its package.",
            findings=tuple(told[1:]),
            reads=True,
        )
    if seen["error"] is not None:
        reason = plain(seen["error"])
        if seen["missing"] in seen["unknown"]:
            reason += f" ({seen['missing']!r} is of no installed distribution, so nothing can install it elsewhere)"
        return LoadReport(answers=None, distributions=extra, problem=f"{reason}.", findings=tuple(seen["lines"]))
    if found := differing(seen["answers"], expected):
        return LoadReport(
            answers=seen["answers"], distributions=extra, problem=f"it predicts otherwise there: {found}."
        )
    return LoadReport(answers=seen["answers"], distributions=extra)


def _run(package: Path, rows: pd.DataFrame, *, loader: str, granted: set[str], project: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headrace-load-check-") as folder:
        place = Path(folder).resolve()
        scratch, links = place / "home", place / "installed"
        scratch.mkdir()
        links.mkdir()
        rows.to_pickle(scratch / "rows")
        request = {
            "package": str(package.resolve()),
            "rows": str(scratch / "rows"),
            "answer": str(scratch / "answer"),
            "scratch": str(place),
            "links": str(links),
            "loader": loader,
            "granted": sorted(granted),
            "search": _search(project),
            "libraries": _libraries(),
            "owners": owners(project),
            "infos": infos(),
            "ours": OURS.rstrip("/"),
            "prefix": sys.prefix,
        }
        (place / "request").write_text(json.dumps(request), encoding="utf-8")
        work = scratch / "work"
        work.mkdir()
        done = processes.start(
            processes.program(PROGRAM, str(place / "request")),
            env=_environment(scratch),
            cwd=work,
            stdin=processes.NOTHING,
            stdout=processes.NOTHING,
            stderr=processes.PIPE,
        )
        try:
            stderr = done.communicate(timeout=LIMIT)[1].decode(errors="replace").strip()
        except processes.LateError:
            done.kill()
            done.communicate()
            stderr = f"no answer within {LIMIT:.0f} s"
        try:
            with (scratch / "answer").open("rb") as file:
                return pickle.load(file)  # noqa: S301  # by the same code as has just run here
        except (OSError, EOFError):
            reason = (stderr.splitlines() or [f"the process ended with {done.returncode}"])[-1]
            nothing: dict[str, Any] = {name: [] for name in ("asked", "refused", "unknown", "reads", "lines")}
            return {
                **nothing,
                "error": f"loading and predicting ended the process: {reason}",
                "missing": None,
                "answers": None,
            }


def _libraries() -> list[str]:
    """Folders of shared libraries: those that this process has loaded, and those where the machine says that they are."""
    found = {Path(each) for each in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if each}
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            _, slash, path = line.partition("/")
            if slash and ".so" in path:
                found.add(Path(f"/{path}").parent)
    return sorted(str(each) for each in found if each.is_absolute())


def _environment(home: Path) -> dict[str, str]:
    return processes.bare_environment(HOME=str(home), TMPDIR=str(home), PYTHONNOUSERSITE="1", MPLCONFIGDIR=str(home))


def _search(project: Path | None) -> list[str]:
    """Where modules are installed: what is on `sys.path`, but the standard library, and the project's folder."""
    base = Path(os.__file__).parent.resolve()
    hidden = (
        {Path.cwd().resolve()}
        if project is None
        else {Path.cwd().resolve(), project.resolve(), (project / "src").resolve()}
    )
    found: list[str] = []
    for each in [*sys.path, *editable()]:
        path = Path(each).resolve() if each else Path.cwd().resolve()
        if path.is_dir() and path not in hidden and path not in (base, base / "lib-dynload") and str(path) not in found:
            found.append(str(path))
    return found
