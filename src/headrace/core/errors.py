"""The errors that a caller may handle separately. Each says what happened, the value, what was possible, the next step."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

SHOWN = 10  # findings printed before the list is cut
PLACE = re.compile(r"\S[^\n]*:\d+: ")  # file:line, at the beginning of what happened


class HeadraceError(Exception):
    """Base of all errors that are meant for a person.

    Args:
        what: what happened, with the offending value.
        hint: what was possible, or the next command to type.
        findings: one line each; the first ten are printed, the rest are counted.
    """

    exit_code = 1  # 1: a gate or check failed; 2: usage; 3: refused, or needs approval

    def __init__(self, what: str, *, hint: str = "", findings: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.findings = tuple(findings)

    def at(self, place: object) -> Self:
        """The same error, beginning with the place in the user's program unless it begins with one already."""
        if not PLACE.match(self.what):
            self.what = f"{place}: {self.what}"
        return self

    def _render_traceback_(self) -> list[str]:
        """What a notebook prints: the message, which says the place in the user's program where there is one."""
        shown = (each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in str(self))
        return [f"{type(self).__name__}: {''.join(shown)}"]

    def __reduce__(self) -> tuple[object, ...]:
        # subclasses have constructors of their own; an error must still travel between processes
        return _again, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        lines = [self.what, *(f"  {finding}" for finding in self.findings[:SHOWN])]
        if len(self.findings) > SHOWN:
            lines.append(f"  … and {len(self.findings) - SHOWN} more")
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


def _again(kind: type[HeadraceError], args: tuple[object, ...], attributes: dict[str, object]) -> HeadraceError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class ConfigError(HeadraceError):
    """`headrace.toml` or a setting is malformed, or names something that does not exist."""

    exit_code = 2


class DeclarationError(HeadraceError):
    """The user's program declares something impossible: a name twice, a cycle, a feature table without a time."""

    exit_code = 2


class SqlError(HeadraceError):
    """A statement does not parse, reaches outside the declared tables, or does not run; carries file and line.

    Attributes:
        unknown_table: the table that it names and that is not there; None where that is not what is wrong.
    """

    exit_code = 2
    unknown_table: str | None = None


class LimitError(HeadraceError):
    """A question took longer, or gave more, than it may."""


class CutShortError(LimitError):
    """A question was ended before it was answered: its time was over, or somebody cancelled it."""


class NotFoundError(HeadraceError):
    """A name (table, feature, model, environment, run…) that is not there; suggests the nearest one.

    Args:
        kind: what was looked for.
        name: the name that it was looked for by.
        known: the names that there are; None when they are not listed, and the hint says where to look.
        hint: the next step.
    """

    exit_code = 2

    def __init__(self, kind: str, name: str, known: Iterable[str] | None, *, hint: str = "") -> None:
        names = sorted(set(known or ()))
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if near:
            said = f": did you mean {near[0]!r}?"
        elif names:
            said = f": there is {', '.join(repr(n) for n in names[:SHOWN])}{' …' if len(names) > SHOWN else '.'}"
        else:
            said = "." if known is None else ": there is none yet."
        super().__init__(f"no {kind} {name!r}{said}", hint=hint)
        self.kind, self.name, self.near = kind, name, near[0] if near else None


class DataError(HeadraceError):
    """Data breaks a promise: an expectation, a key, a type, an empty training set. Nothing was written."""


class UnavailableError(DataError):
    """What is asked for cannot be read now; asking again later may work."""


class RateLimitedError(UnavailableError):
    """A limit of requests or tokens, here or at an endpoint, lets nothing through within the time that there is.

    Attributes:
        retry_after: the seconds after which an endpoint asks to try again; None where it does not say.
    """

    retry_after: float | None = None


class DeadlineError(UnavailableError):
    """The time for a call ended before its answer was there."""


class CutStreamError(UnavailableError):
    """A stream ended before its end.

    Attributes:
        received: how many characters of text came before.
    """

    received: int = 0


class MalformedAnswerError(UnavailableError):
    """An endpoint answered with something that its protocol does not allow."""


class EndpointRefusedError(DataError):
    """An endpoint refuses a request, and would refuse it again.

    Attributes:
        status: the status of HTTP that it answered with.
    """

    status: int = 0


class UserCodeError(HeadraceError):
    """A function of the user's program raised or returned the wrong shape. `__cause__` is the user's own exception."""


class RefusedError(HeadraceError):
    """Not allowed here: the wrong environment, unreleased code, somebody else's table."""

    exit_code = 3


class BusyError(RefusedError):
    """Somebody else holds what is asked for; the message says who, where and since when."""


class ConflictError(HeadraceError):
    """Concurrent writers kept winning; nothing of ours was written and trying again is safe."""


class UncertainError(HeadraceError):
    """The connection was lost during a commit: what was to be written may be there or not. To be looked up first."""


class MovedError(ConflictError):
    """What a change was computed from is no longer where it was; nothing was written. It has to be computed anew."""


class MissingExtraError(HeadraceError):
    """An optional dependency is not installed; the hint is the command that installs it."""

    exit_code = 2

    def __init__(self, module: str, extra: str, reason: str) -> None:
        super().__init__(f"{reason} needs {module!r}, which is not installed.", hint=f"pip install 'headrace[{extra}]'")
