"""What all declarations share: a name, and the place in the user's program where they stand."""

from __future__ import annotations

import os
import sys
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import ClassVar

PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"
EXAMPLES = f"{PACKAGE}examples{os.sep}"


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
