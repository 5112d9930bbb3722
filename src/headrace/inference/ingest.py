"""The inference log into the lakehouse: segments of the spool become rows, and each answered row is there once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import pyarrow as pa

from headrace.core.errors import DataError, MovedError
from headrace.core.failpoints import reach
from headrace.features.online.packing import instant_of
from headrace.inference import serving_metrics
from headrace.lakehouse.commit import Append
from headrace.scoring.spool import segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from headrace.lakehouse.commit import Change
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.scoring.spool import Segment

BAD = ".bad"
MOST, MOST_BYTES = 100, 64 * 2**20  # segments, and their bytes, that are one commit
Given = TypeVar("Given")
INSTANT = pa.timestamp("us", "UTC")
COLUMNS = {
    "request_id": pa.string(),
    "row": pa.int64(),
    "prediction_id": pa.string(),
    "asked_at": INSTANT,
    "predicted_for": INSTANT,
    "model": pa.string(),
    "model_version": pa.int64(),
    "path": pa.string(),
    "role": pa.string(),
    "split": pa.string(),
    "took_us": pa.int64(),
    "feature_versions": pa.string(),
    "features_as_of": pa.string(),
    "keys": pa.string(),
    "looked_up_by": pa.string(),
    "inputs": pa.string(),
    "outputs": pa.string(),
}
PLAIN = re.compile(r"\w+")  # an output whose name any engine takes as a column


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What was taken over.

    Attributes:
        segments: of the spool that are in the table now and no longer in the spool.
        rows: of the inference table that this call wrote.
        bad: records that could not be read. Nothing of them is in the table.
        set_aside: the files where they are kept, one JSON object a line: `why`, and `record`, the bytes as UTF-8 (what is
            none, as Python's surrogate escapes).
    """

    segments: int
    rows: int
    bad: int = 0
    set_aside: tuple[str, ...] = ()


def table_name(model: str) -> str:
    """The inference table of a model."""
    return f"inference.{model.lower()}"


def ingest(lakehouse: Lakehouse, spool: Path, into: str) -> Ingested:
    """Commits every segment that nobody writes any more, many at a time, then deletes them.

    A commit holds the ids of its segments, `spool <segment>`, so that a segment which was committed and not deleted is only
    deleted the next time. May run in several processes at once: they work on different segments.

    Args:
        lakehouse: where the table is.
        spool: the folder.
        into: the inference table; made when it is not there.

    Raises:
        DataError: the table's own columns are of other types. The segment stays in the spool.
        ConflictError: other writers came first for a minute. The segment stays in the spool.
    """
    done: list[Ingested] = []
    for group in _groups(segments(spool)):
        with ExitStack() as held:
            ours = [segment for segment in group if held.enter_context(segment.claimed())]
            if ours:
                done.append(_ingest(lakehouse, ours, into))
    return _sum(done)


