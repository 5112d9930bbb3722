"""Assembles a stream of an environment: its source and sinks, and the version that `serving.json` names."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, DeclarationError, HeadraceError, MissingExtraError, NotFoundError
from headrace.deployment.declarations import Deployment
from headrace.inference.streaming.declarations import ChangeFeed, Kafka
from headrace.operations.in_use import at_work
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.environments.kafka import Topic
    from headrace.environments.project import Project
    from headrace.inference.records import ByColumn
    from headrace.inference.streaming.declarations import Stream
    from headrace.inference.streaming.requests import AtWork
    from headrace.inference.streaming.sinks.base import Sink
    from headrace.inference.streaming.sources.base import MessageSource, Positions
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StreamReport(Record):
    """What a worker of a stream did.

    Attributes:
        model: its name.
        version: that predicted last; None before the first prediction.
        batches: micro-batches that were written.
        messages: that were read.
        predictions: that were written.
        dead_letters: messages that could not be scored.
        rewinds: micro-batches that another worker had taken over.
        lag: messages that wait.
    """

    model: str
    version: int | None
    batches: int
    messages: int
    predictions: int
    dead_letters: int
    rewinds: int
    lag: int


@operation("run stream", of="name")
def run_stream(
    workspace: Workspace,
    name: str | None = None,
    *,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    once: bool = False,
    accept_loss: bool = False,
    partitions: Sequence[int] | None = None,
    metrics: tuple[str, int] | None = None,
) -> StreamReport:
    """Runs the stream of one model until it is told to stop; gives its figures.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a stream.
        stop: asked between micro-batches.
        say: told what a person may want to know.
        once: what is there now, then ends.
        accept_loss: goes on where messages are gone.
        partitions: of the topic, that this worker reads whoever else does; default: its share of the group's.
        metrics: host and port of `/metrics`.

    Raises:
        DeclarationError: the model has no stream, or several have and none is named.
        NotFoundError: there is no such model, topic, table or cluster.
        UnavailableError: no broker answers.
        DataError: messages are gone, or the version fails on all.
    """
    from headrace.inference.streaming import loop, worker_status

    deployment = one_stream(workspace.project, name)
    stream, model = deployment.stream, deployment.name
    assert stream is not None
    folder = workspace.environment.root / "streams" / model
    settled: set[tuple[int, int]] = set()
    with ExitStack() as held:
        held.enter_context(at_work(workspace))
        opened = _Opened(workspace, model, stream, folder, say, accept_loss, partitions)
        source, sink, letters = opened.parts(held, settled)
        told = worker_status.WorkerStatus(worker_status.Figures(model=model, source=source.name), folder, say)
        held.callback(told.end)
        if metrics is not None:
            say(f"metrics: http://{metrics[0]}:{told.listen(*metrics)}/metrics")
        say(f"{stream.source} → {stream.into}; dead letters: {stream.letters}")
        loop.run(
            model,
            source,
            sink,
            letters,
            settled=settled,
            follow=Following(workspace, model, say),
            telling=told,
            stop=stop,
            once=once,
        )
        figures = told.figures
    return StreamReport(
        model=model,
        version=figures.version or None,
        batches=figures.batches,
        messages=figures.messages,
        predictions=figures.predictions,
        dead_letters=figures.dead_letters,
        rewinds=figures.rewinds,
        lag=sum(figures.lag.values()),
    )


def one_stream(project: Project, name: str | None) -> Deployment:
    """The deployment of a model that has a stream.

    Raises:
        NotFoundError: there is no such model.
        DeclarationError: it has no stream; or none is named, and there is not exactly one.
    """
    declared = project.all(Deployment)
    streams = [each.name for each in declared if each.stream is not None]
    hint = 'hr.Deployment(…, stream=hr.Stream(source=hr.kafka("topic"), into="gold.predictions"))'
    if name is None:
        if len(streams) == 1:
            return project.find(Deployment, streams[0])
        if streams:
            raise DeclarationError(
                f"{len(streams)} models have a stream: which one?",
                hint=f"headrace run stream --model {streams[0]}, or {', '.join(streams[1:])}",
            )
        raise DeclarationError("no model has a stream.", hint=hint)
    found = project.find(Deployment, name)
    if found.stream is None:
        raise DeclarationError(f"{found.where}: {name} has no stream.", hint=hint)
    return found


def topic_of(workspace: Workspace, declared: Kafka) -> Topic:
    """The topic that stands for a declared one in an environment.

    Raises:
        NotFoundError: the environment has no such cluster.
        ConfigError: a secret's environment variable is not set.
    """
    return workspace.environment.cluster(declared.cluster).topic(declared.topic)


def group_of(workspace: Workspace, model: str, stream: Stream) -> str:
    """The consumer group of a stream, as declared; its cluster says what it is called there."""
    return stream.group or f"headrace.{workspace.config.name}.{workspace.environment.name}.{model}"


class Following:
    """The version that `serving.json` names, loaded when the file changes; what does not load leaves the last one at work."""

    def __init__(self, workspace: Workspace, model: str, say: Callable[[str], None]) -> None:
        self._workspace, self._model, self._say = workspace, model, say
        self._file = workspace.home(model) / "serving.json"
        self._seen: tuple[int, int] | None = None
        self._at_work: AtWork | None = None

    def __call__(self) -> AtWork | None:
        """See above; None before there was one."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return self._at_work
        mark = found.st_ino, found.st_mtime_ns
        if mark != self._seen:
            self._seen = mark
            try:
                self._at_work = _load(self._workspace, self._file)
            except Exception as error:  # noqa: BLE001  # whatever a package holds, the version at work stays
                said = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
                self._say(f"not followed: {said}")
        return self._at_work


