"""Score: decisions, cut into partitions, through a version to where predictions go; then quality where labels are known."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from headrace.core.clock import instant
from headrace.core.errors import DeclarationError, NotFoundError, RefusedError, UnavailableError
from headrace.inference import batch, input_rows, partitions
from headrace.inference.destinations.delta import DeltaTable
from headrace.inference.destinations.opening import destination
from headrace.inference.engines.chained import Chained
from headrace.inference.engines.local import Local
from headrace.inference.production_intervals import ProductionInterval, in_production
from headrace.inference.progress import Meter
from headrace.inference.row_arrivals import FirstMoments
from headrace.monitoring import quality
from headrace.monitoring.declarations import UNDECLARED, Monitor
from headrace.pipelines.answer_traces import keeps_texts, trace_scored
from headrace.pipelines.outputs.score import DecisionsWithoutVersion, MeasuredQuality, NothingToScore, ScoredPartition
from headrace.pipelines.planned_step import PlannedStep
from headrace.scoring.columns import check_predictions
from headrace.scoring.version import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.environments.config import Environment
    from headrace.inference.declarations import Into
    from headrace.inference.destinations.base import Destination
    from headrace.inference.engines.base import ScoringEngine
    from headrace.inference.input_rows import InputRows
    from headrace.inference.partitions import Partition
    from headrace.inference.progress import Progress
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.declarations import Source
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Version
    from headrace.registry.registry import Registry
    from headrace.scoring.version import LoadedVersion
    from headrace.tracking.tracking import Tracking

THEN = "then"
ANSWERS = 100  # rows of a partition of a model that is paid by the answer: a run that is killed asks for no more again
LOGGED = 10.0  # seconds between two lines of progress in the log


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """What is to be scored, by what, and where it goes.

    Attributes:
        version: of the model; `"then"`: the one that was in Production at each decision's moment; None: the one that is,
            or, where that is no must, while none is, the newest that is not archived.
        production: whether a version that is not named is the one in Production and no other.
        since: first moment; default: the version's training moment, the first one of rows that are given.
        until: first moment that is left out; default: `as_of`, behind the last one of rows that are given.
        source: a table or a file with rows to score instead of the spine.
        query: a SELECT that gives them.
        latest: features as of now instead of each decision's own moment.
        into: where predictions go; default: as declared.
        processes: that predict; default: as declared.
        engine: what predicts.
        like: the sources of the spine: a file of rows means by its texts what theirs mean.
    """

    version: int | Literal["then"] | None = None
    production: bool = False
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    query: str | None = None
    latest: bool = False
    into: tuple[Into, ...] | None = None
    processes: int | None = None
    engine: Literal["local", "spark"] = "local"
    like: tuple[Source, ...] = ()

    @property
    def of_spine(self) -> bool:
        """Whether the spine's own decisions are scored, each as of its moment."""
        return self.source is None and self.query is None and not self.latest


@dataclass(frozen=True, kw_only=True)
class Work:
    """The partitions of one stretch of time, and what they need."""

    version: Version
    loaded: LoadedVersion
    rows: InputRows
    versions: dict[str, int]
    basis: dict[str, Json]
    partitions: tuple[Partition, ...]


def outline(deployment: Deployment) -> list[PlannedStep]:
    """What a scoring run does, for a dry run."""
    model, score = deployment.model, deployment.score
    read = f"{score.table}, {model.task.label.table.name}" if score.tables else ""
    measured = PlannedStep(step="quality", reads=read, writes=quality.TABLE)
    return [
        PlannedStep(
            step=f"score <{ {'1mo': 'month', '1d': 'day', '1h': 'hour'}[score.partition] }>",
            reads=f"{model.decisions.table.name} and the model's feature tables",
            writes=", ".join(map(str, score.destinations)),
        ),
        *([] if deployment.monitor or not score.tables else [measured]),
    ]


