"""Words for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,234 rows`; `noun` is the singular, its plural regular."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
