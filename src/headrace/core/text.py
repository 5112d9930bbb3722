"""Texts in messages for people."""

from __future__ import annotations

import math
import unicodedata

from headrace.core.errors import ConfigError

UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))  # controls, format characters, lone surrogates, separators of lines


def visible(text: str) -> str:
    r"""A text that cannot steer a terminal or hide a part of itself: `\x1b`, `\u202e` for what is not seen.

    Written so are C0 and C1 controls, characters that turn the direction of writing around, have no width or end a line,
    and lone surrogates. Ends of lines and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text.replace("\r\n", "\n")))


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in UNSEEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,234 rows`; `noun` is the singular, its plural regular."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def said(value: float) -> str:
    """A number with three digits that count, or as many as a whole number has: `2.1`, `0.0123`, `12,345`."""
    if abs(value) >= 1e9 or 0 < abs(value) < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


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
