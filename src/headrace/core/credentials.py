"""Which texts hold a credential: the one place that knows, for what is read, said and written down.

A password stands before the host (`scheme://user:password@host`), or is the value of a name (`?password=…`, `;token=…`,
`AccountKey=…`). Names are compared without case and punctuation. It errs on the side of refusing: whoever is refused names
an environment variable instead, and whoever is not has written a secret into a file.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "…"
# Before the host. SQLAlchemy takes all up to an @, slashes too; what follows the port of an HTTP server is a path.
IN_FRONT = re.compile(r"(?:^|[\s\"'=]|://)[^:@/\s\"'?#=]*:(?!//)(?P<word>[^@\s\"']+)@(?=[^\s\"'])")
IN_URL = re.compile(
    r"://[^:@/\"'?#=\n]*:(?!//)(?P<word>[^@\n]{1,1000})@(?=[^\s\"'])"
)  # also with spaces and quotes in it
AFTER_PORT = re.compile(r"https?://[^:@/\s]*:\d+/")
PAIR = re.compile(r"(?:^|(?<=[\s?&;#,/\"'{]))([A-Za-z][\w.\-]*)(?:\s*=|[\"']\s*[=:])\s*[\"']?(?=([^&;#,\s\"']+))")
OPTION = re.compile(  # as PAIR, with all that may belong to the value: to its closing quote, or to the next option
    r"(?:^|(?<=[\s?&;#,/\"'{]))(?P<name>[A-Za-z][\w.\-]*)(?P<sign>\s*=\s*|[\"']\s*[=:]\s*)"
    r"(?P<value>\"[^\"\n]*\"?|'[^'\n]*'?|[^&;#,\n\"']+)"
)
FUNCTION = re.compile(r"https?://\S*[?&]code=", re.IGNORECASE)  # the key of an Azure function
PARTS = (
    "secret", "password", "passwd", "passphrase", "token", "accountkey", "accesskey", "apikey", "privatekey",
    "saskey", "sharedkey", "credential", "signature", "bearer",
)  # fmt: skip
WHOLE = ("key", "sig", "sas", "pass", "pwd", "pw", "auth", "authorization")
NO_SECRET = ("file", "path", "location", "endpoint", "url", "uri", "id", "type", "method", "mode", "version")
REFERENCE = re.compile(r"""\{\s*secret\s*=\s*(["'])\w+\1\s*\}""")  # to a variable: no credential


def is_name(name: str) -> bool:
    """Whether an option of this name is a credential: `AWS_SECRET_ACCESS_KEY`, `sslpassword`, `sig`."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain.endswith(NO_SECRET):
        return False
    return plain in WHOLE or plain.endswith("pwd") or any(part in plain for part in PARTS)


def is_in(text: str) -> bool:
    """Whether a URL, or another text with options in it, holds a credential, also one that is percent-encoded."""
    text = REFERENCE.sub("", text)
    for _ in range(4):
        if (
            _in_front(text)
            or FUNCTION.search(text)
            or any(is_name(name) for name, value in PAIR.findall(text) if value != HIDDEN)
        ):
            return True
        decoded = unquote(text.replace("+", " "))
        if decoded == text:
            return False
        text = decoded
    return True  # nobody encodes an address five times for a good reason


def _in_front(text: str) -> set[str]:
    bare = AFTER_PORT.sub("", text)
    return {match["word"] for each in (IN_FRONT, IN_URL) for match in each.finditer(bare)} - {HIDDEN}


def shown(url: str) -> str:
    """A URL fit to be shown: without password, options and fragment."""
    bare = re.split(r"[?#;]", url, maxsplit=1)[0]
    scheme, mark, rest = bare.partition("://")
    if not mark:
        return HIDDEN if is_in(bare) else bare
    user, at, place = rest.rpartition("@")
    name = user.partition(":")[0]
    return f"{scheme}://{name + '@' if at and name else ''}{place}"


def hidden(text: str) -> str:
    """Any text fit to be kept: without the values that are credentials; `…` alone where they cannot be told from the rest."""
    if not is_in(text):
        return text
    told = IN_URL.sub(_covered, IN_FRONT.sub(_covered, OPTION.sub(_without_value, text)))
    return HIDDEN if is_in(told) else told


def _covered(found: re.Match[str]) -> str:
    start, end = (at - found.start() for at in found.span("word"))
    return f"{found[0][:start]}{HIDDEN}{found[0][end:]}"


def _without_value(found: re.Match[str]) -> str:
    return f"{found['name']}{found['sign']}{HIDDEN}" if is_name(found["name"]) else found[0]


def without(text: str, url: str) -> str:
    """A text, such as a driver's error, without what is secret in the URL that it is about."""
    text = text.replace(url, shown(url))
    found = _in_front(url) | {value for name, value in PAIR.findall(url) if is_name(name)}
    for word in sorted({form for each in found for form in (each, unquote(each))}, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text
