"""The inference log of a server: requests and answers, as records for the spool."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from headrace.scoring.spool import SpoolFullError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.scoring.spool import Spool
    from headrace.serving.manifest import ServedSplit
    from headrace.serving.metrics import Kind, Tally
    from headrace.serving.protocols.prediction_request import RequestPart


class Log:
    """Makes records, and appends them to a spool.

    Attributes:
        spool: None until a version declares that it is logged.
        trouble: why the spool did not take the latest records; empty when it did.
    """

    def __init__(self, server: str) -> None:
        self.spool: Spool | None = None
        self.trouble = ""
        self._server = server

    def answered(
        self,
        part: RequestPart,
        split: ServedSplit | None,
        *,
        request_id: str,
        path: str,
        ids: list[str],
        seconds: float,
        caller: Mapping[str, str],
    ) -> bytes | None:
        """The record of a part of a request with its answers; None for one that is not sampled."""
        serving = part.serving
        serve = serving.manifest.serve
        if serve.sample < 1 and not _sampled(request_id, serve.sample):
            return None
        record: dict[str, Any] = {
            "id": request_id,
            "at": datetime.now(UTC),
            "path": path,
            "us": int(seconds * 1e6),
            "by": serving.said,
            "rows": part.rows,
            "keys": part.known,
            "ids": ids,
            "answers": part.answers if part.logged is None else part.logged,
        }
        if caller:
            record["caller"] = caller
        if part.places is not None:
            record["places"] = part.places
        if split is not None and (part.divided is not None or serving.served.role == "shadow"):
            record["split"] = split.id  # not of one that asked for a version by its number
        if part.divided is not None:
            record["divided"] = [list(each) for each in part.divided]
        if part.tables is not None:
            record["tables"] = part.tables
        if serve.redact:
            _redact(record, serving.codec.names, serving.columns, serve.redact)
        return orjson.dumps(record, default=str)  # a decimal is its text

    def counted(
        self, model: str, since: datetime, interval: list[tuple[Kind, Tally]], split: ServedSplit | None
    ) -> bytes | None:
        """The record of what a server did in an interval; None where nothing was asked."""
        if not interval:
            return None
        record = {
            "server": self._server,
            "since": since,
            "at": datetime.now(UTC),
            "model": model,
            "split": None if split is None else split.id,
            "counted": [
                {
                    "version": kind.version,
                    "role": kind.role,
                    "status": kind.status,
                    "requests": tally.requests,
                    "rows": tally.rows,
                    "seconds": tally.seconds,
                    "buckets": tally.buckets,
                }
                for kind, tally in interval
            ],
        }
        return orjson.dumps(record)

    def append(self, records: Sequence[bytes]) -> None:
        """All of these records, or none.

        Raises:
            SpoolFullError: the spool cannot take them.
        """
        assert self.spool is not None  # made when the first version that is logged was loaded
        try:
            self.spool.append(*records)
        except TooLargeError:
            raise
        except SpoolFullError as error:
            self.trouble = str(error)
            raise
        self.trouble = ""

    def append_what_fits(self, records: Sequence[bytes]) -> int:
        """As many of these records as the spool takes; gives how many it does not."""
        try:
            self.append(records)
        except SpoolFullError:
            return 1 if len(records) == 1 else sum(self.append_what_fits([each]) for each in records)
        return 0

    def tick(self) -> None:
        """Seals the segment if it is old enough, and sees whether a spool that was full still is; what fails is tried again."""
        try:
            if self.spool is not None:
                self.spool.tick()
                if self.trouble:
                    self.spool.check()
                    self.trouble = ""
        except SpoolFullError as error:
            self.trouble = str(error)


def _sampled(request_id: str, part: float) -> bool:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=4).digest()) < part * 2**32


def _redact(record: dict[str, Any], inputs: Sequence[str], outputs: Sequence[str], names: tuple[str, ...]) -> None:
    """Leaves values out. The decision itself stays known by the id of its prediction."""
    record["rows"] = _without(record["rows"], inputs, names)
    record["answers"] = _without(record["answers"], outputs, names)
    if record["keys"] is not None:
        record["keys"] = [
            {
                **known,
                **{
                    each: {name: None if name in names else value for name, value in known[each].items()}
                    for each in ("keys", "by")
                    if each in known
                },
            }
            for known in record["keys"]
        ]


def _without(rows: Sequence[Sequence[Any]], columns: Sequence[str], names: tuple[str, ...]) -> list[list[Any]]:
    hidden = [name in names for name in columns]
    if not any(hidden):
        return [list(row) for row in rows]
    # a model with parameters has them behind its inputs
    return [
        [None if place < len(hidden) and hidden[place] else value for place, value in enumerate(row)] for row in rows
    ]
