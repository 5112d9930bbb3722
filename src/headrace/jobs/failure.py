"""An error as the ledger keeps it: one text for the record, and lines for the log."""

from __future__ import annotations

from traceback import TracebackException

from headrace.core.errors import HeadraceError, UserCodeError
from headrace.environments.user_code import theirs


def summary(error: BaseException) -> str:
    """What happened, for a person."""
    if isinstance(error, HeadraceError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted from the keyboard"
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def detail(error: BaseException) -> list[str]:
    """Lines that help to mend it: the user's own traceback for the user's own code, ours for our defects."""
    if isinstance(error, UserCodeError) and error.__cause__ is not None:
        return [*str(error).splitlines(), *_traceback(error.__cause__)]
    if isinstance(error, HeadraceError) or not isinstance(error, Exception):
        return summary(error).splitlines()
    return "".join(TracebackException.from_exception(error).format()).splitlines()


def _traceback(error: BaseException) -> list[str]:
    """The traceback from the first frame that is the user's."""
    shown = TracebackException.from_exception(error)
    while len(shown.stack) > 1 and not theirs(shown.stack[0].filename):
        del shown.stack[0]
    return "".join(shown.format()).splitlines()
