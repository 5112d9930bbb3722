"""External logs: the spool of another machine, or a file of JSON, one record a line.

    {"id": "r-1", "at": "2024-03-01T12:00:00Z", "version": 3, "rows": [{"a": 1.5}], "predictions": [{"probability": 0.2}]}

A record is a request. It may also have the fields that servers of Headrace write: `keys`, a decision for each row, as
`{"keys": {"order": 7}, "at": "…"}`; `path`, `role`, `us`; and in each prediction its `prediction_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.core.failpoints import reach
from headrace.inference import inference_record
from headrace.inference.ingest import LogContent
from headrace.lakehouse.files import content_digest
from headrace.lakehouse.writes import Append

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.lakehouse.lakehouse import Lakehouse

RECORDS = 10_000  # that are one commit
SHOWN = 20
ELSEWHERE = "elsewhere"  # the path of a record that says none


def take_in(lakehouse: Lakehouse, file: Path, into: str, *, model: str) -> int:
    """Adds the records of a file to an inference table, once for each content of it; gives how many rows were added.

    The whole file is read first. Killed anywhere, the same call goes on where it was.

    Args:
        lakehouse: where the table is.
        file: of JSON, a record a line.
        into: the inference table; made when it is not there.
        model: that answered.

    Raises:
        DataError: a line is no record, or is of another model. Nothing was written.
    """
    _check(file, model)
    identity, added = content_digest(file), 0
    for number, rows in enumerate(_groups(file, model)):
        done = lakehouse.commit(
            into,
            f"log {identity} {number}",
            lambda before, rows=rows: Append(
                inference_record.table(rows, pa.schema([]) if before is None else before.schema)
            ),
        )
        reach(f"import.committed:{number}")
        added += 0 if done.already else len(rows)
    return added


def survey(file: Path, *, model: str) -> LogContent:
    """What a file of records holds.

    Raises:
        DataError: a line is no record, or is of another model.
    """
    _check(file, model)
    rows = sum(len(group) for group in _groups(file, model))
    return LogContent(files=1, digest=content_digest(file), rows=rows, requests_counted=0)


def _groups(file: Path, model: str) -> Iterator[list[inference_record.Row]]:
    group: list[inference_record.Row] = []
    for number, (_, line) in enumerate(_lines(file), start=1):
        group += _read(line, model)
        if number % RECORDS == 0:
            yield group
            group = []
    if group:
        yield group


def _check(file: Path, model: str) -> None:
    wrong: list[str] = []
    for number, line in _lines(file):
        try:
            _read(line, model)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            wrong.append(f"line {number}: {error}")
            if len(wrong) == SHOWN:
                break
    if wrong:
        raise DataError(
            f"{file}: lines that are no record of the log.",
            findings=wrong,
            hint="Nothing was written. A record is a request: id, at, version, rows, predictions.",
        )


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None


def _read(line: bytes, model: str) -> list[inference_record.Row]:
    given = inference_record.loads(line)
    if not isinstance(given, Mapping):
        raise TypeError(f"no JSON object but {type(given).__name__}")
    record: dict[str, Any] = {"model": model, "path": ELSEWHERE, **cast("Mapping[str, Any]", given)}
    if record["model"] != model:
        raise ValueError(f"it is of model {record['model']!r}")
    if isinstance(record.get("predictions"), list):
        record["predictions"] = [
            {"prediction_id": f"{record.get('id')}-{place}", **cast("Mapping[str, Any]", each)}
            if isinstance(each, Mapping)
            else each
            for place, each in enumerate(cast("list[object]", record["predictions"]))
        ]
    return inference_record.rows(record)
