"""The inference log of a server: what was asked and answered, in the spool before the answer leaves."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from headrace.scoring.spool import SpoolFullError
from headrace.serving.protocols.asked import RefusedRequestError

if TYPE_CHECKING:
    from headrace.scoring.spool import Spool
    from headrace.serving.manifest import Split
    from headrace.serving.protocols.asked import Part
    from headrace.serving.telling import Counters, Kind, Tally


class Log:
    """Appends records to a spool.

    Attributes:
        spool: None until a version declares that it is logged.
    """

    def __init__(self, counters: Counters, server: str) -> None:
        self.spool: Spool | None = None
        self._counters, self._server = counters, server

    def answered(
        self, part: Part, split: Split | None, *, request_id: str, path: str, ids: list[str], seconds: float
    ) -> None:
        """A part of a request, with its answers, of a version that is logged.

        Raises:
            RefusedRequestError: the log cannot take it, and the version is not to answer what is not logged.
        """
        serving = part.serving
        serve = serving.manifest.serve
        if serve.sample < 1 and not _sampled(request_id, serve.sample):
            return
        record: dict[str, Any] = {
            "id": request_id,
            "at": datetime.now(UTC),
            "path": path,
            "us": int(seconds * 1e6),
            "by": serving.said,
            "rows": part.rows,
            "keys": part.known,
            "ids": ids,
            "answers": part.answers,
        }
        if part.places is not None:
            record["places"] = part.places
        if split is not None:
            record["split"] = split.id
        if part.fresh is not None:
            record["fresh"] = part.fresh
        if serve.redact:
            _redact(record, serving.codec.names, serve.redact)
        self._append(record, required=serve.log == "required")

    def counted(self, model: str, since: datetime, interval: list[tuple[Kind, Tally]], split: Split | None) -> None:
        """What a server did in an interval; lost where the log cannot take it."""
        if self.spool is None or not interval:
            return
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
        self._append(record, required=False)

    def _append(self, record: dict[str, Any], *, required: bool) -> None:
        assert self.spool is not None  # made when the first version that is logged was loaded
        try:
            self.spool.append(orjson.dumps(record))
        except SpoolFullError as error:
            if required:
                print(error, file=sys.stderr, flush=True)
                message = "the inference log cannot be written, and nothing is answered that is not logged."
                raise RefusedRequestError(503, message) from error
            self._counters.unlogged += 1


def _sampled(request_id: str, part: float) -> bool:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=4).digest()) < part * 2**32


def _redact(record: dict[str, Any], inputs: list[str], names: tuple[str, ...]) -> None:
    """Leaves values out. The decision itself stays known by the id of its prediction."""
    hidden = [name in names for name in inputs]
    record["rows"] = [
        [None if hide else value for hide, value in zip(hidden, row, strict=True)] for row in record["rows"]
    ]
    if record["keys"] is not None:
        record["keys"] = [
            {**known, "keys": {name: None if name in names else value for name, value in known["keys"].items()}}
            for known in record["keys"]
        ]