def _load(workspace: Workspace, file: Path) -> AtWork:
    from headrace.features.online.rows import OnlineFeatures
    from headrace.inference.streaming.requests import AtWork
    from headrace.scoring.predictor import PackagePredictor
    from headrace.scoring.version import LoadedVersion
    from headrace.serving.codec import BadRequestError, Codec
    from headrace.serving.manifest import PACKAGE, read_manifest, version_folder

    manifest = read_manifest(file)
    version = LoadedVersion(
        manifest.model, manifest.primary.version, PackagePredictor(version_folder(file, manifest) / PACKAGE)
    )
    plan = version.plan
    codec = Codec(plan.inputs)

    def check(rows: list[list[object]]) -> None:
        try:
            codec.check(rows)
        except BadRequestError as error:
            raise DataError(str(error)) from None

    schema = workspace.lakehouse.snapshot(plan.spine).schema
    types = {name: schema.field(name).type for name in (*plan.keys, plan.at)}
    features = OnlineFeatures(workspace.online, plan)
    fitted = workspace.registry.get(manifest.model, manifest.primary.version).fitted
    return AtWork(
        version=version,
        features=features,
        check=check,
        types=types,
        fitted=fitted,
        by_column=_by_column(version_folder(file, manifest)),
    )


def _by_column(folder: Path) -> ByColumn | None:
    """The way by column of a version, where it gives what the version's samples were answered with, to the last bit."""
    from headrace.serving.manifest import PARITY, read_parity
    from headrace.serving.predictors.choose import compare_by_column
    from headrace.serving.predictors.native import Native

    try:
        native = Native(folder)
        compare_by_column(native, read_parity(folder / PARITY))
    except Exception:  # noqa: BLE001  # whatever a library says of a model: then it predicts as it did when it was evaluated
        return None
    return native.by_column


class _Opened:
    """Source and sinks, as declared."""

    def __init__(
        self,
        workspace: Workspace,
        model: str,
        stream: Stream,
        folder: Path,
        say: Callable[[str], None],
        accept_loss: bool,
        partitions: Sequence[int] | None,
    ) -> None:
        try:
            import orjson  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ModuleNotFoundError:
            raise MissingExtraError("orjson", "serve", "Streaming") from None
        self.workspace, self.model, self.stream = workspace, model, stream
        self.folder, self.say, self.accept_loss, self.partitions = folder, say, accept_loss, partitions

    def parts(self, held: ExitStack, settled: set[tuple[int, int]]) -> tuple[MessageSource, Sink, Sink]:
        """The source, the sink of predictions and that of dead letters; closed in the reverse order."""
        from headrace.inference.streaming.loop import positions
        from headrace.inference.streaming.sinks.base import LETTER
        from headrace.scoring.columns import AT, ID

        letters = self.sink(self.stream.letters, LETTER, "offset")
        held.callback(letters.close)
        sink = self.sink(self.stream.into, (ID,), AT)
        held.callback(sink.close)
        source = self.source(positions(sink, letters, settled) if sink.keeps_positions else None)
        held.callback(source.close)
        return source, sink, letters

    def source(self, positions: Positions | None) -> MessageSource:
        """The declared one."""
        declared = self.stream.source
        if isinstance(declared, ChangeFeed):
            from headrace.inference.streaming.sources.change_feed import ChangeFeedSource

            return ChangeFeedSource(
                self.workspace.lakehouse,
                declared.table,
                positions=positions,
                memory=self.folder / "position",
                max_messages=self.stream.max_messages,
                tell=self.say,
                accept_loss=self.accept_loss,
            )
        from headrace.inference.streaming import clients

        topic = topic_of(self.workspace, declared)
        consumer = clients.consumer(topic.cluster, self.group)
        count = clients.check_topic(consumer, topic)
        for each in self.partitions or ():
            if not 0 <= each < count:
                raise NotFoundError(f"partition of {topic},", str(each), map(str, range(count)))
        from headrace.inference.streaming.sources.kafka import KafkaSource

        return KafkaSource(
            consumer,
            topic=topic,
            positions=positions,
            max_messages=self.stream.max_messages,
            max_bytes=self.stream.max_bytes,
            max_wait=self.stream.wait,
            accept_loss=self.accept_loss,
            partitions=self.partitions,
        )

    def sink(self, where: str | Kafka, key: tuple[str, ...], within: str) -> Sink:
        """A table or a topic."""
        if isinstance(where, Kafka):
            from headrace.inference.streaming import clients

            topic = topic_of(self.workspace, where)
            producer = clients.producer(topic.cluster)
            clients.check_topic(producer, topic)
            from headrace.inference.streaming.sinks.kafka import KafkaSink

            return KafkaSink(producer, topic, key=key)
        from headrace.inference.streaming.sinks.delta import DeltaSink

        return DeltaSink(self.workspace.lakehouse, where, stream=self.identity, key=key, within=within)

    @property
    def group(self) -> str:
        """The consumer group, as declared."""
        return group_of(self.workspace, self.model, self.stream)

    @property
    def identity(self) -> str:
        """Under what a table keeps how far the stream has come: the model, and where its messages come from."""
        declared = self.stream.source
        if isinstance(declared, ChangeFeed):
            return (
                f"stream {self.model} changes {declared.table}/{self.workspace.lakehouse.snapshot(declared.table).id}"
            )
        topic = topic_of(self.workspace, declared)
        return f"stream {self.model} kafka {topic.cluster.name}/{topic.name}"
