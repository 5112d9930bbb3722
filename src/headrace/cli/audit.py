"""`headrace audit`: what was done, and by whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.output import emit, env_option, json_option, put, say, table, wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.operations.audit import AuditEntryReport, AuditHead, AuditVerification, MissingHead

SHOWN = 10  # missing heads that are named


@click.command(name="audit")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many entries.")
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
    from headrace.operations.audit import list_audit_entries, show_audit_head, verify_audit
    from headrace.operations.operation import At

    if head and not verify:
        raise click.UsageError(f"--head {head!r} is checked by --verify; --head alone prints the last one.")
    at = At(env=env)
    if verify:
        _verified(verify_audit(at, head=head or None, limit=limit), as_json=as_json)
        return
    if head is not None:
        _print(show_audit_head(at), as_json=as_json)
        return
    entries = list_audit_entries(at, limit=limit)
    if as_json:
        emit(entries)
    else:
        _table(entries)


def _table(entries: Sequence[AuditEntryReport]) -> None:
    rows = [{**vars(entry), "who": entry.label} for entry in entries]
    table(rows, ("at", "who", "action", "object", "details"))


def _print(head: AuditHead, *, as_json: bool) -> None:
    if as_json:
        emit(head)
        return
    put(head.hash)
    say(f"of {head.count:,} entries. Keep it where nobody who writes the database writes; later: --verify --head HASH")


def _verified(result: AuditVerification, *, as_json: bool) -> None:
    if as_json:
        emit(result)
    else:
        _table(result.entries)
    _complain(result)
    if not result.whole:
        sys.exit(1)
    if not as_json:
        kept = f", and holds the {result.read:,} heads that are kept elsewhere" if result.read else ""
        say(f"the record is whole{kept}.")


def _complain(result: AuditVerification) -> None:
    broken, left = result.broken, _left(result.head)
    if broken is not None:
        wrong(f"entry {broken.id} of {broken.at:%Y-%m-%d %H:%M:%S} UTC ({broken.action}) was changed afterwards.")
    kept = [head for head in result.missing if head.anchor is not None]
    for head in result.missing:
        if head.anchor is None:
            wrong(f"no entry has the hash {head.hash!r}: what was recorded up to it was taken away. {left}")
    for head in kept[:SHOWN]:
        wrong(f"{_name(head)} is not in the record: entries were taken away. {left}")
    if len(kept) > SHOWN:
        wrong(f"and {len(kept) - SHOWN:,} more heads.")
    for place in (*result.gone, *result.unread):
        wrong(f"{place}.")


def _name(head: MissingHead) -> str:
    return f"the head {head.hash} of {head.count:,} entries, kept by {head.anchor},"


def _left(head: AuditHead) -> str:
    return f"There are {head.count:,} entries." if head.count else "There is no entry."
