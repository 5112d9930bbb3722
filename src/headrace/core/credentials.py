"""Detection of credentials in texts: the one place for everything that is read, printed or stored.

A password is before the host (`scheme://user:password@host`), or is the value of a name (`?password=…`, `;token=…`,
`AccountKey=…`). Names are compared without case and punctuation. In doubt a text is refused: a user whose text is
refused can name an environment variable instead, while an undetected secret would be written into a file.

The part before the host ends at the last @, even if it contains slashes, spaces or quotes, because a password that is
not encoded as it should be is a password nevertheless. Every check takes a time linear in the text, which others may
have written.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

HIDDEN = "…"
LONGEST = 4_096  # of a value that is looked for elsewhere
SHORTEST = 4  # what is shorter stands in any text by chance
URL = re.compile(r"\s*[\"']?(?P<scheme>[\w+.\-:]*)//")
URL_INSIDE = re.compile(r"(?<!//)(?<![\w+.\-:])(?P<scheme>[\w+.\-:]*)//")
LOCAL = re.compile(r"(?:sqlite|file)\b", re.IGNORECASE)  # begins with a path
BY_SLASH = re.compile(r"(?:jdbc:)?oracle\b", re.IGNORECASE)  # user/password@host
PORT_AND_PATH = re.compile(r"[^:@/\s]*:\d+/[^@\s]*(?=\s)")
WORD = re.compile(r"[^\s\"']+")
USER = re.compile(r"(?:^|=)[^:@/?#=]*:(?!//)")
PAIR = re.compile(
    r"(?<![\w.\-\[\]])([\w.\-\[\]]+)(?:\s*=|[\"']\s*[=:])\s*"
    r"(?:[\"'](?=[^\"'])|(?=[^&;#,\s\"']))(?!…(?:[&;#,\s\"']|$))"
)
VALUE = re.compile(rf"[^&;#,\s\"']{{1,{LONGEST}}}")
OPTION = re.compile(  # as PAIR, with all that may belong to the value: to its closing quote, or to the next option
    r"(?<![\w.\-\[\]])(?P<name>[\w.\-\[\]]+)(?P<sign>\s*=\s*|[\"']\s*[=:]\s*)"
    r"(?P<value>\"[^\"\n]*\"?|'[^'\n]*'?|[^&;#,\n\"']+)"
)
FUNCTION = re.compile(r"[?&]code=", re.IGNORECASE)  # the key of an Azure function, in a URL
PARTS = (
    "secret", "password", "passwd", "passphrase", "passcode", "token", "accountkey", "accesskey", "apikey", "privatekey",
    "saskey", "sharedkey", "credential", "signature", "bearer", "jwt",
)  # fmt: skip
WHOLE = ("key", "sig", "sas", "pass", "auth", "authorization", "tok")
ENDS = ("pwd", "pw")
NO_SECRET = ("file", "path", "location", "endpoint", "url", "uri", "id", "type", "method", "mode", "version")
REFERENCE = re.compile(r"""\{\s*secret\s*=\s*(["'])[A-Z][A-Z0-9_]*\1\s*\}""")  # to a variable: no credential


def is_name(name: str) -> bool:
    """Whether an option of this name is a credential: `AWS_SECRET_ACCESS_KEY`, `sslpassword`, `sig`."""
    plain = re.sub(r"[^a-z0-9]", "", _plain(name).lower())
    if plain.endswith(NO_SECRET):
        return False
    return plain in WHOLE or plain.endswith(ENDS) or any(part in plain for part in PARTS)


def is_in(text: str) -> bool:
    """Whether a URL, or another text with options in it, holds a credential, also one that is percent-encoded."""
    text = REFERENCE.sub("", text)
    for _ in range(4):
        text = _plain(text)
        if _in_front(text) or _of_function(text) or any(is_name(name) for name in PAIR.findall(text)):
            return True
        decoded = unquote(text.replace("+", " "))
        if decoded == text:
            return False
        text = decoded
    return True  # nobody encodes an address five times for a good reason


def _plain(text: str) -> str:
    """Full-width letters and the like as usual ones. Each by itself: to put long runs of accents in order is slow."""
    if text.isascii():
        return text
    return "".join(each if each == HIDDEN else unicodedata.normalize("NFKC", each) for each in text)


def _of_function(text: str) -> bool:
    return any(FUNCTION.search(each.partition("://")[2]) for each in text.split())


def _in_front(text: str) -> list[tuple[int, int]]:
    """Where the passwords before hosts begin and end, in order and apart."""
    found: list[tuple[int, int]] = []
    for start, end in sorted([*_of_urls(text), *_of_words(text)]):
        if text[start:end] in ("", HIDDEN):
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _of_urls(text: str) -> list[tuple[int, int]]:
    """Of URLs: a text that begins with one is one, to its end; in another they end with the line or where the next begins."""
    whole = URL.match(text)
    urls = [whole] if whole else list(URL_INSIDE.finditer(text))
    found: list[tuple[int, int]] = []
    for url, after in zip(urls, [*(each.start() for each in urls[1:]), len(text)], strict=False):
        start, end = url.end(), after
        if not whole:
            line = text.find("\n", start, after)
            end = after if line < 0 else line
            told = PORT_AND_PATH.match(text, start, end)
            start = told.end() if told else start
        at = text.rfind("@", start, end)
        if LOCAL.match(url["scheme"]) and text.startswith("/", start):
            continue
        colon = text.find(":", start, max(at, start))
        if colon < 0 and BY_SLASH.match(url["scheme"]):
            colon = text.find("/", start, max(at, start))
        if colon >= 0:
            found.append((colon + 1, at))
    return found


def _of_words(text: str) -> list[tuple[int, int]]:
    """Of what is no URL: `user:password@host`, alone or as a value."""
    found: list[tuple[int, int]] = []
    for word in WORD.finditer(text):
        at = word[0].rfind("@", 0, -1)
        user = USER.search(word[0][:at]) if at > 0 else None
        if user:
            found.append((word.start() + user.end(), word.start() + at))
    return found


def shown(url: str) -> str:
    """A URL fit to be shown: without password, options and fragment."""
    scheme, mark, rest = url.partition("://")
    words = _in_front(url)
    if not mark or (words and words[0][0] <= len(scheme)):
        bare = _without_options(url)
        return HIDDEN if words or is_in(bare) else bare
    if words:
        name = re.split(r"[:/?#;]", rest, maxsplit=1)[0]
        place = _without_options(url[words[-1][1] + 1 :])
    else:
        name, _, place = _without_options(rest).rpartition("@")
    told = f"{scheme}://{f'{name}@' if name else ''}{place}"
    return HIDDEN if is_in(told) else told


def _without_options(url: str) -> str:
    return re.split(r"[?#;]", url, maxsplit=1)[0]


def hidden(text: str) -> str:
    """Any text fit to be kept: without the values that are credentials; `…` alone where they cannot be told from the rest."""
    if not is_in(text):
        return text
    told = OPTION.sub(_without_value, text)
    parts, kept = [], 0
    for start, end in _in_front(told):
        parts += [told[kept:start], HIDDEN]
        kept = end
    told = "".join([*parts, told[kept:]])
    return HIDDEN if is_in(told) else told


def _without_value(found: re.Match[str]) -> str:
    return f"{found['name']}{found['sign']}{HIDDEN}" if is_name(found["name"]) else found[0]


def without(text: str, url: str) -> str:
    """A text, such as a driver's error, without what is secret in the URL that it is about."""
    text = text.replace(url, shown(url))
    found = {value[0] for pair in PAIR.finditer(url) if is_name(pair[1]) and (value := VALUE.match(url, pair.end()))}
    for start, end in _in_front(url):
        found |= {url[start:end], url[start:end].partition("@")[0]}  # an @ may stand in the path, too
    for word in sorted({form for each in found for form in (each, unquote(each))}, key=len, reverse=True):
        if len(word) >= SHORTEST:
            text = text.replace(word, HIDDEN)
    return text
