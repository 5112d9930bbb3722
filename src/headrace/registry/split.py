"""The split of a model's traffic, as rows of the state database that are read and appended in the caller's transaction."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from headrace.access.audit import record
from headrace.core.clock import now
from headrace.core.errors import ConflictError
from headrace.core.events import publish
from headrace.registry.records import Share, TrafficSplit
from headrace.registry.tables import ROLLOUTS, TRAFFIC, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.registry.records import Version


def history(connection: Connection, model: str) -> list[TrafficSplit]:
    """Every change, oldest first."""
    wanted = select(TRAFFIC).where(TRAFFIC.c.model == model).order_by(TRAFFIC.c.number)
    return [_split(row) for row in connection.execute(wanted).mappings()]


def current(connection: Connection, model: str) -> TrafficSplit:
    """The split of now, as the caller's transaction sees it."""
    wanted = select(TRAFFIC).where(TRAFFIC.c.model == model).order_by(TRAFFIC.c.number.desc()).limit(1)
    row = connection.execute(wanted).mappings().first()
    in_production = (VERSIONS.c.model == model, VERSIONS.c.stage == "Production")
    primary = connection.execute(select(VERSIONS.c.version).where(*in_production)).scalar()
    if row is not None:
        return replace(_split(row), primary=primary)
    return TrafficSplit(
        model=model,
        number=0,
        primary=primary,
        candidates=(),
        shadows=(),
        salt="",
        columns=(),
        at=None,
        by="",
        reason="",
    )


def write(
    connection: Connection,
    before: TrafficSplit,
    *,
    candidates: tuple[Share, ...] | None = None,
    shadows: tuple[Share, ...] | None = None,
    columns: tuple[str, ...] | None = None,
    by: str,
    reason: str,
) -> TrafficSplit:
    """Appends a change in the caller's transaction, with its line in the audit and its event."""
    given = before.candidates if candidates is None else candidates
    answering = {each.version for each in given}
    asked = tuple(each for each in (before.shadows if shadows is None else shadows) if each.version not in answering)
    named = before.columns if columns is None else columns
    made = replace(
        before,
        number=before.number + 1,
        candidates=given,
        shadows=asked,
        columns=named if given else (),
        salt=_salt(before, given, named),
        at=now(),
        by=by,
        reason=reason,
    )
    values = {
        "model": made.model,
        "number": made.number,
        "champion": made.primary,
        "candidates": [[each.version, each.weight] for each in made.candidates],
        "shadows": [[each.version, each.weight] for each in made.shadows],
        "salt": made.salt,
        "columns": list(made.columns),
        "at": made.at,
        "by": by,
        "reason": reason,
    }
    try:
        connection.execute(insert(TRAFFIC).values(**values))
    except IntegrityError:  # PostgreSQL only: another process inserted its change between our look and our insert
        raise ConflictError(
            f"somebody changed the traffic of {made.model} at the same time.",
            hint=f"headrace traffic show {made.model}",
        ) from None
    told: dict[str, Json] = {
        "split": made.id,
        "primary": made.primary,
        "candidates": {str(each.version): each.weight for each in made.candidates},
        "shadows": {str(each.version): each.weight for each in made.shadows},
        "by": list(made.columns),
        "reason": reason,
    }
    record(connection, by, "traffic.changed", made.model, {**told, "salt": made.salt})
    publish(connection, "traffic.changed", made.model, {**told, "model": made.model, "who": by})
    return made


def follow_move(connection: Connection, version: Version, *, was: int | None, decision: int, by: str) -> None:
    """What a move of a version does to the split and to a rollout, in the transaction of the move.

    A new version in Production ends the shares of all candidates, which were approved beside the old one; a version that
    is archived leaves. A rollout is done when its version comes to Production by its decision, and ended by any other move.

    Args:
        connection: of the transaction, after the move.
        version: that was moved, as it was before.
        was: the version that was in Production before.
        decision: by which it was moved.
        by: who moved it.
    """
    split = current(connection, version.model)
    changed = split.primary != was
    reason = f"version {split.primary} is in Production" if changed else f"version {version.version} was moved"
    if changed and split.primary is None:
        reason = "nothing is in Production"
    gone = {version.version, split.primary} if changed else _archived(connection, version)
    candidates = () if changed else tuple(each for each in split.candidates if each.version not in gone)
    shadows = tuple(each for each in split.shadows if each.version not in gone)
    open_now = select(ROLLOUTS).where(ROLLOUTS.c.model == version.model, ROLLOUTS.c.status == "running")
    running = connection.execute(open_now).mappings().first()
    if running is not None and (changed or running["version"] in gone):
        done = changed and (running["version"], running["decision"]) == (split.primary, decision)
        values = {"status": "done" if done else "ended", "ended": now(), "reason": reason}
        connection.execute(ROLLOUTS.update().where(ROLLOUTS.c.id == running["id"]).values(**values))
        told: dict[str, Json] = {"rollout": running["id"], "reason": reason, "model": version.model}
        subject = f"{version.model}/{running['version']}"
        record(connection, by, f"rollout.{values['status']}", subject, told)
        publish(connection, f"rollout.{values['status']}", subject, told)
    if (candidates, shadows) != (split.candidates, split.shadows):
        write(connection, split, candidates=candidates, shadows=shadows, by=by, reason=reason)


def _archived(connection: Connection, version: Version) -> set[int | None]:
    here = (VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)
    stage = connection.execute(select(VERSIONS.c.stage).where(*here)).scalar_one()
    return {version.version} if stage == "Archived" else set()


def _salt(before: TrafficSplit, candidates: tuple[Share, ...], columns: tuple[str, ...]) -> str:
    """That of before while one of its candidates stays, on the same entities; another experiment has another one."""
    if not candidates:
        return ""
    stay = {each.version for each in before.candidates} & {each.version for each in candidates}
    return before.salt if stay and columns == before.columns else secrets.token_hex(8)


def _split(row: RowMapping) -> TrafficSplit:
    def shares(kept: Sequence[tuple[int, float]]) -> tuple[Share, ...]:
        return tuple(Share(version=version, weight=weight) for version, weight in kept)

    return TrafficSplit(
        model=row["model"],
        number=row["number"],
        primary=row["champion"],
        candidates=shares(row["candidates"]),
        shadows=shares(row["shadows"]),
        salt=row["salt"],
        columns=tuple(row["columns"]),
        at=row["at"],
        by=row["by"],
        reason=row["reason"],
    )
