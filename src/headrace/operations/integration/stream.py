"""The step `stream NAME` of an integration test: a stream runs once, on topics of the test's own, and every message is predicted.

Where the stream reads a topic, the test sends it decisions of the spine. Nothing is read from or written to a declared topic.
"""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import DataError
from headrace.core.text import counted
from headrace.environments.keys import FILE
from headrace.features.plan import FeaturePlan
from headrace.features.rows import needed
from headrace.inference.streaming.declarations import Kafka
from headrace.lakehouse.identifiers import column, quoted
from headrace.operations.integration.topics import own_topics
from headrace.operations.operation import operation
from headrace.operations.publish import publish
from headrace.operations.stream import group_of, one_stream, run_stream, topic_of
from headrace.scoring.columns import ID
from headrace.serving.manifest import FILE as MANIFEST
from headrace.serving.manifest import PACKAGE, read_manifest, version_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.environments.config import Environment
    from headrace.environments.kafka import Topic
    from headrace.operations.operation import At
    from headrace.operations.stream import StreamReport
    from headrace.workspace.workspace import Workspace

DECISIONS = 200  # the most that a test sends
PATIENCE = 120.0  # seconds in which they are read


class SkippedError(Exception):
    """A step does not apply to this model."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What a stream reads and writes in a test.

    Attributes:
        environment: the temporary one.
        source: the topic that is read; None for a change feed.
        into: where predictions go: a table, or a topic.
        letters: where dead letters go.
        group: the consumer group, as declared.
    """

    environment: Environment
    source: Topic | None
    into: Topic | str
    letters: Topic | str
    group: str

    @property
    def topics(self) -> dict[str, list[str]]:
        """Cluster → topics, as declared."""
        found: dict[str, list[str]] = {}
        for end in (self.source, self.into, self.letters):
            if end is not None and not isinstance(end, str):
                found.setdefault(end.cluster.name, []).append(end.declared)
        return found

    @property
    def groups(self) -> dict[str, list[str]]:
        """Cluster → consumer groups, as declared."""
        return {} if self.source is None else {self.source.cluster.name: [self.group]}


def check_stream(at: At, name: str) -> str:
    """Runs the stream of a model once; returns what it did, on a line.

    Raises:
        SkippedError: it has a topic, and the environment declares no Kafka cluster.
        UnavailableError: no broker answers.
        RefusedError: a broker refuses to create topics.
        DataError: a message was not read, gave no prediction, or is a dead letter.
    """
    ends, looks_up = _opened(at, name)
    if looks_up:
        publish(at)
    with own_topics(ends.environment, ends.topics, ends.groups) if ends.topics else nullcontext():
        sent = None if ends.source is None else _send(at, name, ends.source)
        begun, until = now(), time.monotonic() + PATIENCE

        def stop() -> bool:
            return sent is not None and time.monotonic() > until

        done = run_stream(at, name, stop=stop, say=lambda _: None, once=True)
        _check(at, name, ends, done, sent, begun)
    return f"{counted(done.messages, 'message')}, {counted(done.predictions, 'prediction')}"


@operation("test integration", reads=True)
def _opened(workspace: Workspace, name: str) -> tuple[Ends, bool]:
    """The ends of a stream, and whether its model looks features up."""
    stream = one_stream(workspace.project, name).stream
    assert stream is not None
    environment = workspace.environment
    if not environment.kafka and any(isinstance(end, Kafka) for end in (stream.source, stream.into, stream.letters)):
        raise SkippedError(
            f"{environment.name} declares no Kafka cluster: [env.{environment.name}.kafka.main] in {FILE}, "
            'with bootstrap.servers = "host:9092"'
        )

    def end(declared: str | Kafka) -> Topic | str:
        return topic_of(workspace, declared) if isinstance(declared, Kafka) else declared

    return Ends(
        environment=environment,
        source=topic_of(workspace, stream.source) if isinstance(stream.source, Kafka) else None,
        into=end(stream.into),
        letters=end(stream.letters),
        group=group_of(workspace, name, stream),
    ), bool(_plan(workspace, name).lookups)


