"""The loop: a micro-batch is read, scored, written and acknowledged; then the next one.

Dead letters are written before predictions, and predictions before the source is acknowledged. So a worker that dies
leaves nothing that counts as read but is not written. The next worker finds what was written by its transaction or its
key: predictions into Delta begin where the last ones ended, and an existing dead letter remains one.

The worker processes one batch at a time. While it cannot be written, the partitions are paused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import ConflictError, MovedError, UnavailableError
from headrace.core.failpoints import reach
from headrace.inference.streaming.requests import letters_table, score

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.inference.streaming.requests import AtWork, Scored
    from headrace.inference.streaming.sinks.base import Sink
    from headrace.inference.streaming.sources.base import Batch, MessageSource
    from headrace.inference.streaming.worker_status import WorkerStatus

WAIT = 1.0  # seconds between attempts to write


def positions(
    sink: Sink, letters: Sink, settled: set[tuple[int, int]]
) -> Callable[[Sequence[int]], dict[int, int | None]]:
    """Where a source begins: where the predictions end. Also fills `settled`: dead letters that are ahead of them."""

    def ask(partitions: Sequence[int]) -> dict[int, int | None]:
        letters.positions(partitions)
        found = sink.positions(partitions)
        settled.clear()
        settled.update(letters.settled({each: start or 0 for each, start in found.items()}))
        return found

    return ask


def run(
    model: str,
    source: MessageSource,
    sink: Sink,
    letters: Sink,
    *,
    settled: set[tuple[int, int]],
    follow: Callable[[], AtWork | None],
    telling: WorkerStatus,
    stop: Callable[[], bool],
    once: bool = False,
) -> None:
    """Scores messages until it is told to stop, or, with `once`, what is there now.

    Args:
        model: its name.
        source: of messages.
        sink: of predictions.
        letters: of dead letters.
        settled: partition and offset of messages that are dead letters already.
        follow: the version in Production; None while there is none.
        telling: what others see of it.
        stop: asked between batches.
        once: ends when the source is at its end; what cannot be done now is an error then.

    Raises:
        UnavailableError, ConflictError: with `once`, as they come.
        DataError: the source lost messages, or the version fails on all of them.
    """
    at_work: AtWork | None = None
    batch: Batch | None = None
    while not stop():
        at_work = follow() or at_work
        if at_work is not None and batch is None:
            batch = source.poll()
            at_work = follow() or at_work  # a version that came while messages were waited for
        try:
            if at_work is None:
                _nobody(model)
            elif batch is not None:
                reach(f"stream.polled:{model}")
                messages = batch.messages
                if settled:
                    messages = [each for each in messages if (each.partition, each.offset) not in settled]
                scored = score(at_work, messages)
                scored = _write(model, source, sink, letters, batch, scored)
                telling.wrote(batch, scored, at_work.version.number, source.lag())
                batch = None
            elif once and source.at_end():
                return
            else:
                telling.idle(source.lag())
        except MovedError as error:
            telling.rewound(error.what)
            source.rewind()
            batch = None
        except (UnavailableError, ConflictError) as error:
            if once:
                raise
            telling.waits(error.what)
            if not source.hold(WAIT):  # other partitions by now: whoever has those of the batch reads them again
                batch = None


def _nobody(model: str) -> None:
    raise UnavailableError(f"{model} has no version in Production.", hint="headrace run deploy")


def _write(model: str, source: MessageSource, sink: Sink, letters: Sink, batch: Batch, scored: Scored) -> Scored:
    """Gives what became of the messages: a prediction that the sink will never take is a dead letter after all."""
    if scored.letters:
        letters.write(letters_table(model, source.topic, scored.letters), batch.ends)
        reach(f"stream.refused:{model}")
    if refused := sink.write(scored.predictions, batch.ends):
        scored, late = scored.without(refused)
        letters.write(letters_table(model, source.topic, late), batch.ends)
    reach(f"stream.written:{model}")
    source.done(batch)
    reach(f"stream.done:{model}")
    return scored
