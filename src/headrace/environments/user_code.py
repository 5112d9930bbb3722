"""Tracebacks of errors in the user's code: only the user's lines, without those of Headrace or the import machinery."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.declaration import EXAMPLES, PACKAGE
from headrace.core.errors import HeadraceError, UserCodeError
from headrace.environments.toml import suggest

if TYPE_CHECKING:
    from collections.abc import Generator

INSTALLED = ("/site-packages/", "/dist-packages/")
STANDARD = f"{Path(os.__file__).parent}/"
UNKNOWN_KEYWORD = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'.*", re.DOTALL)
PREFIX = "headrace_project_"  # importing.py: the first part of the names that a project's modules have here


@contextmanager
def located() -> Generator[None]:
    """Lets an error of Headrace that the user's lines led to say at which of them."""
    try:
        yield
    except HeadraceError as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if theirs(frame.filename)]
        raise (error.at(f"{frames[-1].filename}:{frames[-1].lineno}") if frames else error) from error.__cause__


@contextmanager
def running(what: str) -> Generator[None]:
    """Turns whatever user code raises inside into a UserCodeError; errors of Headrace itself pass.

    Args:
        what: what was being done, the beginning of a sentence: `"fit of model 'churn'"`.
    """
    try:
        yield
    except HeadraceError:
        raise
    except (Exception, SystemExit) as error:
        raise raised(error, what) from error


def raised(error: BaseException, what: str) -> UserCodeError:
    """The error to raise `from` the user's own: `what`, its type and text, and the user's lines from outside to inside."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and not error.filename.startswith("<"):
        return _syntax(error, what)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if theirs(frame.filename)]
    said = plain("".join(traceback.format_exception_only(error)).strip())
    at = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return UserCodeError(
        f"{what} raised{at}: {said}", findings=[_shown(frame) for frame in frames], hint=_parameters(error)
    )


def _parameters(error: BaseException) -> str:
    """What a declaration of Headrace takes, where it was given a keyword that it does not know."""
    found = UNKNOWN_KEYWORD.fullmatch(str(error)) if isinstance(error, TypeError) else None
    declared = found and getattr(sys.modules.get("headrace"), found[1], None)
    if not found or not inspect.isclass(declared):
        return ""
    return suggest(found[2], [name for name in inspect.signature(declared).parameters if name != "where"])


def theirs(file: str) -> bool:
    """Whether a file is of the user's program: not of Headrace, of Python, or of an installed library."""
    if file.startswith(EXAMPLES):
        return True
    if file.startswith(("<", PACKAGE, STANDARD)):
        return False
    return not any(part in file for part in INSTALLED)


def plain(text: str) -> str:
    """The text with the names that the user gave to their modules, not the ones that they have here."""
    start = text.find(PREFIX)
    while start >= 0:
        end = text.find(".", start)
        if end < 0:
            break
        text = text[:start] + text[end + 1 :]
        start = text.find(PREFIX, start)
    return text


def _shown(frame: traceback.FrameSummary) -> str:
    line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {line}"


def _syntax(error: SyntaxError, what: str) -> UserCodeError:
    text = (error.text or "").rstrip("\n")
    indent = len(text) - len(text.lstrip())
    caret = " " * max((error.offset or 1) - 1 - indent, 0) + "^"
    return UserCodeError(
        f"{what}: {error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}",
        findings=[text.strip(), caret] if text.strip() else [],
    )
