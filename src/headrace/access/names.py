"""Allowed names of people and API keys: in one script, and not similar to any name that is already known."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from headrace.access.confusables import PROTOTYPES
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

BOOTSTRAP = "bootstrap"
RESERVED = (BOOTSTRAP, "gates", "headrace", "rollout", "scheduler", "unknown")  # who acts where no person does
LONGEST = 200
MARKS = ".@+-_"
DIGITS = "0123456789"  # those of other scripts have look-alikes among letters, too
SCRIPTS = {
    "LATIN": "Latin",
    "GREEK": "Greek",
    "CYRILLIC": "Cyrillic",
    "ARMENIAN": "Armenian",
    "GEORGIAN": "Georgian",
    "CJK": "Han and kana",  # written together
    "HIRAGANA": "Han and kana",
    "KATAKANA": "Han and kana",
}  # those whose look-alikes `confusables` knows


def check(name: str) -> str:
    """Gives the name back when it is one: letters of one script as Unicode composes them, digits, and a few marks.

    Raises:
        ConfigError: it is none; says why, invisible characters by their code points.
    """
    if wrong := _wrong(name):
        raise ConfigError(
            f"{_printable(name)} is no name: {wrong}.",
            hint=f"A name begins with a letter or digit; there are letters of one script, digits and {' '.join(MARKS)}.",
        )
    return name


def check_free(name: str, known: Iterable[str]) -> str:
    """The same, and neither Headrace itself nor somebody else who is known is taken for them.

    Raises:
        ConfigError: it is none, is reserved, or looks like a known one; spells both out by code points.
    """
    check(name)
    if taken := look_alike(name, RESERVED, itself=True):
        raise ConfigError(
            f"{_printable(name)} is not free: Headrace acts as {taken!r} itself.",
            hint="Call them otherwise.",
        )
    if taken := look_alike(name, known):
        raise ConfigError(
            f"{name!r} looks like {taken!r}, who is somebody else here: {spelt(name)} and {spelt(taken)}.",
            hint=f"Write {taken!r} when they are meant; call somebody else otherwise.",
        )
    return name


def look_alike(name: str, known: Iterable[str], *, itself: bool = False) -> str | None:
    """The first of the known names that a reader takes for this one and that is another (`itself`: or the same)."""
    mine = skeletons(name)
    return next((each for each in known if (itself or each != name) and mine & skeletons(each)), None)


def skeletons(name: str) -> frozenset[str]:
    """What a name looks like, as written and in small letters; two that share one are taken for each other.

    Greek and Cyrillic small letters have the shapes of Latin capitals, so that their names are read in capitals, too.

    >>> sorted(skeletons("Ian"))
    ['ian', 'lan']
    """
    texts = [name, name.casefold()]
    if any(_script(each) not in (None, "Latin") for each in name):
        texts.append(name.upper())
    return frozenset(text.translate(PROTOTYPES).casefold() for text in texts)


def spelt(name: str) -> str:
    """A name by code points: `U+0065 U+0076 U+0061`."""
    return " ".join(f"U+{ord(each):04X}" for each in name)


def _wrong(name: str) -> str:
    """Why it is no name; empty when it is one."""
    if not name:
        return "it is empty"
    if len(name) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    scripts: dict[str, str] = {}
    for each in name:
        if each in DIGITS or each in MARKS:
            continue
        script = _script(each)
        if script is None:
            return f"{_character(each)} cannot stand in it"
        scripts.setdefault(script, each)
    if unicodedata.normalize("NFKC", name) != name:
        return "it is another way to write " + repr(unicodedata.normalize("NFKC", name))
    if len(scripts) > 1:
        return "its letters are of more than one script, " + ", ".join(
            f"{_character(each)} {script}" for script, each in scripts.items()
        )
    if name[0] in MARKS:
        return f"it begins with {name[0]!r}"
    return ""


def _script(each: str) -> str | None:
    """The script of a letter; None for what is no letter of those that a name is written in."""
    if unicodedata.category(each) not in ("Lu", "Ll", "Lo"):
        return None
    return SCRIPTS.get(unicodedata.name(each, "").split(" ", 1)[0])


def _character(each: str) -> str:
    return f"{each!r} (U+{ord(each):04X}, {unicodedata.name(each, 'a character without a name')})"


def _printable(name: str) -> str:
    shown = name if len(name) <= LONGEST else f"{name[:40]}…"
    return ascii(shown) if not shown.isprintable() else repr(shown)
