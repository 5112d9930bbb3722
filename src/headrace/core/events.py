"""The transactional outbox: an event is written in the commit of the change that it reports, and delivered afterwards.

Every channel gets every event at least once, in order, until the channel accepts it. A channel that fails is tried
again later, and does not delay other channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, Index, Integer, MetaData, String, Table, Text, func, insert, select, update

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.ids import Json
    from headrace.core.state import State

metadata = MetaData()
NEWS = timedelta(days=1)
PROJECTIONS = ("mlflow", "serving")  # of all that happened, from the beginning
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)

EVENTS = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)
CHANNELS = Table(
    "event_channels",
    metadata,
    Column("channel", String(100), primary_key=True),
    Column("delivered", Integer, nullable=False),  # the last event that it took
    Column("attempts", Integer, nullable=False),  # at the next one
    Column("again", Instant),
    Column("error", Text),
)
Index("events_by_name", EVENTS.c.name, EVENTS.c.id)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        id: rises with time.
        name: `stage.changed`, `alert.opened`…
        subject: what it is about: `arrival_delay/1`.
    """

    id: int
    name: str
    subject: str
    payload: Mapping[str, Json]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DeliveryFailure:
    """A channel that did not take its next event."""

    channel: str
    event: Event
    attempts: int
    error: str
    again: datetime


def publish(connection: Connection, name: str, subject: str, payload: Mapping[str, Json]) -> None:
    """Writes an event in the caller's transaction, which `State.begin` opened: one writer at a time, so that ids rise in
    the order of the commits, and no channel comes past an event that is not there yet.
    """
    connection.execute(insert(EVENTS).values(name=name, subject=subject, payload=dict(payload), at=now()))


class Outbox:
    """Events of one state database, and how far each channel has come."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(EVENTS, CHANNELS)

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events with a larger id, oldest first."""
        wanted = select(EVENTS).where(EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit)
        with self.state.read() as connection:
            return [Event(**dict(row)) for row in connection.execute(wanted).mappings()]

    def deliver(
        self, channels: Mapping[str, Callable[[Event], None]], *, patient: bool = True
    ) -> list[DeliveryFailure]:
        """Hands each channel the events that it has not taken yet. Channels must not mind getting one twice.

        Args:
            channels: name → what takes an event; it raises when it cannot.
            patient: leave a channel that failed alone until its time has come.

        Returns:
            One entry for each channel that still has something to take.
        """
        return [
            trouble
            for channel, take in channels.items()
            if (trouble := self._deliver(channel, take, patient=patient)) is not None
        ]

    def stuck(self) -> dict[str, str]:
        """Channel → why it did not take its next event, for those that failed the last time."""
        failed = select(CHANNELS.c.channel, CHANNELS.c.error).where(CHANNELS.c.attempts > 0)
        with self.state.read() as connection:
            return {row.channel: row.error or "" for row in connection.execute(failed)}

    def _deliver(self, channel: str, take: Callable[[Event], None], *, patient: bool) -> DeliveryFailure | None:
        known = self._known(channel)
        while events := self.events(after=known["delivered"]):
            for event in events:
                if event.id <= known["delivered"]:  # another dispatcher was faster
                    continue
                if patient and known["again"] is not None and known["again"] > now():
                    told = {name: known[name] for name in ("attempts", "error", "again")}
                    return DeliveryFailure(channel=channel, event=event, **told)
                if (trouble := self._hand(channel, take, event, known["attempts"] + 1)) is not None:
                    return trouble
                known = self._known(channel)
        return None

    def _hand(self, channel: str, take: Callable[[Event], None], event: Event, attempts: int) -> DeliveryFailure | None:
        """One event to one channel."""
        try:
            take(event)
        except Exception as error:  # noqa: BLE001  # whatever a channel's far side does, the event stays
            again = now() + min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
            text = (str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}")[:2000]
            self._note(channel, event, attempts=attempts, again=again, error=text)
            return DeliveryFailure(channel=channel, event=event, attempts=attempts, error=text, again=again)
        self._note(channel, event, delivered=event.id, attempts=0, again=None, error=None)
        return None

    def _known(self, channel: str) -> dict[str, Any]:
        with self.state.read() as connection:
            row = connection.execute(select(CHANNELS).where(CHANNELS.c.channel == channel)).mappings().first()
            if row:
                return dict(row)
            return {"delivered": _before(connection, channel), "attempts": 0, "again": None, "error": None}

    def _note(self, channel: str, event: Event, **values: object) -> None:
        """What came of an event, unless another dispatcher has come past it."""
        mine = CHANNELS.c.channel == channel
        with self.state.begin() as connection:
            known = connection.execute(select(CHANNELS.c.delivered).where(mine)).scalar()
            if known is None:
                new = {"delivered": _before(connection, channel), "attempts": 0, **values}
                connection.execute(insert(CHANNELS).values(channel=channel, **new))
            elif known < event.id:
                connection.execute(update(CHANNELS).where(mine).values(**values))


def is_projection(channel: str) -> bool:
    """Whether it is one of Headrace's own, `mlflow` or `serving on ann-laptop 1f0c…`: what was done is not whole without it."""
    return channel.partition(" ")[0] in PROJECTIONS


def _before(connection: Connection, channel: str) -> int:
    """The last event that a channel is not told which nobody knew before: people do not want the history."""
    if is_projection(channel):
        return 0
    return connection.execute(select(func.max(EVENTS.c.id)).where(EVENTS.c.at < now() - NEWS)).scalar() or 0