def _sum(done: Sequence[Ingested]) -> Ingested:
    return Ingested(
        segments=sum(each.segments for each in done),
        rows=sum(each.rows for each in done),
        bad=sum(each.bad for each in done),
        set_aside=tuple(file for each in done for file in each.set_aside),
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of the table, its outputs apart."""

    values: dict[str, object]
    outputs: dict[str, float]


@dataclass(kw_only=True)
class _Read:
    """The rows of a segment, what servers counted, and the records that give neither, each with the reason."""

    rows: list[_Row] = field(default_factory=list[_Row])
    counted: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
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


def _ingest(lakehouse: Lakehouse, ours: Sequence[Segment], into: str) -> Ingested:
    """Segments that nobody else has."""
    reads = {segment.name: _read(segment) for segment in ours}
    kept = [file for segment in ours for file in _set_aside(segment, reads[segment.name].bad)]

    def answers(rows: Sequence[_Row], snapshot: Snapshot | None) -> Change:
        return Append(_table(rows, pa.schema([]) if snapshot is None else snapshot.schema))

    try:
        rows = _commit(lakehouse, into, {name: read.rows for name, read in reads.items()}, answers)
    except DataError:
        if len(ours) == 1:
            raise
        return _sum([_ingest(lakehouse, [segment], into) for segment in ours])  # up to the one that does not fit
    reach(f"ingest.committed:{ours[0].name}")
    counted = {name: read.counted for name, read in reads.items()}
    _commit(lakehouse, serving_metrics.TABLE, counted, lambda rows, _: Append(serving_metrics.table(rows)))
    reach(f"ingest.counted:{ours[0].name}")
    for segment in ours:
        segment.delete()
        reach(f"ingest.deleted:{segment.name}")
    bad = sum(len(read.bad) for read in reads.values())
    return Ingested(segments=len(ours), rows=rows, bad=bad, set_aside=tuple(kept))


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
            given = json.loads(record, parse_constant=_no_number)
            if isinstance(given, dict) and "counted" in given:
                read.counted += serving_metrics.rows(cast("dict[str, Any]", given))
            else:
                read.rows += _rows(given)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            read.bad.append((str(error), record))
    return read


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _rows(record: object) -> list[_Row]:
    """The rows of one request. One that gives full rows, and no keys, decides at the moment when it asks.

    Raises:
        ValueError: something is missing or cannot be kept.
        TypeError: something is not of its type.
    """
    given = _unfolded(_mapping(record, "a record"))
    inputs, predictions = _list(given, "rows"), _list(given, "predictions")
    keys = [None] * len(inputs) if given.get("keys") is None else _list(given, "keys")
    if not len(inputs) == len(predictions) == len(keys):
        raise ValueError(f"{len(inputs)} rows, {len(keys)} keys and {len(predictions)} predictions")
    version = given.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or abs(version) >= 2**63:
        raise TypeError(f"version {version!r} is no number of a version")
    shared = {
        "request_id": _text(given, "id"),
        "asked_at": _instant(given, "at"),
        "model": _text(given, "model"),
        "model_version": version,
        "path": _text(given, "path"),
        "role": _text(given, "role") if "role" in given else "primary",
        "split": _text(given, "split") if "split" in given else None,
        "took_us": _whole(given, "us") if "us" in given else None,
        **_tables(given.get("tables")),
    }
    places = _list(given, "places") if "places" in given else range(len(inputs))
    return [
        _row({**shared, "row": int(cast("int", place))}, *each)
        for place, *each in zip(places, inputs, keys, predictions, strict=True)
    ]


def _tables(given: object) -> dict[str, object]:
    """Which publication of each table the features are from: its version, and as of which moment."""
    if given is None:
        return {"feature_versions": None, "features_as_of": None}
    found = {
        name: (int(cast("int", version)), instant_of(int(cast("int", at))))
        for name, (version, at) in sorted(
            cast("Mapping[str, tuple[object, object]]", _mapping(given, "'tables'")).items()
        )
    }
    return {
        "feature_versions": json.dumps({name: version for name, (version, _) in found.items()}),
        "features_as_of": json.dumps({name: at.isoformat() for name, (_, at) in found.items()}),
    }


def _unfolded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A server names its inputs and outputs once in a record, in `by`; here each row and each prediction names them."""
    if "by" not in record:
        return record
    by = _mapping(record["by"], "'by'")
    inputs, outputs = _names(by, "inputs"), _names(by, "outputs")
    answers = zip(_list(record, "ids"), _list(record, "answers"), strict=True)
    return {
        **record,
        "model": by.get("model"),
        "version": by.get("version"),
        "role": by.get("role", "primary"),
        "rows": [dict(zip(inputs, cast("list[object]", row), strict=True)) for row in _list(record, "rows")],
        "predictions": [
            {"prediction_id": number, **dict(zip(outputs, cast("list[object]", answer), strict=True))}
            for number, answer in answers
        ],
    }


def _row(shared: dict[str, object], inputs: object, known: object, prediction: object) -> _Row:
    outputs = dict(_mapping(prediction, "a prediction"))
    decision = None if known is None else _mapping(known, "a key")
    identity = _text(outputs, "prediction_id")
    del outputs["prediction_id"]
    return _Row(
        values={
            **shared,
            "prediction_id": identity,
            "predicted_for": shared["asked_at"] if decision is None else _instant(decision, "at"),
            "keys": None if decision is None else _json(_mapping(decision.get("keys"), "a key")),
            "looked_up_by": _json(_mapping(decision["by"], "'by'")) if decision and "by" in decision else None,
            "inputs": _json(_mapping(inputs, "a row")),
            "outputs": _json(outputs),
        },
        outputs={name: float(value) for name, value in outputs.items() if _is_column(name, value)},
    )


def _is_column(name: str, value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e308 and PLAIN.fullmatch(name) is not None


def _table(rows: Sequence[_Row], there: pa.Schema) -> pa.Table:
    """The rows; and each output that is a number also as a column, where that column is free or holds such numbers.

    Tables tell columns apart without regard to case, so an output takes the name of the column that is there.
    """
    known = {field.name.lower(): field.name for field in there}
    taken = {field.name.lower() for field in there if field.type != pa.float64()} | set(COLUMNS)
    outputs: dict[str, list[float | None]] = {}
    for place, row in enumerate(rows):
        for name, value in row.outputs.items():
            if name.lower() not in taken:
                column = known.setdefault(name.lower(), name)
                outputs.setdefault(column, [None] * len(rows))[place] = value
    arrays = {name: pa.array([row.values[name] for row in rows], kind) for name, kind in COLUMNS.items()}
    return pa.table({**arrays, **{name: pa.array(values, pa.float64()) for name, values in outputs.items()}})


def _set_aside(segment: Segment, bad: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
    """Keeps what could not be read beside the spool, under the segment's name, so that a second try writes the same file."""
    if not bad:
        return ()
    path = segment.path.with_suffix(BAD)
    making = path.with_name(f".{path.name}.{os.getpid()}")
    with making.open("w", encoding="ascii") as file:
        for why, record in bad:
            file.write(json.dumps({"why": why, "record": record.decode(errors="surrogateescape")}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)
    return (str(path),)


# ---------------------------------------------------------------------------------------------- what a record holds


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is no JSON object but {type(value).__name__}")
    return cast("Mapping[str, Any]", value)


def _list(record: Mapping[str, Any], name: str) -> list[object]:
    if not isinstance(record.get(name), list):
        raise TypeError(f"{name!r} is no list")
    return record[name]


def _names(record: Mapping[str, Any], name: str) -> list[str]:
    found = _list(record, name)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"{name!r} is no list of names")
    return cast("list[str]", found)


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise TypeError(f"{name!r} is no text")
    value.encode()  # half of a surrogate pair is JSON, and no text
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    value = record[name]
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise TypeError(f"{name!r} is no whole number")
    return value


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text.encode()
    return text


def _instant(record: Mapping[str, Any], name: str) -> datetime:
    read = datetime.fromisoformat(_text(record, name))
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
