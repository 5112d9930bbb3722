"""The one exit of a server to its terminal, or to the log that stands for it."""

from __future__ import annotations

import sys

from headrace.core.text import visible


def tell(text: object) -> None:
    """A line on stderr. What strangers wrote into it steers no terminal."""
    print(visible(str(text)), file=sys.stderr, flush=True)
