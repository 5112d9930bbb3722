"""Records of runs and of MLflow's versions for the other packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.core.ids import Json

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
ColumnType = Literal["any", "boolean", "datetime", "double", "long", "string"]


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One MLflow run.

    Attributes:
        key: the key of the job step that made it; empty for a run that somebody else made.
        metrics: the last value of each.
    """

    id: str
    model: str
    key: str
    status: RunStatus
    started: datetime
    ended: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SignatureColumn:
    """One column of a logged model's signature. `any` takes every type; such a column may be left out of the signature check."""

    name: str
    type: ColumnType


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table at a version, that a run read.

    Attributes:
        name: `schema.table`.
        path: folder or URL of the table.
        content: identifies what is in it.
        context: what for, as MLflow shows it: `training`, or `source` of what was trained on.
    """

    name: str
    path: str
    version: int
    content: Sequence[Json]
    context: str


@dataclass(frozen=True, kw_only=True)
class LoggedVersion:
    """A model version as MLflow's registry has it.

    Attributes:
        key: the key of the job step that registered it.
    """

    model: str
    version: int
    key: str
    uri: str
    run_id: str | None
    tags: Mapping[str, str]
