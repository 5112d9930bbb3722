"""Refused operations in the audit record: who tried what, and why it was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from headrace.access import people
from headrace.access.audit import record
from headrace.access.people import TOKENS
from headrace.access.rights import VARIABLE
from headrace.core import credentials, vault
from headrace.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.core.errors import RefusedError
    from headrace.core.ids import Json
    from headrace.core.state import State

UNKNOWN = "unknown"
LONGEST = 300  # characters of an object
PREFIX = 8  # characters of a token's hash: enough to tell which one it was, nothing to guess it by


def record_refusal(
    state: State, who: str | None, operation: str, subject: str, refused: RefusedError, details: Mapping[str, Json]
) -> None:
    """Appends `access.refused`.

    Args:
        state: of the environment.
        who: was refused; None: whoever the token was made for, or `unknown`.
        operation: as in the table of rights.
        subject: what it was to be done to.
        refused: why not.
        details: what else is known.
    """
    told: dict[str, Json] = {"operation": operation, "reason": credentials.hidden(visible(refused.what)), **details}
    token = vault.read(VARIABLE)
    with state.begin() as connection:
        if who is None and token is not None:
            hashed = people.token_hash(token)
            who = connection.execute(select(TOKENS.c.name).where(TOKENS.c.hash == hashed)).scalar()
            told["token"] = hashed[:PREFIX]
        if who in people.simulated(connection):
            told["simulated"] = True
        record(connection, who or UNKNOWN, "access.refused", visible(subject)[:LONGEST], told)
