"""Before a command's body runs: who acts, may they, and is it in the audit record. After it: what was refused, or failed.

Every command of every group goes through `guarded` (see `Commands.resolve_command`); its right is in
`headrace.access.rights`. So none can forget to ask.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, cast

import click

from headrace.access.rights import OPERATIONS
from headrace.core import credentials
from headrace.core.errors import BusyError, ConfigError, HeadraceError, RefusedError
from headrace.core.ownership import only_reading
from headrace.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime

    from headrace.access.identity import Identity
    from headrace.access.rights import Right
    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

LONGEST = 500  # characters of a value in the audit record
OBJECT = 300  # of what it was done to
LOOKED_AT = 5_000  # for credentials: to look through what is far longer takes long
UNTOLD = ("env", "as_json", "yes", "parent")  # parameters that say nothing of what was done
QUESTION = "text"  # the argument of `sql`, which is no object


def guarded(command: click.Command) -> click.Command:
    """The same command, whose body runs only for whoever may."""
    body = command.callback
    if body is None:
        return command
    made = copy.copy(command)

    @wraps(body)
    def callback(*arguments: object, **parameters: object) -> object:
        ctx = click.get_current_context()
        _check_texts(ctx)
        with _permitted(ctx):
            return body(*arguments, **parameters)

    made.callback = callback
    return made


def checked(command: click.Command) -> click.Command:
    """The same command, whose body runs only with texts that are texts."""
    body = command.callback
    if body is None:
        return command
    made = copy.copy(command)

    @wraps(body)
    def callback(*arguments: object, **parameters: object) -> object:
        _check_texts(click.get_current_context())
        return body(*arguments, **parameters)

    made.callback = callback
    return made


def operation(ctx: click.Context) -> str:
    """The words of a command, as the table of rights has them: `model rollback`."""
    words: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name or "")
        at = at.parent
    return " ".join(words)


def taken(name: str, ctx: click.Context) -> dict[str, Right]:
    """The rights that a command takes as it was typed: its own, and those of options that take more."""
    if name not in OPERATIONS:
        raise RefusedError(
            f"nobody may {name!r}: its right is not declared.",
            hint="This is a defect of Headrace, not of your project. Please report it.",
        )
    return {
        each: right
        for each, right in OPERATIONS.items()
        if each == name or (each.startswith(f"{name} ") and _given(each.removeprefix(f"{name} "), ctx))
    }


def _given(said: str, ctx: click.Context) -> bool:
    """Whether an option or an argument was given: `--force`, `--version N` (a number), `PLACES`."""
    option, _, number = said.partition(" ")
    for each in ctx.command.params:
        if option in each.opts or option == each.human_readable_name:
            value = ctx.params.get(each.name or "")
            return isinstance(value, int) and not isinstance(value, bool) if number else bool(value)
    return False


def _check_texts(ctx: click.Context) -> None:
    """Refuses bytes that are no text where a text is asked for: no database could keep them."""
    for each in ctx.command.params:
        value = ctx.params.get(each.name or "")
        for text in cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise click.BadParameter(f"{text!r} is not UTF-8.", ctx, each)


@contextmanager
def _permitted(ctx: click.Context) -> Generator[None]:
    """Refuses whoever may not.

    Raises:
        RefusedError: the token is unknown, has expired or was revoked; or the role is missing.
    """
    name = operation(ctx)
    rights = taken(name, ctx)
    right = rights[name]
    reads = all(each.does == "reads" for each in rights.values()) or bool(ctx.params.get("dry_run"))
    if right.does == "local" or not _in_project():
        yield
        return
    from headrace.workspace.workspace import open_workspace, sharing

    with (
        only_reading() if reads else nullcontext(),
        open_workspace(ctx.params.get("env"), anew=right.anew) as workspace,
        sharing(workspace),
    ):
        me = _known(workspace, right, name, ctx)
        if me is None:
            yield
            return
        if reads:
            if right.entry and not workspace.is_lowest:
                _begun(workspace, me, right, name, ctx)
            yield
            return
        for each, one in rights.items():
            _check(workspace, me, each, one, ctx)
        if not (right.any_role or right.unread):  # a signature, a server and a reset say nothing of what may happen
            workspace.keep_floor(me.name)
        if right.entry:
            _begun(workspace, me, right, name, ctx)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, RefusedError) and not isinstance(error, BusyError):
                _refused(workspace, me.name, name, error, ctx)
            elif right.entry:
                _failed(workspace, me, name, error, ctx)
            raise
        else:
            if right.entry and right.anew:
                _again(workspace, me, right.entry, ctx)
        finally:
            _anchor(workspace)


def _in_project() -> bool:
    """Outside of a project there is no environment: nothing to guard, and most commands will say so."""
    from pathlib import Path

    from headrace.environments.config import find

    try:
        find(Path.cwd())
    except ConfigError:
        return False
    return True


def _known(workspace: Workspace, right: Right, name: str, ctx: click.Context) -> Identity | None:
    """Who acts; None where the state database cannot be read and the operation goes on all the same, which is told."""
    if not right.unread:
        return _me(workspace, name, ctx)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return _me(workspace, name, ctx)
    except RefusedError:
        raise
    except (HeadraceError, SQLAlchemyError) as error:
        _unrecorded("this", error)
        return None


def _me(workspace: Workspace, name: str, ctx: click.Context) -> Identity:
    access = workspace.access  # whose state is another one's has no record here
    try:
        return access.me(enrolling=True)  # the table says what that one may
    except RefusedError as error:
        _refused(workspace, None, name, error, ctx)
        raise


def _check(workspace: Workspace, me: Identity, name: str, right: Right, ctx: click.Context) -> None:
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
    _refused(workspace, me.name, name, error, ctx)
    raise error


def _grant(me: Identity, role: str) -> str:
    return f"An admin grants it: headrace access grant {me.name} {role}"


def _refused(workspace: Workspace, who: str | None, name: str, error: RefusedError, ctx: click.Context) -> None:
    from headrace.access.refusals import record_refusal

    environment = workspace.configured.name
    with _told("this refusal"):
        record_refusal(workspace.state, who, name, _object(ctx, environment), error, {"env": environment})
    _anchor(workspace)


def _begun(workspace: Workspace, me: Identity, right: Right, name: str, ctx: click.Context) -> None:
    """Records what is about to be done: nothing is handed out, or taken away, of which there is no entry.

    Raises:
        HeadraceError: it cannot be recorded. What goes on while the state database is down goes on, and that is told.
    """
    from sqlalchemy.exc import SQLAlchemyError

    assert right.entry is not None
    try:
        _record(workspace, me, right.entry, ctx, _details(ctx))
    except (HeadraceError, SQLAlchemyError) as error:
        if right.unread:
            _unrecorded("this", error)
            return
        raise HeadraceError(
            f"`headrace {name}` in {workspace.configured.name} was not begun: it cannot be recorded: {_line(error)}",
            hint="Nothing was done: what is not in the audit record does not happen.",
        ) from error
    _anchor(workspace)  # now: a server becomes another program, and a read ends without another look


def _failed(workspace: Workspace, me: Identity, name: str, error: BaseException, ctx: click.Context) -> None:
    """What was recorded, and then was not done, or not wholly."""
    reason = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    with _told("that it failed"):
        _record(workspace, me, "command.failed", ctx, {"operation": name, "reason": _text(reason)})


def _again(workspace: Workspace, me: Identity, entry: str, ctx: click.Context) -> None:
    """The record of an environment that was reset went with it: a new one begins with who reset it."""
    from headrace.access.audit import Audit

    with _told("this"):
        if not Audit(workspace.state).entries(limit=1):
            _record(workspace, me, entry, ctx, _details(ctx))


def _record(workspace: Workspace, me: Identity, entry: str, ctx: click.Context, details: dict[str, Json]) -> None:
    from headrace.access.audit import AUDIT, record

    workspace.state.create(AUDIT)  # where the environment was reset there is none
    with workspace.state.begin() as connection:
        record(connection, me.name, entry, _object(ctx, workspace.configured.name), details)


@contextmanager
def _told(what: str) -> Generator[None]:
    """What cannot be recorded is said; it changes nothing of the answer."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (HeadraceError, SQLAlchemyError) as error:
        _unrecorded(what, error)


