"""What the code of an environment declares, as plain values: object → attribute → value, to be compared with what was applied.

An object is `table silver.orders`, `model late` or `deployment late`; `environment` is the policy. A function stands as its place
and a digest of its text, SQL as its text, another declaration as its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from headrace.core.declaration import Declaration, Location
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest
from headrace.deployment.declarations import Deployment
from headrace.environments.function_digest import function_digest, place
from headrace.features.declarations import FeatureTable
from headrace.lakehouse.declarations import ArrivalTable, Source, Sql, Table
from headrace.llm.index.declarations import VectorIndex
from headrace.llm.prompts.declarations import Prompt
from headrace.training.declarations import Model

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.environments.environment_policy import EnvironmentPolicy
    from headrace.environments.project import Project

Declared = dict[str, dict[str, "Json"]]
ENVIRONMENT = "environment"
SKIPPED = ("name", "where", "model")  # of a deployment, `model` is its name
KINDS: Mapping[type, str] = {
    FeatureTable: "feature table",
    Table: "table",
    Source: "source",
    VectorIndex: "vector index",
    Prompt: "prompt",
    Model: "model",
    Deployment: "deployment",
}


def declared_state(project: Project, policy: EnvironmentPolicy) -> Declared:
    """What a project declares, and the policy of the environment.

    Raises:
        ConfigError, DeclarationError, UserCodeError: the program cannot be loaded.
    """
    found: Declared = {}
    for declaration in project.declarations:
        kind = next((name for cls, name in KINDS.items() if isinstance(declaration, cls)), None)
        if kind is None or isinstance(declaration, ArrivalTable):
            continue
        found[f"{kind} {cast('Any', declaration).name}"] = _attributes(declaration)
    found[ENVIRONMENT] = {
        "code": policy.code,
        "releases": policy.releases,
        "reads": {name: list(patterns) for name, patterns in policy.reads.items()},
        "sample": policy.sample,
        "ttl": None if policy.ttl is None else str(policy.ttl),
        "trials": policy.trials,
        "approvals": list(policy.approvals),
        "attested_by": [key.name for key in policy.attested_by],
        "runtime": policy.runtime,
    }
    return found


def _attributes(declaration: object) -> dict[str, Json]:
    """The public attributes of a declaration, without its name and its place in the program."""
    values = {each.name: getattr(declaration, each.name) for each in fields(cast("Any", declaration))}
    return {name: _value(value) for name, value in values.items() if name not in SKIPPED and not name.startswith("_")}


def _value(value: object, depth: int = 0) -> Json:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Declaration):
        return value.name
    if isinstance(value, Deployment):
        return value.name
    if isinstance(value, Sql):
        return value.text.strip()
    if isinstance(value, FunctionType):
        return _function(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, datetime | date | timedelta):
        return str(value)
    if depth > 12:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return {str(key): _value(each, depth + 1) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_value(each, depth + 1) for each in cast("list[object]", value)]
    if isinstance(value, set | frozenset):
        return [*sorted(str(_value(each, depth + 1)) for each in cast("set[object]", value))]
    return _object(value, depth)


def _object(value: object, depth: int) -> Json:
    """A value of a class: its name, and its attributes."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    names = [each.name for each in fields(value)] if is_dataclass(value) else list(getattr(value, "__dict__", {}))
    attributes = {
        name: _value(each, depth + 1)
        for name in names
        if not name.startswith("_") and not isinstance(each := getattr(value, name, None), Location) and name != "where"
    }
    return {"kind": type(value).__qualname__, **attributes}


def _function(function: FunctionType) -> str:
    try:
        text = function_digest(function)
    except DeclarationError:  # its text cannot be read: its bytecode tells when it changes
        text = digest(function.__code__.co_code.hex())
    return f"{place(function)}@{text[:12]}"