def score(
    lakehouse: Lakehouse,
    tracking: Tracking,
    registry: Registry,
    run: Run,
    deployment: Deployment,
    asked: ScoringRequest,
    *,
    environment: Environment,
    as_of: datetime,
    progress: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Scores, a step a partition, and measures what can be measured at `as_of`."""
    with ExitStack() as held:
        planner = _Planner(lakehouse, tracking, registry, deployment, asked, environment.sample, as_of, held)
        works = planner.works()
        if planner.left_out:
            run.step(
                "decisions without a version",
                {"run": run.id},
                lambda _: planner.skipped(),
                output=DecisionsWithoutVersion,
            )
        elif not any(work.partitions for work in works):
            run.step("score", {"run": run.id}, lambda _: planner.nothing(), output=NothingToScore)
        meter = Meter(sum(each.rows for work in works for each in work.partitions), progress)
        declared = asked.into or deployment.score.destinations
        into = [destination(each, lakehouse, environment) for each in declared]
        for each in into:
            held.callback(each.close)
        engine, trace = _engine(asked, deployment, environment), trace_scored(tracking, deployment, environment.name)
        held.callback(engine.close)
        for work in works:
            for partition in work.partitions:
                _step(
                    lakehouse,
                    run,
                    work,
                    partition,
                    engine=engine,
                    into=into,
                    meter=meter,
                    sample=planner.sample,
                    trace=trace,
                )
    if (
        deployment.monitor is None and asked.of_spine and asked.into is None and deployment.score.tables
    ):  # otherwise monitoring measures
        for version in {work.version.version: work.version for work in works}.values():
            measure(lakehouse, run, deployment, version, as_of=as_of)


def _step(
    lakehouse: Lakehouse,
    run: Run,
    work: Work,
    partition: Partition,
    *,
    engine: ScoringEngine,
    into: Sequence[Destination],
    meter: Meter,
    sample: float,
    trace: Callable[[pa.Table, int], int] | None,
) -> None:
    again = any(isinstance(each, DeltaTable) for each in into)  # such a table has the answers, which cost nothing again

    def do(step: StepContext) -> ScoredPartition:
        began = logged = time.monotonic()
        traces, untraced = 0, ""

        def scored(rows: int) -> None:
            nonlocal logged
            meter.add(rows)
            if time.monotonic() - logged > LOGGED:
                logged = time.monotonic()
                step.log(str(meter.now()))

        def made(records: pa.Table) -> None:
            nonlocal traces, untraced
            if trace is not None:
                try:
                    traces = trace(records, work.version.version)
                except UnavailableError as error:
                    untraced = f"the answers have no traces: {error.what}"

        rows, written = batch.score(
            lakehouse,
            work.loaded,
            partition,
            decisions=work.rows.decisions,
            versions=work.versions,
            engine=engine,
            into=into,
            fitted=work.version.fitted,
            id=step.key,
            sample=sample,
            scored=scored,
            made=made,
        )
        speed = rows / max(time.monotonic() - began, 1e-3)
        return ScoredPartition(
            table=into[0].name,
            version=next((each.version for each in written if each.version is not None), None),
            rows=rows,
            identity=[each.identity() for each in into],
            written=[each.rows for each in written],
            rows_per_second=round(speed),
            notes=[*work.rows.notes, *([untraced] if untraced else [])],
            traces=traces,
            untraced=bool(untraced),
        )

    outcome = run.step(
        f"score {partition.name} by version {work.version.version}",
        {
            **work.basis,
            "into": [each.name for each in into],
            "from": partition.since.isoformat(),
            "to": partition.until.isoformat(),
            "part": list(partition.part),
        },
        do,
        output=ScoredPartition,
        holds=lambda was: (
            (was.rows == 0 or was.identity == [each.identity() for each in into]) and not (was.untraced and again)
        ),
    )
    if outcome.state == "unchanged":
        meter.skip(partition.rows)


def _engine(asked: ScoringRequest, deployment: Deployment, environment: Environment) -> ScoringEngine:
    if deployment.model.predict is not None:
        if asked.engine == "spark":
            raise DeclarationError(
                f"model {deployment.name!r} answers over routes of this environment, which executors of Spark do not have.",
                hint="Leave out --engine spark: its answers take little of this machine.",
            )
        return Chained(asked.processes or deployment.score.processes)
    if asked.engine == "spark":
        from headrace.inference.engines.spark import Spark

        return Spark(environment.spark_url)
    return Local(asked.processes or deployment.score.processes)


@dataclass
class _Planner:
    """Finds out which rows are scored by which version, before anything is scored. Versions are loaded while `held` is."""

    lakehouse: Lakehouse
    tracking: Tracking
    registry: Registry
    deployment: Deployment
    asked: ScoringRequest
    share: float
    as_of: datetime
    held: ExitStack
    left_out: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def sample(self) -> float:
        """The share of the decisions; of rows that are given, all."""
        return self.share if self.asked.source is None and self.asked.query is None else 1.0

    def works(self) -> list[Work]:
        """In order of time."""
        model = self.deployment.model.name
        if self.asked.version != THEN:
            chosen = choose(self.registry, model, self.asked.version, production=self.asked.production)
            work = self._work(chosen)
            since, until = self._span(chosen, work)
            return [self._cut(work, since, until)]
        history = self.registry.history(model) if model in self.registry.models() else []
        promoted = [change for change in history if change.stage == "Production"]
        if not promoted:
            raise NotFoundError(
                "version that was in Production of model", model, (), hint="Give --version N, or: headrace run deploy"
            )
        works = {change.version: self._work(self.registry.get(model, change.version)) for change in promoted}
        since, until = self._span(self.registry.get(model, promoted[0].version), works[promoted[0].version])
        found: list[Work] = []
        for stretch in in_production(history, since=since, until=until):
            if stretch.version is None:
                self._leave_out(works[promoted[0].version], stretch)
            else:
                found.append(self._cut(works[stretch.version], stretch.since, stretch.until))
        return found

    def skipped(self) -> DecisionsWithoutVersion:
        """Decisions of times when nothing was in Production."""
        return DecisionsWithoutVersion(left_out=self.left_out)

    def nothing(self) -> NothingToScore:
        """Where decisions were looked for."""
        since, until = (None if each is None else each.isoformat() for each in (self.first, self.last))
        return NothingToScore(since=since, until=until)

    def _work(self, chosen: Version) -> Work:
        model = self.deployment.model.name
        opened = load(
            self.tracking, chosen.model_uri, model=model, number=chosen.version, artifact_hash=chosen.artifact_hash
        )
        loaded = self.held.enter_context(opened)
        if loaded.chain is not None:
            loaded.chain.texts = keeps_texts(self.deployment)
        rows = self._rows(loaded)
        snapshots = {each.table: self.lakehouse.snapshot(each.table) for each in loaded.plan.lookups}
        basis: dict[str, Json] = {
            "version": chosen.version,
            "artifact": chosen.artifact_hash,
            "sample": self.sample,
            "rows": dict(rows.identity),
            "inputs": {name: each.content for name, each in snapshots.items()},
        }
        return Work(
            version=chosen,
            loaded=loaded,
            rows=rows,
            versions={name: each.version for name, each in snapshots.items()},
            basis=basis,
            partitions=(),
        )

    def _rows(self, loaded: LoadedVersion) -> InputRows:
        plan, latest = loaded.plan, self.as_of if self.asked.latest else None
        texts = [] if loaded.chain is None else [each.name for each in plan.inputs]
        declared = self.asked.into or self.deployment.score.destinations
        first_moments = FirstMoments(
            lakehouse=self.lakehouse,
            tables=tuple(each for each in declared if isinstance(each, str)),
            model=loaded.model,
        )
        if self.asked.query is not None:
            return input_rows.query(
                self.lakehouse, plan, self.asked.query, latest=latest, texts=texts, first_moments=first_moments
            )
        if self.asked.source is not None or latest is not None:
            return input_rows.rows(
                self.lakehouse,
                plan,
                self.asked.source or plan.spine,
                latest=latest,
                like=self.asked.like,
                texts=texts,
                first_moments=first_moments,
            )
        return input_rows.spine(self.lakehouse, plan)

    def _span(self, chosen: Version, work: Work) -> tuple[datetime, datetime]:
        since, until = self.asked.since, self.asked.until
        if not self.asked.of_spine:
            found = partitions.span(self.lakehouse, work.loaded.plan, work.rows.decisions)
            if found is None:
                return self.as_of, self.as_of
            self.first, self.last = since or found[0], until or found[1]
        else:
            self.first, self.last = since or instant(chosen.as_of), until or self.as_of
        return self.first, self.last

    def _hours(self, work: Work, since: datetime, until: datetime) -> list[partitions.Hour]:
        if since >= until:
            return []
        return partitions.hours(
            self.lakehouse, work.loaded.plan, work.rows.decisions, since=since, until=until, sample=self.sample
        )

    def _cut(self, work: Work, since: datetime, until: datetime) -> Work:
        declared = self.deployment.score
        found = self._hours(work, since, until)
        most = declared.rows if work.loaded.chain is None else min(declared.rows, ANSWERS)
        cut = partitions.cut(found, since=since, until=until, every=declared.partition, most=most)
        return replace(work, partitions=tuple(cut))

    def _leave_out(self, work: Work, stretch: ProductionInterval) -> None:
        self.left_out += sum(rows for _, rows in self._hours(work, stretch.since, stretch.until))


def measure(lakehouse: Lakehouse, run: Run, deployment: Deployment, chosen: Version, *, as_of: datetime) -> None:
    """The last step: realised quality by window, where predictions or labels are new."""
    model, into = deployment.model, deployment.score.table
    monitor = deployment.monitor or Monitor(window=UNDECLARED)

    def do(step: StepContext) -> MeasuredQuality:
        found = quality.measure(
            lakehouse,
            model,
            into,
            version=chosen.version,
            as_of=as_of,
            granularity=monitor.window,
            min_rows=monitor.min_rows,
            slices=monitor.slices,
            fitted=chosen.fitted,
            id=step.key,
        )
        log_labels(step, found)
        return MeasuredQuality(
            months=[window.to_json() for window in found.windows],
            metric=model.metrics[0],
            values=[each.value(model.metrics[0]).value for each in found.changed],
            reopened=sum(each.reopened for each in found.changed),
        )

    if lakehouse.exists(into, own=True):
        check_predictions(into, lakehouse.snapshot(into).schema.names)
        key: dict[str, Json] = {
            "version": chosen.version,
            "inputs": {name: lakehouse.snapshot(name).content for name in (into, model.task.label.table.name)},
            "as_of": as_of.isoformat(),
            "metrics": list(model.metrics),
            "monitor": repr(monitor),
        }
        run.step(f"quality of version {chosen.version}", key, do, output=MeasuredQuality)


def log_labels(step: StepContext, found: quality.Report) -> None:
    """Labels that do not count, in the log of the step."""
    apart = found.not_counted
    if apart.unknown:
        step.log(f"{apart.unknown:,} labels are of decisions that nobody predicted")
    if apart.replaced:
        step.log(f"{apart.replaced:,} labels were replaced by a later one of the same decision")
    if apart.not_yet:
        step.log(f"{apart.not_yet:,} labels are of a later time and do not exist yet")


def choose(registry: Registry, model: str, version: int | None, *, production: bool) -> Version:
    """The version asked for; otherwise the one in Production; otherwise, where that is no must, the newest that is not archived one.

    Raises:
        NotFoundError: there is none.
        RefusedError: none is in Production, and no other may be taken.
    """
    if version is not None:
        return registry.get(model, version)
    versions = registry.versions(model)
    current = registry.current(model, "Production")
    if current is None and production:
        raise RefusedError(
            f"no version of {model} is in Production, and here no other one scores: gates are declared.",
            hint=f"headrace run deploy --model {model} brings one through them.",
        )
    active = [each for each in versions if each.stage != "Archived"]
    if current is None and not active:
        raise NotFoundError(
            "active version of model", model, None, hint="All were archived. Train another: headrace run train"
        )
    return current or active[-1]