def _unrecorded(what: str, error: Exception) -> None:
    from headrace.cli.output import wrong

    wrong(f"{what} is not in the audit record: {_line(error)}")


def _line(error: Exception) -> str:
    return error.what if isinstance(error, HeadraceError) else str(error).splitlines()[0]


def _anchor(workspace: Workspace) -> None:
    if not workspace.configured.audit.any:  # most have none: nothing is imported
        return
    from sqlalchemy.exc import SQLAlchemyError

    from headrace.cli.output import wrong
    from headrace.operations.anchoring import anchor

    try:
        for trouble in anchor(workspace):
            wrong(f"the head of the audit record was not kept by {trouble}; it is tried again.")
    except (HeadraceError, SQLAlchemyError) as error:  # the operation is done, and recorded
        wrong(f"the head of the audit record was not kept elsewhere; it is tried again: {_line(error)}")


def _object(ctx: click.Context, environment: str) -> str:
    """What a command was about: its first argument, else its model, else the environment."""
    arguments = [each.name for each in ctx.command.params if isinstance(each, click.Argument) and each.name != QUESTION]
    for name in (*arguments, "model"):
        value = ctx.params.get(name or "")
        if isinstance(value, tuple):
            value = cast("tuple[object, ...]", value)[0] if value else None
        if value is not None:
            return _kept(value, OBJECT)
    return environment


def _details(ctx: click.Context) -> dict[str, Json]:
    """The options and arguments that were given, without credentials."""
    given: Mapping[str, object] = ctx.params
    return {
        name: _text(value) for name, value in given.items() if name not in UNTOLD and value not in (None, False, (), "")
    }


def _text(value: object) -> Json:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple):
        return [_text(each) for each in cast("tuple[object, ...]", value)[:10]]
    if hasattr(value, "isoformat"):
        return cast("datetime", value).isoformat()
    return _kept(value, LONGEST)


def _kept(value: object, longest: int) -> str:
    text = visible(credentials.hidden(str(value)[:LOOKED_AT]))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
