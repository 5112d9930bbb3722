"""Text files with `<<names>>` in them. Their names end in `.txt`: they are no programs of this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "templates"
PLACE = re.compile(r"<<(\w+)>>")


def render(template: str, values: Mapping[str, str]) -> str:
    """A template with its names replaced. A line of which nothing but a name is replaced by an empty text is left out.

    Args:
        template: path below `templates/`, without `.txt`: `project/README.md`.
        values: the text of each name.

    Raises:
        KeyError: the template has a name that has no text; a test renders each of them.
    """
    text = (FOLDER / f"{template}.txt").read_text(encoding="utf-8")
    lines = [_line(line, values) for line in text.splitlines(keepends=True)]
    return "".join(each for each in lines if each is not None)


def _line(line: str, values: Mapping[str, str]) -> str | None:
    only = PLACE.fullmatch(line.strip())
    if only and not values[only[1]]:
        return None
    return PLACE.sub(lambda found: values[found[1]], line)
