"""Log: what servers have answered, and what others have, into the inference table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.inference import external_logs
from headrace.inference.ingest import LogContent, ingest, survey
from headrace.pipelines.outputs.log import CollectedLog, ImportedRecords
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.inference.ingest import Trace
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse


def collect_log(lakehouse: Lakehouse, run: Run, model: str, spool: Path, *, trace: Trace | None) -> None:
    """What servers have answered since the last time.

    Args:
        lakehouse: the tables.
        run: of the ledger.
        model: that answered.
        spool: of its servers.
        trace: what makes traces of answers; None for none. See `inference.ingest`.
    """
    _collect(lakehouse, run, model, spool, step="log", trace=trace)


def import_logs(
    lakehouse: Lakehouse,
    run: Run,
    model: str,
    places: Sequence[Path],
    *,
    tell: Callable[[Path, LogContent], None],
    trace: Trace | None,
) -> None:
    """Logs that were made elsewhere, a step each; all of them are there before the first is read.

    Args:
        lakehouse: the tables.
        run: of the ledger.
        model: that answered.
        places: folders with the segments of a spool, which are deleted once they are in the table; files of records.
        tell: what comes from where, before anything of it is written.
        trace: what makes traces of answers that come out of a spool; None for none.

    Raises:
        NotFoundError: one is not there.
        DataError: a file has a line that is no record; nothing of it was written.
    """
    for place in places:
        if not place.exists():
            raise NotFoundError("folder or file", str(place), (), hint="A spool's folder, or records, one a line.")
    for place in places:
        if place.is_dir():
            _collect(lakehouse, run, model, place, step=f"import {place}", tell=tell, trace=trace)
        else:
            _import(lakehouse, run, model, place, tell=tell)


def _collect(
    lakehouse: Lakehouse,
    run: Run,
    model: str,
    spool: Path,
    *,
    step: str,
    tell: Callable[[Path, LogContent], None] | None = None,
    trace: Trace | None = None,
) -> None:
    def do(context: StepContext) -> CollectedLog:
        if tell is not None:
            tell(spool, survey(spool))
        done = ingest(lakehouse, spool, log_table(model), trace=trace)
        if done.bad:
            context.log(f"{done.bad} records could not be read; they are kept as .bad files in {spool}")
        if done.untraced:
            context.log(f"{done.untraced} answers have no trace: they are beyond the most of one run")
        if done.waiting:
            context.log(f"traces of answers wait in {spool}: {done.waiting}")
        return CollectedLog(
            rows=done.rows, segments=done.segments, requests_counted=done.requests_counted, traces=done.traced
        )

    run.step(step, {"run": run.id}, do, output=CollectedLog)


def _import(
    lakehouse: Lakehouse, run: Run, model: str, file: Path, *, tell: Callable[[Path, LogContent], None]
) -> None:
    def do(_: StepContext) -> ImportedRecords:
        tell(file, external_logs.survey(file, model=model))
        return ImportedRecords(rows=external_logs.take_in(lakehouse, file, log_table(model), model=model))

    run.step(f"import {file}", {"run": run.id}, do, output=ImportedRecords)
