"""The audit record of an environment: its entries, its head, and whether it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access import people
from headrace.operations.anchoring import compare
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from headrace.access.audit import AuditEntry
    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

LIMIT = 50  # entries


@dataclass(frozen=True, kw_only=True)
class AuditEntryReport(Record):
    """One thing that was done.

    Attributes:
        id: the number of the entry.
        at: when it was recorded.
        who: did it.
        action: what was done, as `stage.changed`.
        object: what it was done to.
        details: more about it, by name.
        previous: the hash of the entry before, in hexadecimal digits.
        hash: over everything else here but `simulated`.
        simulated: whether `who` stands for a person who does not exist, as in a demonstration.
    """

    id: int
    at: datetime
    who: str
    action: str
    object: str
    details: Mapping[str, Json]
    previous: str
    hash: str
    simulated: bool

    @property
    def label(self) -> str:
        """Who did it, as people read it: a simulated person is labelled."""
        return people.label(self.who, [self.who] if self.simulated else [])


@dataclass(frozen=True, kw_only=True)
class AuditHead(Record):
    """The end of the record.

    Attributes:
        count: the number of entries.
        hash: of the last entry; zeros while there is none.
    """

    count: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class MissingHead(Record):
    """A head that was kept elsewhere, and that the record does not have: entries were taken away.

    Attributes:
        anchor: where it is kept, `git note` or `file`; None: the caller has it.
        count: the number of entries that there were; None where only the caller could know.
        hash: of the last entry then.
    """

    anchor: str | None
    count: int | None
    hash: str


@dataclass(frozen=True, kw_only=True)
class AuditVerification(Record):
    """Whether entries of the record were changed or taken away.

    Attributes:
        entries: the latest ones, the latest first.
        head: the end of the record.
        broken: the first entry that was changed afterwards, or does not follow the one before; None where there is none.
        missing: heads that were kept elsewhere and that the record does not have.
        gone: places that were read and do not have the head that they took, a clause each.
        unread: places that could not be read, a clause each; nothing follows from them.
        read: the number of heads that were read elsewhere.
    """

    entries: tuple[AuditEntryReport, ...]
    head: AuditHead
    broken: AuditEntryReport | None
    missing: tuple[MissingHead, ...]
    gone: tuple[str, ...]
    unread: tuple[str, ...]
    read: int

    @property
    def whole(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.broken is None and not self.missing and not self.gone


@operation("audit")
def list_audit_entries(
    workspace: Workspace, *, limit: int | None = LIMIT, offset: int = 0, word: str = ""
) -> list[AuditEntryReport]:
    """What was done, the latest first.

    Args:
        workspace: the environment.
        limit: the number of entries; None: all.
        offset: how many are left out before them.
        word: only those that have it in who, action, object or details, however it is capitalised.
    """
    entries = workspace.audit.entries(limit=limit, offset=offset, word=word)
    simulated = workspace.access.simulated()
    return [_report(entry, simulated) for entry in entries]


@operation("audit")
def show_audit_head(workspace: Workspace) -> AuditHead:
    """The end of the record. Whoever keeps it elsewhere can find out later whether entries were taken away."""
    return AuditHead(**vars(workspace.audit.head()))


@operation("audit")
def verify_audit(workspace: Workspace, *, head: str | None = None, limit: int | None = LIMIT) -> AuditVerification:
    """Checks every entry of the record, and compares it with the heads that are kept elsewhere.

    Args:
        workspace: the environment.
        head: the hash of an entry that the record must have; None: no entry in particular.
        limit: the number of entries to return; None: all. The check is of all of them in any case.
    """
    record = workspace.audit
    last, broken, anchors = record.head(), record.verify(), compare(workspace)
    lost = record.missing([head]) if head else []
    simulated = workspace.access.simulated()
    return AuditVerification(
        entries=tuple(_report(entry, simulated) for entry in record.entries(limit=limit)),
        head=AuditHead(**vars(last)),
        broken=None if broken is None else _report(broken, simulated),
        missing=(
            *(MissingHead(anchor=None, count=None, hash=hash_) for hash_ in lost),
            *(MissingHead(**vars(kept)) for kept in anchors.missing),
        ),
        gone=anchors.gone,
        unread=anchors.unread,
        read=anchors.read,
    )


def _report(entry: AuditEntry, simulated: Collection[str]) -> AuditEntryReport:
    return AuditEntryReport(**vars(entry), simulated=entry.who in simulated)
