"""Refresh: data preparation and featurization. Sources into bronze, every table after what it reads, then vector indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.chains.opening import embedder
from headrace.chains.route_embedder import Caller, for_caller
from headrace.core.clock import now
from headrace.features.declarations import FeatureTable
from headrace.lakehouse import arrivals, graph, source
from headrace.lakehouse.declarations import ArrivalTable, Source, Table
from headrace.lakehouse.materialize import materialize
from headrace.llm.gateway.requests import CallTags
from headrace.llm.index.declarations import VectorIndex
from headrace.llm.index.opening import open_index, prune
from headrace.llm.index.recall import recall
from headrace.llm.index.update import update
from headrace.pipelines import sample_rows
from headrace.pipelines.outputs.refresh import BuiltTable, LoadedSource, UpdatedIndex
from headrace.pipelines.planned_step import PlannedStep

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.materialize import Materialized
    from headrace.lakehouse.sql import Query


def plan(project: Project, lakehouse: Lakehouse) -> list[Source | Table]:
    """What a refresh makes, in order."""
    known = [name.name for name in lakehouse.names()]
    declared, samples = _declared(project), sample_rows.of(project.config.folder)
    if samples is not None:
        declared = samples.buildable(declared, known)
    with lakehouse.hinting():
        return [each for each in graph.order(declared, elsewhere=known) if _is_made(each)]


def steps(project: Project) -> int:
    """How many steps a refresh has; no SQL is looked at."""
    return sum(map(_is_made, _declared(project))) + len(project.all(VectorIndex))


def _declared(project: Project) -> list[Source | Table]:
    """The tables as the project declares them; in a test, over the sample rows that it was given."""
    declared, samples = [*project.all(Source), *project.all(Table)], sample_rows.of(project.config.folder)
    return declared if samples is None else samples.instead_of(declared)


def _is_made(declared: Source | Table) -> bool:
    """Whether a refresh makes it: a table without a SELECT is only read."""
    return isinstance(declared, Source | ArrivalTable) or declared.sql is not None


def outline(project: Project, lakehouse: Lakehouse) -> list[PlannedStep]:
    """What a refresh does, for a dry run."""
    declared = plan(project, lakehouse)
    known = {*(name.name for name in lakehouse.names()), *(each.name for each in declared)}
    return [
        PlannedStep(step=f"load {each.name}", reads=", ".join(each.patterns) or "a function", writes=each.name)
        if isinstance(each, Source)
        else PlannedStep(step=f"build {each.name}", reads=", ".join(graph.inputs(each, known)), writes=each.name)
        for each in declared
    ] + [outline_index(each) for each in project.all(VectorIndex)]


def outline_index(declared: VectorIndex) -> PlannedStep:
    """What bringing one index up to date does, for a dry run."""
    return PlannedStep(step=step_of(declared), reads=declared.table.name, writes=declared.name)


def step_of(declared: VectorIndex) -> str:
    """The name of the step that brings an index up to date; a run that does nothing else has it, too."""
    return f"index {declared.name}"


def refresh(project: Project, lakehouse: Lakehouse, run: Run, *, folder: Path, indexes: Path) -> None:
    """Brings every declared table and vector index up to date.

    Args:
        folder: the project's folder, where relative paths of sources start.
        indexes: the folder of opened indexes.
    """
    known = [name.name for name in lakehouse.names()]
    declared = plan(project, lakehouse)
    for each in declared:
        if isinstance(each, Source):
            load(lakehouse, each, run, folder)
        elif isinstance(each, ArrivalTable):
            identify(lakehouse, each, run, moment=project.as_of)
        else:
            query = graph.query(each, {*known, *(other.name for other in declared)})
            assert query is not None  # plan() leaves out tables without a SELECT
            build(lakehouse, each, query, run)
    samples = sample_rows.of(project.config.folder)
    for index in project.all(VectorIndex):
        if samples is None or index.table.name not in samples.lacking:
            bring_up(lakehouse, index, run, cache=indexes)


def load(lakehouse: Lakehouse, declared: Source, run: Run, folder: Path) -> None:
    """One source: new files once, or what its function yields. What is new is told by the load itself, so it always runs."""

    def do(step: StepContext) -> LoadedSource:
        loaded = source.load(lakehouse, declared, folder)
        for note in loaded.notes:
            step.log(note)
        return LoadedSource(
            table=declared.name,
            version=loaded.version,
            rows=loaded.rows,
            files_new=loaded.files_new if declared.files else None,
            files_known=loaded.files_known if declared.files else None,
            notes=loaded.notes,
            widened=loaded.widened,
        )

    run.step(f"load {declared.name}", {"run": run.id}, do, output=LoadedSource)


def identify(lakehouse: Lakehouse, declared: ArrivalTable, run: Run, *, moment: datetime | None) -> None:
    """The rows of a source that has neither key nor time, each with a key and the moment when it arrived.

    Args:
        moment: what a project that replays the past calls now; None: the present.
    """
    source = lakehouse.snapshot(declared.source.name)

    def do(_: StepContext) -> BuiltTable:
        made = arrivals.build(lakehouse, declared, version=source.version, moment=moment or now())
        return _built(lakehouse, made)

    key: dict[str, Json] = {"table": repr(declared.identity), "inputs": {source.name: source.content}}
    run.step(f"build {declared.name}", key, do, output=BuiltTable, holds=lambda was: _stands(lakehouse, was))


def build(lakehouse: Lakehouse, declared: Table, query: Query, run: Run) -> None:
    """One table, from the versions that its inputs have now."""
    inputs = {name: lakehouse.snapshot(name) for name in query.inputs}

    def do(step: StepContext) -> BuiltTable:
        made = materialize(
            lakehouse,
            declared,
            id=step.key,
            versions={name: snapshot.version for name, snapshot in inputs.items()},
            stamp=now() if isinstance(declared, FeatureTable) else None,
        )
        counts = {"quarantined": made.quarantined, "repaired": made.repaired, "warned": made.warned}
        for action, reasons in counts.items():
            for reason, rows in reasons.items():
                step.log(f"{action} {rows:,} rows: {reason}")
        return _built(lakehouse, made)

    key = {
        "table": repr(declared.identity),
        "sql": query.normalized,
        "schema": repr(declared.schema),
        "expect": repr(declared.expect),
        "inputs": {name: snapshot.content for name, snapshot in inputs.items()},
    }
    run.step(f"build {declared.name}", key, do, output=BuiltTable, holds=lambda was: _stands(lakehouse, was))


def bring_up(lakehouse: Lakehouse, declared: VectorIndex, run: Run, *, cache: Path) -> None:
    """One vector index: what is new or changed in its table is embedded. The update itself finds that, so it always runs.

    Of the folders that searches are derived into, the two that were built last stay, and those that somebody has open.
    """

    def do(step: StepContext) -> UpdatedIndex:
        embeds = for_caller(embedder(declared), Caller(tags=CallTags(application=declared.name)))
        made = update(lakehouse, declared, embeds, id=step.key, cache=cache)
        for name in made.named:
            step.log(f"skipped {name}")
        opened = open_index(lakehouse, declared, cache=cache, embedder=embeds)
        prune(declared, cache=cache)
        return UpdatedIndex(
            index=declared.name,
            version=made.version,
            id=lakehouse.snapshot(declared.name).id,
            source_id=made.source_id,
            source_version=made.source_version,
            rows=made.rows,
            added=made.added,
            changed=made.changed,
            removed=made.removed,
            embedded=made.embedded,
            skipped=sum(made.skipped.values()),
            recall=recall(opened, k=10) if made.rows else None,
        )

    run.step(step_of(declared), {"run": run.id}, do, output=UpdatedIndex)


def _built(lakehouse: Lakehouse, made: Materialized) -> BuiltTable:
    return BuiltTable(
        table=made.table,
        version=made.version,
        id=lakehouse.snapshot(made.table).id,
        rows=made.rows,
        quarantined=made.quarantined,
        repaired=made.repaired,
        warned=made.warned,
        widened=made.widened,
    )


def _stands(lakehouse: Lakehouse, was: BuiltTable) -> bool:
    """Whether what a step wrote is still what is there: nobody restored, rewrote or removed the table since.

    A table that was dropped and made anew counts its versions from the beginning, so its own id is asked for too.
    """
    if not lakehouse.exists(was.table, own=True):
        return False
    there = lakehouse.snapshot(was.table)
    return (there.id, there.data_version) == (was.id, was.version)
