"""A parsed prediction request: which version and which rows, independent of the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import DataError
from headrace.features.keys import instant_of
from headrace.scoring.prediction_id import prediction_id
from headrace.serving.codec import BadRequestError, named
from headrace.serving.messages import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from headrace.features.keys import KeyValue
    from headrace.features.online.rows import Seen
    from headrace.llm.gateway.gateway import Gateway
    from headrace.serving.predictors import Answer, Row
    from headrace.serving.traffic import Assigned
    from headrace.serving.version import Serving

Keys = dict[str, "KeyValue | None"]  # a decision's key, in its declared types; None where a request does not say it
NEUTRAL: Mapping[str, Any] = {
    "number": 0.0,
    "string": "",
    "timestamp": "2000-01-01T00:00:00",
    "timestamp_utc": "2000-01-01T00:00:00+00:00",
}
Known = dict[str, Any]  # a decision: its keys, at which moment, and by what else its features were looked up


@dataclass(slots=True)
class RequestPart:
    """Rows of a request that one version answers.

    A protocol that reads full rows sets `serving`, `rows`, `divided` and, if it needs it, `context`; the server sets `answers`.

    Attributes:
        serving: the version that answers, as `assigned` returns it.
        rows: each a list of values, in the order of the version's inputs (`serving.codec.names`).
        places: which rows of the request they are; None for all of them.
        divided: by what each row was assigned to its version, or all of them together where there is one entry; None while
            traffic is not divided.
        known: the decision of each row; None where requests have full rows without a key.
        asked: the rows of the request by key, whose features have to be looked up first; `rows` is empty until then.
        keys: the key of each row in `asked`.
        tells: whether the caller wants the features of each row, and when they had become available.
        fresh: for each row, when what each look-up found had become available; only if the caller wants it.
        tables: each table that was looked up, with its version and the moment as of which it was published.
        answers: of each row a tuple, in the order of the version's outputs (`serving.columns`).
        logged: the same as the log keeps them, where it keeps more than callers get; None where it keeps `answers`. Set by the server.
        user: on whose behalf a model with `predict=` answers, for budgets; defaults to the API key of the caller.
        streams: whether the answer of a model with `predict=` is wanted piece by piece, from `pieces`; the request has one row then.
        pieces: the pieces as they come, once the answer has begun; `answers` is there after the last one. Set by the server.
        work: what is done in a thread in place of a prediction, and is not logged; `result` is what it returned. It gets a gateway to
            language models whose calls end when the caller leaves (None where no routes are configured), and who asks.
        result: of `work`.
        context: what the protocol that read the request has to know of it when it writes the answer; any value.

    Example:
        `traffic` are the versions at work:

        >>> part = hr.protocols.RequestPart(traffic.primary, [[1400.0, "AA"], [230.0, "UA"]], context="csv")
        >>> part.count
        2
        >>> part.ids("r-1")
        ['r-1-0', 'r-1-1']
    """

    serving: Serving
    rows: list[Row]
    places: list[int] | None = None
    divided: list[Assigned] | None = None
    known: list[Known] | None = None
    asked: list[Mapping[str, Any]] | None = None
    keys: list[Keys] | None = None
    tells: bool = False
    fresh: list[dict[str, str | None]] | None = None
    tables: dict[str, tuple[int, int]] | None = None
    answers: list[Answer] = field(default_factory=list["Answer"])
    logged: list[Answer] | None = None
    context: Any = None
    user: str = ""
    streams: bool = False
    pieces: AsyncIterator[str] | None = None
    work: Callable[[Gateway | None, str], Any] | None = None
    result: Any = None
    _ids: list[str] | None = None

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.rows if self.asked is None else self.asked)

    def at_once(self) -> bool:
        """Whether it is answered quickly enough to hold the loop meanwhile."""
        return self.work is None and self.serving.at_once(self.count, looks_up=self.asked is not None)

    def complete(self) -> None:
        """Looks features up.

        Raises:
            DataError: a column is missing or not of its type.
            UnavailableError: the online store cannot be read.
            RefusedRequestError: a row finds nothing, and the version is not to answer then.
        """
        assert self.asked is not None
        serving = self.serving
        refuses = serving.manifest.serve.missing == "refuse"
        seen: list[Seen] | None = [{} for _ in self.asked] if self.tells or refuses else None
        self.tables = {}
        full = serving.features.full_rows(self.asked, seen=seen, tables=self.tables)
        if refuses:
            self._refuse(seen or [])
        if self.tells:
            self.fresh = [{name: _iso(at) for name, at in each.items()} for each in seen or []]
        names = serving.codec.names
        self.rows = serving.codec.check([[row[name] for name in names] for row in full])
        keys, at = self.keys or [], serving.plan.at
        self.known = [decision(serving, key, row[at]) for key, row in zip(keys, full, strict=True)]
        if by := serving.lookup_keys:
            for each, row in zip(self.known, full, strict=True):
                each["by"] = {name: row[name] for name in by}
        self.asked = None

    def incomplete(self) -> int | None:
        """The first row with a missing value."""
        return next((place for place, row in enumerate(self.rows) if None in row), None)

    def filled(self, place: int) -> tuple[list[str], Row]:
        """The inputs that a row has no value for, and the row with some value for each.

        Args:
            place: of the row in `rows`, from 0.
        """
        codec = self.serving.codec
        row = [
            NEUTRAL[kind] if value is None else value
            for kind, value in zip(codec.kinds, self.rows[place], strict=False)
        ]
        named = zip(codec.names, self.rows[place], strict=False)
        return [name for name, value in named if value is None], [*row, *self.rows[place][len(row) :]]

    def _refuse(self, seen: list[Seen]) -> None:
        for place, each in enumerate(seen):
            for name, at in each.items():
                if at is None:
                    row = place if self.places is None else self.places[place]
                    message = f"row {row}: {name} has nothing for its key, or nothing that is young enough."
                    raise RefusedRequestError(422, message)

    def ids(self, request_id: str) -> list[str]:
        """The id of each prediction: that of batch scoring, where the decision is known by its key; otherwise one of the request.

        Args:
            request_id: of the request.
        """
        if self._ids is None:
            self._ids = self._made_ids(request_id)
        return self._ids

    def _made_ids(self, request_id: str) -> list[str]:
        if self.known is None or not self.serving.plan.keys:
            served = self.serving.served
            stem = f"{request_id}-{served.version}s" if served.role == "shadow" else request_id
            return [f"{stem}-{place}" for place in self.places or range(len(self.rows))]
        model, version = self.serving.manifest.model, self.serving.served.version
        return [prediction_id(model, version, each["keys"].values(), each["at"]) for each in self.known]


def _iso(at: int | None) -> str | None:
    return None if at is None else instant_of(at).isoformat()


def params_of(serving: Serving, given: object) -> dict[str, Any]:
    """The parameters of a request, checked, with the defaults of those that it leaves out; none where it gives none.

    Raises:
        BadRequestError: one is unknown, or of another type.
    """
    if given in (None, {}):
        return {}
    if not isinstance(given, dict):
        raise BadRequestError("params is no object.")
    params = cast("dict[str, Any]", given)
    if serving.params is None:
        raise BadRequestError(f"{named(next(iter(params)))} is no parameter of this model; it takes none.")
    try:
        return serving.params(params)
    except DataError as error:
        raise BadRequestError(error.what) from None


def decision(serving: Serving, keys: Keys, at: datetime) -> Known:
    """What is decided, by its key and its moment. A key that is the moment need not be said twice.

    Raises:
        DataError: a part of the key is missing.
    """
    plan = serving.plan
    if keys.get(plan.at, at) is None:
        local = dict(plan.key_columns)[plan.at] == "timestamp"
        keys = {**keys, plan.at: at.replace(tzinfo=None) if local else at}
    for name, value in keys.items():
        if value is None:
            raise DataError(f"{name!r} is missing: a decision is known by its key.")
    return {"keys": keys, "at": at}
