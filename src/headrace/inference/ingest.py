"""Ingests the inference log into the lakehouse: segments of the spool become rows; each answered row is there once."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from headrace.core.errors import DataError, MovedError, UnavailableError
from headrace.core.failpoints import reach
from headrace.core.ids import digest
from headrace.inference import inference_record, serving_metrics
from headrace.lakehouse.files import content_digest
from headrace.lakehouse.writes import Append
from headrace.llm.feedback import table as feedback
from headrace.scoring.spool import segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change
    from headrace.scoring.spool import Segment

    Trace = Callable[[Sequence[inference_record.Row]], tuple[int, int]]

BAD = ".bad"
MOST, MOST_BYTES = 100, 64 * 2**20  # segments, and their bytes, that are one commit
Given = TypeVar("Given")


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What was taken over.

    Attributes:
        segments: of the spool that are in the table now and no longer in the spool.
        rows: of the inference table that this call wrote.
        requests_counted: by servers, in the segments: what `metrics.serving` has of them.
        feedback: rows of `metrics.feedback` that the segments hold; one that was sent again counts again.
        bad: records that could not be read. Nothing of them is in the table.
        set_aside: the files where they are kept, one JSON object a line: `reason`, and `record`, the bytes as UTF-8 (what is
            none, as Python's surrogate escapes).
        traced: answers that `trace` wrote.
        untraced: answers that were beyond the most that it writes.
        waiting: why `trace` could not write some: their rows are in the table, and their segments stay in the spool until it can.
            Empty where it could.
    """

    segments: int
    rows: int
    requests_counted: int = 0
    feedback: int = 0
    bad: int = 0
    set_aside: tuple[str, ...] = ()
    traced: int = 0
    untraced: int = 0
    waiting: str = ""


@dataclass(frozen=True, kw_only=True)
class LogContent:
    """What there is to take over, by what can be told again from the same files.

    Attributes:
        files: segments of a spool, or one file of records.
        digest: SHA-256 of the file; of a spool, over the name and the digest of each segment.
        rows: of answers.
        requests_counted: by servers, which count in rates of errors and latencies though no answer tells of them.
    """

    files: int
    digest: str
    rows: int
    requests_counted: int


def survey(spool: Path) -> LogContent:
    """What the segments hold that nobody writes any more."""
    found = segments(spool)
    reads = [_read(each) for each in found]
    return LogContent(
        files=len(found),
        digest=digest({each.name: content_digest(each.path) for each in found}),
        rows=sum(len(read.rows) for read in reads),
        requests_counted=_requests(reads),
    )


def ingest(lakehouse: Lakehouse, spool: Path, into: str, *, trace: Trace | None = None) -> Ingested:
    """Commits every segment that nobody writes any more, many at a time, then deletes them.

    A commit holds the ids of its segments, `spool <segment>`, so that a segment which was committed and not deleted is only
    deleted the next time. May run in several processes at once: they work on different segments.

    Args:
        lakehouse: where the table is.
        spool: the folder.
        into: the inference table; made when it is not there.
        trace: writes the traces of rows that are in the table, before their segments go: again after a process died in between,
            so it must replace what it wrote. Gives how many it wrote and left out; raises UnavailableError where it cannot now.
            Defaults to none.

    Raises:
        DataError: the table's own columns are of other types. The segment stays in the spool.
        ConflictError: other writers came first for a minute. The segment stays in the spool.
    """
    done: list[Ingested] = []
    for group in _groups(segments(spool)):
        with ExitStack() as held:
            ours = [segment for segment in group if held.enter_context(segment.claimed())]
            if ours:
                done.append(_ingest(lakehouse, ours, into, trace))
    return _sum(done)


def _sum(done: Sequence[Ingested]) -> Ingested:
    return Ingested(
        segments=sum(each.segments for each in done),
        rows=sum(each.rows for each in done),
        requests_counted=sum(each.requests_counted for each in done),
        feedback=sum(each.feedback for each in done),
        bad=sum(each.bad for each in done),
        set_aside=tuple(file for each in done for file in each.set_aside),
        traced=sum(each.traced for each in done),
        untraced=sum(each.untraced for each in done),
        waiting=next((each.waiting for each in done if each.waiting), ""),
    )


@dataclass(kw_only=True)
class _Read:
    """The rows of a segment, what servers counted, feedback, and the records that give none of it, each with the reason."""

    rows: list[inference_record.Row] = field(default_factory=list[inference_record.Row])
    counted: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    feedback: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    bad: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])


