"""Python, the libraries that every installation needs, and git."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from headrace.operations.doctor.finding import failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.operations.doctor.finding import CheckFinding

CORE = ("click", "deltalake", "duckdb", "mlflow-skinny", "numpy", "pandas", "pyarrow", "sqlalchemy", "sqlglot")
MLFLOW = "3.17."
OLDEST = (3, 11)


def installation() -> Iterator[CheckFinding]:
    """What holds for every project."""
    yield _python()
    yield _libraries()
    yield _mlflow()
    yield _git()


def _python() -> CheckFinding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST:
        return failed("python", found, "Headrace needs 3.11 or newer.")
    return ok("python", found)


def _libraries() -> CheckFinding:
    found, missing = [], []
    for name in CORE:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return failed("libraries", f"missing: {', '.join(missing)}", "pip install headrace")
    return ok("libraries", ", ".join(found))


def _mlflow() -> CheckFinding:
    try:
        found = version("mlflow-skinny")
    except PackageNotFoundError:
        return failed("mlflow version", "not installed", f"pip install 'mlflow-skinny=={MLFLOW}*'")
    if found.startswith(MLFLOW):
        return ok("mlflow version", found)
    way = f"pip install 'mlflow-skinny=={MLFLOW}*': another minor migrates the store and locks this one out."
    return failed("mlflow version", found, way)


def _git() -> CheckFinding:
    found = shutil.which("git")
    return ok("git", found) if found else warning("git", "not installed", "staging and prod run committed code only.")
