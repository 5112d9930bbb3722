"""The frame of every operation: it opens the environment, identifies and authorises the caller, and audits the call.

The right to each operation is in `headrace.access.rights`, by its name. Refusals, and failures after the entry was
written, are in the audit record too.
"""

from __future__ import annotations

import inspect
import logging
import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from headrace.access.rights import OPERATIONS
from headrace.core import credentials
from headrace.core.declaration import Declaration
from headrace.core.errors import BusyError, HeadraceError, RefusedError
from headrace.core.ownership import only_reading
from headrace.core.text import visible
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from headrace.access.identity import Identity
    from headrace.access.rights import Right
    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")

LONGEST = 500  # characters of a value in the audit record
OBJECT = 300  # of what it was done to
PLAIN = (str, int, float, dict, set, frozenset, os.PathLike)
LOOKED_AT = 5_000  # for credentials: to look through what is far longer takes long
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class At:
    """Where something is done or asked.

    Attributes:
        env: the name of an environment; None: the lowest one of the project, usually `dev`.
        release: the release whose code runs, where only releases may run; None: the highest one.
        folder: of the project, or one below it; None: the current folder.
    """

    env: str | None = None
    release: str | None = None
    folder: Path | None = None

    def settled(self) -> At:
        """The same with the name of the environment and the folder of the project, wherever this process goes from here.

        Raises:
            ConfigError: there is no project, or its `headrace.toml` is malformed.
            NotFoundError: the project has no such environment.
        """
        from headrace.environments import config

        project = config.load(self.folder)
        environment = project.environment(self.env) if self.env else project.environments[0]
        return At(env=environment.name, folder=project.folder, release=self.release)


@dataclass(frozen=True, kw_only=True)
class Visit(At):
    """A place that is open already, for several operations that only read: each is permitted and recorded as ever.

    Attributes:
        opened: the environment.
    """

    opened: Workspace


@contextmanager
def visit(at: At) -> Generator[Visit]:
    """Opens an environment once for several operations that only read. What changes something opens it anew.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
        NotFoundError: the project has no such environment.
    """
    with only_reading(), open_workspace(at.env, folder=at.folder, release=at.release) as workspace:
        yield Visit(env=at.env, folder=at.folder, release=at.release, opened=workspace)


def _opened(at: At, *, reads: bool, anew: bool = False) -> AbstractContextManager[Workspace]:
    if reads and isinstance(at, Visit):
        return nullcontext(at.opened)
    return open_workspace(at.env, folder=at.folder, release=at.release, anew=anew)


