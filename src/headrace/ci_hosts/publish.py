"""Puts a comment on a merge request, in place of the one that an earlier run left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import RateLimitedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.ci_hosts.base import CiHost

Published = Literal["created", "updated"]
PAUSES = (1.0, 3.0)  # seconds before it is looked for again


def publish(host: CiHost, marker: str, text: str, *, pause: Callable[[float], None] = time.sleep) -> Published:
    """Updates the oldest own comment that begins with a marker, or adds one.

    Comments of others are left alone, whatever they begin with. Where it is not known whether a comment was added, it is
    looked for before another one is.

    Args:
        host: the merge request.
        marker: the first line.
        text: the whole comment, which begins with the marker.
        pause: waits for a number of seconds.

    Raises:
        HeadraceError: as the host.
    """
    pauses = iter(PAUSES)
    while True:
        if _update(host, marker, text):
            return "updated"
        try:
            host.create(text)
        except RateLimitedError:
            raise
        except UnavailableError:
            following = next(pauses, None)
            if following is None:
                raise
            pause(following)
        else:
            return "created"


def _update(host: CiHost, marker: str, text: str) -> bool:
    mine = (comment for comment in host.comments() if comment.text.startswith(marker))
    return any(host.update(comment.id, text) for comment in mine)
