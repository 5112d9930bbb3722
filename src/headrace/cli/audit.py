"""`headrace audit`: what was done by whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.output import emit, env_option, json_option, put, say, table, wrong

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.access.audit import AuditEntry, Head
    from headrace.operations.anchoring import AnchorReport, Kept
    from headrace.workspace.workspace import Workspace


@click.command(name="audit")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--verify", is_flag=True, help="Check that no entry was changed or taken away; exit 1 when one was.")
@click.option(
    "--head",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[HASH]",
    help="Print the hash of the last entry, to be kept elsewhere; with --verify: the record must hold this one.",
)
@env_option
@json_option
def command(limit: int, verify: bool, head: str | None, env: str | None, as_json: bool) -> None:
    """What was done by whom, the latest first: requests, approvals, moves, roles, runs, repairs, what was refused."""
    from headrace.workspace.workspace import open_workspace

    if head and not verify:
        raise click.UsageError(f"--head {head!r} is checked by --verify; --head alone prints the last one.")
    with open_workspace(env) as workspace:
        if verify:
            _verify(workspace, head or None, limit, as_json=as_json)
            return
        if head is not None:
            _print(workspace.audit.head(), as_json=as_json)
            return
        rows = [vars(entry) for entry in workspace.audit.entries(limit=limit)]
        simulated = workspace.access.simulated()
    if as_json:
        emit(rows)
    else:
        _table(rows, simulated)


def _table(rows: list[dict[str, object]], simulated: Collection[str]) -> None:
    from headrace.access.people import label

    shown = [{**row, "who": label(str(row["who"]), simulated)} for row in rows]
    table(shown, ("at", "who", "action", "object", "details"))


def _print(head: Head, *, as_json: bool) -> None:
    if as_json:
        emit(vars(head))
        return
    put(head.hash)
    say(f"of {head.count:,} entries. Keep it where nobody who writes the database writes; later: --verify --head HASH")


def _verify(workspace: Workspace, head: str | None, limit: int, *, as_json: bool) -> None:
    from headrace.operations.anchoring import compare

    record = workspace.audit
    last, broken, found = record.head(), record.verify(), compare(workspace)
    lost = record.missing([head]) if head else []
    entries = record.entries(limit=limit)
    if as_json:
        missing = [*({"anchor": "--head", "count": None, "hash": each} for each in lost), *map(vars, found.missing)]
        told: dict[str, object] = {"entries": [vars(entry) for entry in entries], "head": vars(last)}
        emit(
            {
                **told,
                "broken": vars(broken) if broken else None,
                "missing": missing,
                "gone": found.gone,
                "unread": found.unread,
            }
        )
    else:
        _table([vars(entry) for entry in entries], workspace.access.simulated())
    _tell(last, broken, found, lost)
    if broken is not None or lost or found.missing or found.gone:
        sys.exit(1)
    if not as_json:
        kept = f", and holds the {found.read:,} heads that are kept elsewhere" if found.read else ""
        say(f"the record is whole{kept}.")


def _tell(last: Head, broken: AuditEntry | None, found: AnchorReport, lost: list[str]) -> None:
    if broken is not None:
        wrong(f"entry {broken.id} of {broken.at:%Y-%m-%d %H:%M:%S} UTC ({broken.action}) was changed afterwards.")
    for each in lost:
        wrong(f"no entry has the hash {each!r}: what was recorded up to it was taken away. {_left(last)}")
    for each in found.missing[:10]:
        wrong(f"{_said(each)} is not in the record: entries were taken away. {_left(last)}")
    if len(found.missing) > 10:
        wrong(f"and {len(found.missing) - 10:,} more heads.")
    for each in (*found.gone, *found.unread):
        wrong(f"{each}.")


def _said(kept: Kept) -> str:
    return f"the head {kept.hash} of {kept.count:,} entries, kept by {kept.anchor},"


def _left(last: Head) -> str:
    return f"There are {last.count:,} entries." if last.count else "There is no entry."
