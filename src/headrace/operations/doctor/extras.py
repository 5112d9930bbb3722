"""Optional libraries that the project needs for certain, and that are not installed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from headrace.environments.importing import own_names, roots
from headrace.operations.doctor.finding import bounded, failed, ok

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from headrace.environments.config import Environment
    from headrace.environments.project import Project
    from headrace.operations.doctor.finding import CheckFinding

BY_MODULE = {  # of a program's own imports → the extra that has the module
    "aiohttp": "llm",
    "boto3": "s3",
    "confluent_kafka": "kafka",
    "gguf": "llm-local",
    "jinja2": "llm",
    "jsonschema": "llm",
    "lancedb": "llm",
    "lightgbm": "lightgbm",
    "matplotlib": "train",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "optuna": "train",
    "psycopg": "postgres",
    "pyspark": "spark",
    "sklearn": "train",
    "skops": "train",
    "tokenizers": "llm",
    "torch": "llm-local",
    "transformers": "llm-local",
    "xgboost": "xgboost",
}
SEVERAL = 1_000  # files of a program that are read
LARGEST = 2**20  # bytes of one


@dataclass(frozen=True)
class _Need:
    """A module, and what needs it; `extra` is None where no extra has it."""

    module: str
    extra: str | None
    reason: str


def extras_of_environment(environment: Environment) -> Iterator[CheckFinding]:
    """What the stores of an environment need."""
    yield _finding("extras", [*_of_stores(environment)])


def extras_of_program(folder: Path, module: str) -> Iterator[CheckFinding]:
    """What the files of a program import, wherever in them; not below `try` and `if`, where it may be done without.

    Args:
        folder: of the code.
        module: the dotted name of the module with the declarations.
    """
    yield _finding("imports", [*_of_imports(folder, module)])


def extras_of_declarations(project: Project) -> Iterator[CheckFinding]:
    """What is declared needs."""
    yield _finding("declarations", [*_of_declarations(project)])


def _finding(check: str, needs: Iterable[_Need]) -> CheckFinding:
    needs = [*needs]
    missing = [need for need in needs if not _is_installed(need.module)]
    if not missing:
        modules = sorted({need.module for need in needs})
        return ok(check, f"installed: {bounded(modules)}" if modules else "no optional library is needed")
    told = bounded([f"{need.reason} needs {need.module!r}" for need in missing])
    extras = sorted({need.extra for need in missing if need.extra})
    others = sorted({need.module for need in missing if not need.extra})
    ways = [f"pip install 'headrace[{','.join(extras)}]'"] if extras else []
    ways += [f"install what has the module{'s' if len(others) > 1 else ''} {bounded(others)}"] if others else []
    return failed(check, f"not installed: {told}", "; ".join(ways))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _of_stores(environment: Environment) -> Iterator[_Need]:
    name = environment.name
    databases = {"state": environment.state, "tracking": environment.tracking} | {
        f"databases.{key}": value for key, value in environment.databases.items()
    }
    for key, value in databases.items():
        if isinstance(value, str) and value.startswith("postgresql"):
            driver = value.partition("://")[0].partition("+")[2] or "psycopg2"
            extra = "postgres" if driver == "psycopg" else None
            yield _Need(driver, extra, f"[env.{name}] {key} on PostgreSQL")
    if isinstance(environment.online, str) and environment.online.startswith(("redis", "unix")):
        yield _Need("hiredis", "redis", f"[env.{name}] online in Redis")
    if environment.artifacts_declared and environment.artifacts_root.startswith("s3://"):
        yield _Need("boto3", "s3", f"[env.{name}] artifacts on S3")
    if environment.spark is not None:
        yield _Need("pyspark", "spark", f"[env.{name}] spark")
    if environment.kafka:
        yield _Need("confluent_kafka", "kafka", f"[env.{name}.kafka]")
    if environment.llm.routes:
        yield _Need("aiohttp", "llm", f"[env.{name}.llm] routes")


def _of_declarations(project: Project) -> Iterator[_Need]:
    from headrace.deployment.declarations import Deployment
    from headrace.llm.embedding.declarations import Embedding
    from headrace.llm.index.declarations import VectorIndex
    from headrace.llm.prompts.declarations import Prompt
    from headrace.training.declarations import Model, Tune

    for model in project.all(Model):
        if isinstance(model.tune, Tune):
            yield _Need("optuna", "train", f"the search of model {model.name}")
        elif model.tune is not None:
            yield _Need("gepa", "llm", f"the search of instructions of model {model.name}")
    for deployment in project.all(Deployment):
        if deployment.serve is not None:
            yield _Need("httptools", "serve", f"serving {deployment.model.name}")
            if deployment.serve.traces:
                yield _Need("opentelemetry.sdk", "otel", f"hr.Serve(traces=True) of {deployment.model.name}")
        if deployment.stream is not None:
            yield _Need("orjson", "serve", f"the stream of {deployment.model.name}")
    if prompts := project.all(Prompt):
        yield _Need("jinja2", "llm", f"prompt {prompts[0].name}")
    for index in project.all(VectorIndex):
        if index.store == "lancedb":
            yield _Need("lancedb", "llm", f"vector index {index.name}")
        if isinstance(index.embed, Embedding) and index.embed.model is not None:
            yield _Need("onnxruntime", "llm", f"the embedding of {index.name}")


def _of_imports(folder: Path, module: str) -> Iterator[_Need]:
    own = own_names(folder)
    seen: set[str] = set()
    for file in _files(folder, module):
        for name in _imports(file):
            top = name.partition(".")[0]
            if top not in own and top not in seen and top != "headrace":
                seen.add(top)
                yield _Need(top, BY_MODULE.get(top), file.relative_to(folder).as_posix())


def _files(folder: Path, module: str) -> list[Path]:
    """The files of the top package of the program, or its one file."""
    top = module.partition(".")[0]
    found: list[Path] = []
    for root in roots(folder):
        found += [root / f"{top}.py"] if (root / f"{top}.py").is_file() else []
        found += sorted((root / top).rglob("*.py"))[:SEVERAL]
    return found


def _imports(file: Path) -> Iterator[str]:
    """What a file imports for certain; nothing of one that cannot be read, which importing it reports."""
    try:
        tree = ast.parse(file.read_bytes()) if file.stat().st_size <= LARGEST else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif not isinstance(node, ast.Try | ast.TryStar | ast.If):
            waiting += ast.iter_child_nodes(node)
