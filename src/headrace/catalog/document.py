"""A document of the catalog: the feature tables and models of one environment of one project, as JSON and back.

Anybody who may write into the catalog may write anything there. So a document is read with limits, each value is checked,
and what does not fit is refused as a whole, with the reason.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

from headrace.core.clock import utc
from headrace.core.errors import DataError
from headrace.core.ids import Json, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORMAT = 1
BYTES = 16 << 20  # of a document
MOST = 20_000  # entries of a list
TEXT = 4_000  # characters of a text
PROJECT = re.compile(r"[^\W\d][\w-]{0,199}")
ENVIRONMENT = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
MODEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
STAGE = re.compile(r"None|Staging|Production|Archived")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ColumnEntry:
    """A column of a feature table: its Arrow type, and the percentage of rows in which it is null (None: not counted)."""

    column: str
    type: str
    null_percent: float | None


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """A feature table.

    Attributes:
        name: `schema.table`.
        location: the URI of its folder, without credentials; None where this environment has no such table yet.
        key: the columns that identify an entity.
        time: the column with the moment when a row became available.
        description: as declared.
        owner: as declared.
        columns: in the order of the table; none where there is no table yet.
        rows: their number; None where there is no table yet.
        newest: the latest moment in the time column; None where there is none.
        online: whether it is published to the online store.
        used_by: the models of this project that select from it.
        content: a digest of the table's id and of the version that last changed it; None where there is no table yet.
    """

    name: str
    location: str | None
    key: tuple[str, ...]
    time: str
    description: str
    owner: str
    columns: tuple[ColumnEntry, ...]
    rows: int | None
    newest: datetime | None
    online: bool
    used_by: tuple[str, ...]
    content: str | None


@dataclass(frozen=True, kw_only=True)
class FeatureUse:
    """What a model selects from a table; `location` is None where the table cannot be read from its environment."""

    table: str
    location: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VersionEntry:
    """The newest version of a model in a stage.

    Attributes:
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        metric: the name of the main metric; empty where there is none.
        value: of that metric on the test rows.
        created: when it was registered.
        by: who registered it.
    """

    version: int
    stage: str
    metric: str
    value: float | None
    created: datetime
    by: str


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model.

    Attributes:
        name: its name.
        description: as declared; empty where the project no longer declares it.
        owner: as declared.
        task: `binary`, `regression`, …; empty where the project no longer declares it.
        label: `table.column`; empty where the project no longer declares it.
        features: what it selects, table by table.
        functions: the names of its on-demand features.
        versions: the newest one of each stage, the newest first.
    """

    name: str
    description: str
    owner: str
    task: str
    label: str
    features: tuple[FeatureUse, ...]
    functions: tuple[str, ...]
    versions: tuple[VersionEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """What an environment of a project tells the others.

    Attributes:
        project: its name.
        environment: the name of the environment.
        rank: its place among the project's environments; 0 is the lowest.
        state: the id of the environment's state database, by which two projects of one name are told apart.
        written: when.
        as_of: the moment that the project, which replays the past, calls the present; None for the present itself.
        remote: the project's git remote `origin`, without credentials; None where it is not known.
        commit: that ran; None outside of git.
        feature_tables: those that the project declares.
        models: those that the project declares, or that have versions.
    """

    project: str
    environment: str
    rank: int
    state: str
    written: datetime
    as_of: datetime | None
    remote: str | None
    commit: str | None
    feature_tables: tuple[TableEntry, ...]
    models: tuple[ModelEntry, ...]

    def fingerprint(self) -> str:
        """A digest of the content without `written`: the same for documents of the same content, whenever they were written."""
        return digest({**asdict(self), "written": None})

    def encode(self) -> bytes:
        """The document as JSON.

        Raises:
            DataError: it is too large to be read by others.
        """
        told = json.dumps(
            {"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, default=datetime.isoformat
        ).encode()
        if len(told) > BYTES:
            raise DataError(f"the document would have {len(told):,} bytes; at most {BYTES:,} are read.")
        return told


class LaterFormatError(DataError):
    """A document was written by a later release of Headrace."""


def decode(data: bytes, *, project: str, environment: str) -> Document:
    """Reads a document that others may have written.

    Args:
        data: the bytes of the file.
        project: the project of whose folder it is.
        environment: the environment that the file's name says.

    Raises:
        LaterFormatError: a later release wrote it.
        DataError: it is malformed, exceeds a limit, or says that it is of another project or environment.
    """
    if len(data) > BYTES:
        raise DataError(f"it is larger than {BYTES:,} bytes")
    try:
        read: object = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is not JSON: {str(error)[:200]}") from error
    top = _Object(read, "the document")
    form = top.count("format")
    if form != FORMAT:
        if form is not None and form > FORMAT:
            raise LaterFormatError(f"it was written by a later release of Headrace: format {form}, not {FORMAT}")
        raise DataError(f"format is {form!r}, not {FORMAT}")
    found = Document(
        project=top.named("project", PROJECT),
        environment=top.named("environment", ENVIRONMENT),
        rank=top.count("rank") or 0,
        state=top.text("state"),
        written=_required(top.moment("written"), "written"),
        as_of=top.moment("as_of"),
        remote=top.text_or_none("remote"),
        commit=top.text_or_none("commit"),
        feature_tables=tuple(_table(each) for each in top.objects("feature_tables")),
        models=tuple(_model(each) for each in top.objects("models")),
    )
    if (found.project, found.environment) != (project, environment):
        raise DataError(f"it says that it is of {found.environment!r} of project {found.project!r}")
    return found


def _table(told: _Object) -> TableEntry:
    return TableEntry(
        name=told.named("name", TABLE),
        location=told.text_or_none("location"),
        key=told.texts("key"),
        time=told.text("time"),
        description=told.text("description"),
        owner=told.text("owner"),
        columns=tuple(
            ColumnEntry(column=each.text("column"), type=each.text("type"), null_percent=each.number("null_percent"))
            for each in told.objects("columns")
        ),
        rows=told.count("rows"),
        newest=told.moment("newest"),
        online=told.flag("online"),
        used_by=told.texts("used_by"),
        content=told.text_or_none("content"),
    )


def _model(told: _Object) -> ModelEntry:
    return ModelEntry(
        name=told.named("name", MODEL),
        description=told.text("description"),
        owner=told.text("owner"),
        task=told.text("task"),
        label=told.text("label"),
        features=tuple(
            FeatureUse(
                table=each.named("table", TABLE), location=each.text_or_none("location"), columns=each.texts("columns")
            )
            for each in told.objects("features")
        ),
        functions=told.texts("functions"),
        versions=tuple(
            VersionEntry(
                version=_required(each.count("version"), "version"),
                stage=each.named("stage", STAGE),
                metric=each.text("metric"),
                value=each.number("value"),
                created=_required(each.moment("created"), "created"),
                by=each.text("by"),
            )
            for each in told.objects("versions")
        ),
    )


def _no_number(text: str) -> Json:
    raise ValueError(f"{text} is not a number of JSON")


def _required(value: T | None, key: str) -> T:
    if value is None:
        raise DataError(f"{key} is null")
    return value


class _Object:
    """A JSON object of a stranger: each key is read with its type and its limit.

    Args:
        value: what was parsed.
        what: what it should be, for messages.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{what} is not an object")
        self._values = cast("dict[str, object]", value)

    def _get(self, key: str, possible: Callable[[object], bool], what: str, kind: type[T]) -> T:
        value = self._values.get(key)
        if not isinstance(value, kind) or not possible(value):
            raise DataError(f"{key} is not {what}")
        return value

    def text(self, key: str) -> str:
        return self._get(key, _is_text, f"a text of up to {TEXT:,} characters", str)

    def text_or_none(self, key: str) -> str | None:
        return None if self._values.get(key) is None else self.text(key)

    def named(self, key: str, shape: re.Pattern[str]) -> str:
        return self._get(key, lambda value: bool(shape.fullmatch(cast("str", value))), "a possible name", str)

    def flag(self, key: str) -> bool:
        return self._get(key, lambda _: True, "true or false", bool)

    def count(self, key: str) -> int | None:
        if self._values.get(key) is None:
            return None
        if isinstance(self._values[key], bool):
            raise DataError(f"{key} is not a count")
        return self._get(key, lambda value: 0 <= cast("int", value) < 1 << 63, "a count", int)

    def number(self, key: str) -> float | None:
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
            raise DataError(f"{key} is not a number")
        return float(value)

    def moment(self, key: str) -> datetime | None:
        text = self.text_or_none(key)
        if text is None:
            return None
        try:
            return utc(datetime.fromisoformat(text))
        except (ValueError, OverflowError):
            raise DataError(f"{key} is not a moment") from None

    def _list(self, key: str) -> Sequence[object]:
        return self._get(key, lambda value: len(cast("list[object]", value)) <= MOST, f"a list of up to {MOST:,}", list)

    def texts(self, key: str) -> tuple[str, ...]:
        found = self._list(key)
        if not all(_is_text(each) for each in found):
            raise DataError(f"{key} is not a list of texts")
        return tuple(cast("Sequence[str]", found))

    def objects(self, key: str) -> list[_Object]:
        return [_Object(each, f"an entry of {key}") for each in self._list(key)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT
