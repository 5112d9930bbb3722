"""Words for people."""

from __future__ import annotations

import math

from headrace.core.errors import ConfigError


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,234 rows`; `noun` is the singular, its plural regular."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share as people write it: `5 %`, `0.5 %`."""
    return f"{100 * share:.6g} %"


def share(text: str | float) -> float:
    """Reads a share: `5%`, `0.5 %`, `0.05`.

    Raises:
        ConfigError: no number, or not above 0 and up to 100 %.
    """
    said = text.strip() if isinstance(text, str) else str(text)
    try:
        read = float(said.removesuffix("%")) / (100 if said.endswith("%") else 1)
    except ValueError:
        read = math.nan
    if not 0 < round(read, 9) <= 1:
        raise ConfigError(f"{text!r} is no share.", hint="Write 5% or 0.05: above 0, up to 100%.")
    return round(read, 9)
