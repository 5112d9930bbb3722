"""What all declarations share: a name, the file and line in the user's program, and checks of their arguments."""

from __future__ import annotations

import os
import sys
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from headrace.core.clock import duration
from headrace.core.errors import ConfigError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"
EXAMPLES = f"{PACKAGE}examples{os.sep}"
MOST = 10**12  # rows, bytes, requests
CENTURY = "36525d"  # as far from a moment as dates go without leaving their years
DURATIONS = "Write a whole number and a unit: 90s, 15m, 2h, 30d, 1w."


@dataclass(frozen=True)
class Location:
    """A file and a line of the user's program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Location:
    """The nearest frame outside Headrace (its examples count as outside, `<string>` of a dataclass does not)."""
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file != "<string>" and (not file.startswith(PACKAGE) or file.startswith(EXAMPLES)):
            break
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


@dataclass(frozen=True)
class Declaration:
    """A named thing of the user's program. Plain and frozen: it does nothing and registers nothing.

    Attributes:
        namespace: no two declarations of one namespace share a name; empty: the class's own name in lower case.
    """

    namespace: ClassVar[str] = ""

    name: str
    _: KW_ONLY
    description: str = ""
    owner: str = ""
    where: Location = field(default_factory=caller, compare=False, repr=False)


def check(of: str, possible: Callable[[object], bool], hint: str, /, **values: object) -> None:
    """That values given to `of` are possible: `check("Serve", is_text, "Write …", p95=self.p95)`.

    Raises:
        DeclarationError: names the first that is not, and its value.
    """
    for name, value in values.items():
        if not possible(value):
            raise DeclarationError(f"{of}({name}={value!r}) is not possible.", hint=hint)


def check_whole(of: str, least: int = 1, most: int = MOST, /, **values: object) -> None:
    """That they are whole numbers within limits; True is none. Raises as `check`."""

    def possible(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    check(of, possible, f"Write a whole number from {least:,} to {most:,}.", **values)


def check_numbers(of: str, /, **values: object) -> None:
    """That they are finite numbers; True is none. Raises as `check`."""

    def possible(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max

    check(of, possible, "Write a number.", **values)


def check_flags(of: str, /, **values: object) -> None:
    """That they are True or False. Raises as `check`."""
    check(of, lambda value: isinstance(value, bool), "Write True or False.", **values)


def check_texts(of: str, hint: str, /, **values: object) -> None:
    """That they are texts. Raises as `check`."""
    check(of, lambda value: isinstance(value, str), hint, **values)


def check_names(of: str, /, **values: object) -> None:
    """That they are lists or tuples of names. Raises as `check`."""

    def possible(value: object) -> bool:
        return isinstance(value, list | tuple) and all(
            isinstance(each, str) and each for each in cast("tuple[object, ...]", value)
        )

    for name, value in values.items():
        hint = f"Write [{value!r}]." if isinstance(value, str) else 'Write a list of names: ["one", "other"].'
        check(of, possible, hint, **{name: value})


def check_durations(of: str, shortest: str = "1s", longest: str = CENTURY, /, **values: object) -> None:
    """That they are durations within limits. Raises as `check`."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise DeclarationError(f"{of}({name}={value!r}) is not possible.", hint=DURATIONS)
        try:
            possible = duration(shortest) <= duration(value) <= duration(longest)
        except ConfigError as error:
            raise DeclarationError(f"{of}({name}={value!r}) is not possible: {error.what}", hint=error.hint) from None
        if not possible:
            raise DeclarationError(f"{of}({name}={value!r}) is not possible.", hint=f"From {shortest} to {longest}.")