def operation(
    name: str, *, of: str | None = None, reads: bool = False, publishes_catalog: bool = False
) -> Callable[[Callable[Concatenate[Workspace, P], R]], Callable[Concatenate[At | Workspace, P], R]]:
    """Makes an operation of a function that takes an open environment.

    Called with `At`, it opens the environment, refuses whoever may not, records what it does, and closes the environment
    again. Called with an open environment it is a part of another operation, which has done all that.

    Args:
        name: of its right in `headrace.access.rights`; a parameter may take more (`run retrain --force`). A parameter that is a
            dataclass of options counts as each of its attributes.
        of: the parameter that says what it is done to; None: the environment.
        reads: it only shows what the operation of this name would do.
        publishes_catalog: it changes tables or models: the catalog that projects share is told at its end.
    """

    def make(act: Callable[Concatenate[Workspace, P], R]) -> Callable[Concatenate[At | Workspace, P], R]:
        signature = inspect.signature(act)
        if not reads:
            _check_parameters(name, signature)

        @wraps(act)
        def run(at: At | Workspace, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if not isinstance(at, At):
                return act(at, *args, **kwargs)
            bound = signature.bind(at, *args, **kwargs)
            values = _values(list(bound.arguments.items())[1:])
            with _permitted(_Attempt(name, at, values, of, reads, publishes_catalog)) as workspace:
                return act(workspace, *args, **kwargs)

        vars(run)["operation"] = name
        return run

    return make


def _values(arguments: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Parameter → value: a declaration is its name; a dataclass of options stands for parameters of its own."""
    values: dict[str, object] = {}
    for name, value in arguments:
        if isinstance(value, Declaration):
            values[name] = value.name
        elif is_dataclass(value) and not isinstance(value, type):
            values |= vars(value)
        else:
            values[name] = value
    return values


def _parameter(option: str) -> str:
    """The parameter that an option of the table of rights stands for: `--take-over`, `--version N`, `PLACES`."""
    return option.partition(" ")[0].removeprefix("--").replace("-", "_").lower()


def _check_parameters(name: str, signature: inspect.Signature) -> None:
    """A right that a parameter takes has its parameter, or nobody would be asked for it.

    Raises:
        TypeError: the operation has none of that name.
    """
    for right in OPERATIONS:
        option = right.removeprefix(f"{name} ")
        if option != right and _parameter(option) not in signature.parameters:
            raise TypeError(f"the operation {name!r} has no parameter {_parameter(option)!r}, for the right {right!r}")


@dataclass(frozen=True)
class _Attempt:
    """Somebody wants something done."""

    name: str
    at: At
    values: Mapping[str, object]
    of: str | None
    reads: bool
    publishes_catalog: bool = False

    @property
    def rights(self) -> dict[str, Right]:
        """The rights that it takes: its own, and those of parameters that take more."""
        if self.name not in OPERATIONS:
            raise RefusedError(
                f"nobody may {self.name!r}: its right is not declared.",
                hint="This is a defect of Headrace, not of your project. Please report it.",
            )
        return {
            each: right
            for each, right in OPERATIONS.items()
            if each == self.name or (each.startswith(f"{self.name} ") and self._has(each.removeprefix(f"{self.name} ")))
        }

    def _has(self, option: str) -> bool:
        """Whether a parameter has a value: `--force`, `--version N` (not `then`), `PLACES`."""
        value = self.values.get(_parameter(option))
        return value not in (None, "then") if option.endswith(" N") else bool(value)

    def object(self, environment: str) -> str:
        """What it is done to."""
        value = None if self.of is None else self.values.get(self.of)
        return environment if value is None else _kept(value, OBJECT)

    @property
    def details(self) -> dict[str, Json]:
        """The parameters that have a value, without credentials."""
        return {
            name: _text(value)
            for name, value in self.values.items()
            if value not in (None, False, (), "") and not callable(value)
        }


@contextmanager
def _permitted(attempt: _Attempt) -> Generator[Workspace]:
    """The environment, open for whoever may.

    Raises:
        RefusedError: the token is unknown, has expired or was revoked; or the role is missing.
    """
    rights, at = attempt.rights, attempt.at
    right = rights[attempt.name]
    if right.does == "local":  # nobody need be known
        with only_reading(), _opened(at, reads=True) as workspace:
            yield workspace
        return
    reads = attempt.reads or all(each.does == "reads" for each in rights.values())
    with (
        only_reading() if reads else nullcontext(),
        _opened(at, reads=reads, anew=right.anew) as workspace,
    ):
        me = _known(workspace, right, attempt)
        if me is None:
            yield workspace
            return
        if reads:
            if right.entry and not attempt.reads and not workspace.is_lowest:
                _begun(workspace, me, right, attempt)
            yield workspace
            return
        for each, one in rights.items():
            _check(workspace, me, each, one, attempt)
        if not (right.any_role or right.unread):  # a signature, a server and a reset say nothing of what may happen
            workspace.keep_floor(me.name)
        if right.entry:
            _begun(workspace, me, right, attempt)
        try:
            yield workspace
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, RefusedError) and not isinstance(error, BusyError):
                _refused(workspace, me.name, attempt.name, error, attempt)
            elif right.entry:
                _failed(workspace, me, attempt, error)
            if not isinstance(error, BusyError | KeyboardInterrupt):  # a part of it may have been done
                _catalogue(workspace, attempt, failed=True)
            raise
        else:
            _catalogue(workspace, attempt, failed=False)
            if right.entry and right.anew:
                _again(workspace, me, right.entry, attempt)
        finally:
            _anchor(workspace)


def _known(workspace: Workspace, right: Right, attempt: _Attempt) -> Identity | None:
    """Who acts; None where the state database cannot be read and the operation goes on all the same, which is logged."""
    if not right.unread:
        return _me(workspace, attempt)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return _me(workspace, attempt)
    except RefusedError:
        raise
    except (HeadraceError, SQLAlchemyError) as error:
        _unrecorded("this", error)
        return None


def _me(workspace: Workspace, attempt: _Attempt) -> Identity:
    access = workspace.access  # whose state is another one's has no record here
    try:
        return access.me(enrolling=True)  # the table says what that one may
    except RefusedError as error:
        _refused(workspace, None, attempt.name, error, attempt)
        raise


def _check(workspace: Workspace, me: Identity, name: str, right: Right, attempt: _Attempt) -> None:
    environment = workspace.configured.name
    lowest = bool(right.lowest) and workspace.is_lowest
    if right.held_by(me.roles, lowest=lowest):
        return
    what = f"`headrace {name}` in {environment}"
    if right.any_role:
        error = RefusedError(f"{me.name} may not {what}: {me.name} holds no role there.", hint=_grant(me, "ROLE"))
    else:
        named = right.named(lowest=lowest)
        held = ", ".join(sorted(me.roles)) or "none"
        error = RefusedError(
            f"{me.name} may not {what}: it takes the role {' or '.join(named)}; {me.name} holds {held}.",
            hint=_grant(me, named[0]),
        )
    _refused(workspace, me.name, name, error, attempt)
    raise error


def _grant(me: Identity, role: str) -> str:
    return f"An admin grants it: headrace access grant {me.name} {role}"


def _refused(workspace: Workspace, who: str | None, name: str, error: RefusedError, attempt: _Attempt) -> None:
    from headrace.access.refusals import record_refusal

    environment = workspace.configured.name
    with _noted("this refusal"):
        record_refusal(workspace.state, who, name, attempt.object(environment), error, {"env": environment})
    _anchor(workspace)


def _begun(workspace: Workspace, me: Identity, right: Right, attempt: _Attempt) -> None:
    """Records what is about to be done: nothing is handed out, or taken away, of which there is no entry.

    Raises:
        HeadraceError: it cannot be recorded. What goes on while the state database is down goes on, and that is logged.
    """
    from sqlalchemy.exc import SQLAlchemyError

    assert right.entry is not None
    try:
        _record(workspace, me, right.entry, attempt, attempt.details)
    except (HeadraceError, SQLAlchemyError) as error:
        if right.unread:
            _unrecorded("this", error)
            return
        raise HeadraceError(
            f"`headrace {attempt.name}` in {workspace.configured.name} was not begun: it cannot be recorded: {_line(error)}",
            hint="Nothing was done: what is not in the audit record does not happen.",
        ) from error
    _anchor(workspace)  # now: a server becomes another program, and a read ends without another look


def _failed(workspace: Workspace, me: Identity, attempt: _Attempt, error: BaseException) -> None:
    """What was recorded, and then was not done, or not wholly."""
    reason = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    with _noted("that it failed"):
        _record(workspace, me, "command.failed", attempt, {"operation": attempt.name, "reason": _text(reason)})


def _again(workspace: Workspace, me: Identity, entry: str, attempt: _Attempt) -> None:
    """The record of an environment that was reset went with it: a new one begins with who reset it."""
    from headrace.access.audit import Audit

    with _noted("this"):
        if not Audit(workspace.state).entries(limit=1):
            _record(workspace, me, entry, attempt, attempt.details)


def _record(workspace: Workspace, me: Identity, entry: str, attempt: _Attempt, details: dict[str, Json]) -> None:
    from headrace.access.audit import AUDIT, record

    workspace.state.create(AUDIT)  # where the environment was reset there is none
    with workspace.state.begin() as connection:
        record(connection, me.name, entry, attempt.object(workspace.configured.name), details)


@contextmanager
def _noted(what: str) -> Generator[None]:
    """What cannot be recorded is logged; it changes nothing of the answer."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (HeadraceError, SQLAlchemyError) as error:
        _unrecorded(what, error)


def _unrecorded(what: str, error: Exception) -> None:
    LOG.warning("%s is not in the audit record: %s", what, _line(error))


def _line(error: Exception) -> str:
    return error.what if isinstance(error, HeadraceError) else str(error).splitlines()[0]


def _catalogue(workspace: Workspace, attempt: _Attempt, *, failed: bool) -> None:
    if attempt.publishes_catalog:
        from headrace.operations.catalog_sync import write_catalog

        write_catalog(workspace, quiet=failed)


def _anchor(workspace: Workspace) -> None:
    if not workspace.configured.audit.any:  # most have none: nothing is imported
        return
    from sqlalchemy.exc import SQLAlchemyError

    from headrace.operations.anchoring import anchor

    try:
        for trouble in anchor(workspace):
            LOG.warning("the head of the audit record was not kept by %s; it is tried again.", trouble)
    except (HeadraceError, SQLAlchemyError) as error:  # the operation is done, and recorded
        LOG.warning("the head of the audit record was not kept elsewhere; it is tried again: %s", _line(error))


def _text(value: object) -> Json:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_text(each) for each in list(cast("Sequence[object]", value))[:10]]
    if hasattr(value, "isoformat"):
        return cast("datetime", value).isoformat()
    return _kept(value, LONGEST)


def _kept(value: object, longest: int) -> str:
    told = (
        str(value) if value is None or isinstance(value, PLAIN) else type(value).__name__
    )  # of a caller's own: no code
    text = visible(credentials.hidden(told[:LOOKED_AT]))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