def _groups(found: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Segments that are one commit together."""
    group: list[Segment] = []
    size = 0
    for segment in found:
        more = segment.size()
        if group and (len(group) >= MOST or size + more > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(segment)
        size += more
    if group:
        yield group


def _ingest(lakehouse: Lakehouse, ours: Sequence[Segment], into: str, trace: Trace | None) -> Ingested:
    """Segments that nobody else has."""
    reads = {segment.name: _read(segment) for segment in ours}
    kept = [file for segment in ours for file in _set_aside(segment, reads[segment.name].bad)]

    def answers(rows: Sequence[inference_record.Row], snapshot: Snapshot | None) -> Change:
        return Append(inference_record.table(rows, pa.schema([]) if snapshot is None else snapshot.schema))

    try:
        rows = _commit(lakehouse, into, {name: read.rows for name, read in reads.items()}, answers)
    except DataError:
        if len(ours) == 1:
            raise
        return _sum([_ingest(lakehouse, [segment], into, trace) for segment in ours])  # up to the one that does not fit
    reach(f"ingest.committed:{ours[0].name}")
    counted = {name: read.counted for name, read in reads.items()}
    _commit(lakehouse, serving_metrics.TABLE, counted, lambda rows, _: Append(serving_metrics.table(rows)))
    reach(f"ingest.counted:{ours[0].name}")
    _commit(lakehouse, feedback.TABLE, {name: read.feedback for name, read in reads.items()}, feedback.change)
    reach(f"ingest.feedback:{ours[0].name}")
    traced, untraced, waiting = _traced(reads.values(), trace)
    reach(f"ingest.traced:{ours[0].name}")
    for segment in () if waiting else ours:
        segment.delete()
        reach(f"ingest.deleted:{segment.name}")
    bad = sum(len(read.bad) for read in reads.values())
    return Ingested(
        segments=0 if waiting else len(ours),
        rows=rows,
        requests_counted=_requests(reads.values()),
        feedback=sum(len(read.feedback) for read in reads.values()),
        bad=bad,
        set_aside=tuple(kept),
        traced=traced,
        untraced=untraced,
        waiting=waiting,
    )


def _traced(reads: Iterable[_Read], trace: Trace | None) -> tuple[int, int, str]:
    """How many traces were written, how many answers have none, and why they have to wait."""
    rows = [row for read in reads for row in read.rows]
    if trace is None or not rows:
        return 0, 0, ""
    try:
        return *trace(rows), ""
    except UnavailableError as error:
        return 0, 0, str(error)


def _requests(reads: Iterable[_Read]) -> int:
    return sum(cast("int", each["requests"]) for read in reads for each in read.counted)


def _commit(
    lakehouse: Lakehouse,
    table: str,
    given: Mapping[str, Sequence[Given]],
    change: Callable[[Sequence[Given], Snapshot | None], Change],
) -> int:
    """Adds the rows of segments that are not in the table yet, in one commit; gives how many that were."""
    asked = {f"spool {name}": rows for name, rows in given.items() if rows}
    while asked:
        there = lakehouse.reached(table, asked)
        fresh = {name: rows for name, rows in asked.items() if there[name] is None}
        rows = [row for some in fresh.values() for row in some]
        if not rows:
            return 0
        try:
            lakehouse.advance(table, next(iter(fresh)), partial(change, rows), dict.fromkeys(fresh, (None, 1)))
        except MovedError:  # an older release took one of them over meanwhile
            continue
        return len(rows)
    return 0


def _read(segment: Segment) -> _Read:
    contents = segment.contents()
    read = _Read(bad=[("its checksum is wrong", each) for each in contents.damaged])
    for record in contents.records:
        try:
            given = inference_record.loads(record)
            if isinstance(given, dict) and "counted" in given:
                read.counted += serving_metrics.rows(cast("dict[str, Any]", given))
            elif isinstance(given, dict) and "feedback" in given:
                read.feedback += feedback.rows(cast("dict[str, Any]", given))
            else:
                read.rows += inference_record.rows(given)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            read.bad.append((str(error), record))
    return read


def _set_aside(segment: Segment, bad: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
    """Keeps what could not be read beside the spool, under the segment's name, so that a second try writes the same file."""
    if not bad:
        return ()
    path = segment.path.with_suffix(BAD)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    with making.open("w", encoding="ascii") as file:
        for reason, record in bad:
            file.write(json.dumps({"reason": reason, "record": record.decode(errors="surrogateescape")}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)
    return (str(path),)