@operation("test integration", reads=True)
def _send(workspace: Workspace, name: str, topic: Topic) -> int:
    """Sends the latest decisions of the spine; returns how many.

    Raises:
        DataError: there is none.
    """
    from headrace.inference.streaming import own_topics

    plan = _plan(workspace, name)
    values = _messages(workspace, plan)
    if not values:
        raise DataError(f"{plan.spine!r} has no decision that could be sent.", hint="headrace run refresh")
    own_topics.send(topic, values)
    return len(values)


def _messages(workspace: Workspace, plan: FeaturePlan) -> list[bytes]:
    """Decisions as a stream's messages have them: JSON objects with the key, the moment and the columns that are needed."""
    columns = ", ".join(column(each) for each in needed(plan))
    known = dict.fromkeys((*plan.keys, plan.at))
    complete = " and ".join(f"{column(each)} is not null" for each in known)
    order = ", ".join(f"{column(each)} desc" for each in dict.fromkeys((plan.at, *plan.keys)))
    with workspace.lakehouse.connect({plan.spine: None}) as connection:
        rows = connection.sql(
            f"select {columns} from {quoted(plan.spine)} where {complete} order by {order} limit {DECISIONS}"
        ).to_arrow_table()
    numbers = {each.name for each in plan.inputs if each.kind == "number"}
    return [_message(row, numbers) for row in rows.to_pylist()]


def _message(row: dict[str, Any], numbers: set[str]) -> bytes:
    import orjson

    plain = {name: float(value) if name in numbers and value is not None else value for name, value in row.items()}
    return orjson.dumps(plain, default=str)


def _plan(workspace: Workspace, name: str) -> FeaturePlan:
    """Of the version in Production, from its copy for servers."""
    file = workspace.home(name) / MANIFEST
    package = version_folder(file, read_manifest(file)) / PACKAGE
    return FeaturePlan.from_json(json.loads((package / "spec.json").read_text(encoding="utf-8"))["plan"])


@operation("test integration", reads=True)
def _check(workspace: Workspace, name: str, ends: Ends, done: StreamReport, sent: int | None, begun: datetime) -> None:
    """Holds what a stream says, and what is where it writes, against what was sent."""
    if reasons := _reasons(workspace, ends.letters):
        raise DataError(f"{counted(len(reasons), 'message')} of {name} cannot be scored.", findings=reasons)
    if sent is not None and done.messages != sent:
        raise DataError(f"{name} read {done.messages:,} of {counted(sent, 'message')} in {PATIENCE:.0f} s.")
    ids = _written(workspace, ends.into, begun)
    if sent is not None:
        expected, came = sent, len(set(ids))  # decisions differ, and so do the ids of their predictions
    else:
        expected, came = done.predictions if not isinstance(ends.into, str) else min(1, done.predictions), len(ids)
    if done.predictions != done.messages or came < expected:
        raise DataError(
            f"{counted(done.messages, 'message')} of {name} gave {counted(done.predictions, 'prediction')}, "
            f"of which {came:,} came to {ends.into}."
        )


def _reasons(workspace: Workspace, letters: Topic | str) -> Sequence[str]:
    """Why messages are dead letters."""
    if isinstance(letters, str):
        if not workspace.lakehouse.exists(letters, own=True):
            return []
        with workspace.lakehouse.connect({letters: None}) as connection:
            found = connection.sql(f'select reason from {quoted(letters)} order by "offset"').fetchall()
        return [str(reason) for (reason,) in found]
    from headrace.inference.streaming import own_topics

    headers = [dict(each.headers() or ()) for each in own_topics.read(letters)]
    reasons = [each.get("reason") or b"" for each in headers]
    return [each.decode(errors="replace") if isinstance(each, bytes) else each for each in reasons]


def _written(workspace: Workspace, into: Topic | str, begun: datetime) -> Sequence[object]:
    """The ids of the predictions that came."""
    if not isinstance(into, str):
        from headrace.inference.streaming import own_topics

        return [each.key() for each in own_topics.read(into)]
    if not workspace.lakehouse.exists(into, own=True):
        return []
    with workspace.lakehouse.connect({into: None}) as connection:
        found = connection.execute(f"select {column(ID)} from {quoted(into)} where scored_at >= ?", [begun]).fetchall()
    return [each for (each,) in found]
