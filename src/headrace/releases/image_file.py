"""The image file of a release bundle, and the rules that an image file is checked by."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

DOCKERFILE, IGNORE = "Dockerfile", ".dockerignore"
IGNORED = "*\n!requirements.lock\n!wheels.lock\n!wheels\n!project\n**/.headrace\n**/.env\n**/__pycache__\n"
USER, PORT = 10001, 8080
ENTRYPOINT = ("headrace", "serve")
KNOWN = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
TAGGED = re.compile(r"[\w./:-]*?[\w./-]+(:(?P<tag>[\w][\w.-]*))?(@sha256:(?P<digest>[0-9a-f]{64}))?")
SECRET = re.compile(r"(?i)\b\w*(password|passwd|secret|token|api_?key|private_?key|credential)\w*\s*=\s*\S")
TEMPLATE = """\
# Release {release} of {project}: built from this folder alone, without a package index.
#   podman build --file Dockerfile --tag {project}:{tag} .
ARG BASE={base}
FROM ${{BASE}} AS build
COPY requirements.lock wheels.lock /build/
COPY wheels/ /build/wheels/
RUN python -m venv /opt/venv
RUN /opt/venv/bin/python -m pip install --no-cache-dir {install}

FROM ${{BASE}}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid {user} --user-group --create-home worker
COPY --from=build /opt/venv /opt/venv
COPY --chown={user}:{user} project/ /srv/project/
RUN mkdir -p /srv/project/.headrace && chown {user}:{user} /srv/project /srv/project/.headrace
WORKDIR /srv/project
VOLUME /srv/project/.headrace
USER {user}:{user}
EXPOSE {port}
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["python", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/health', timeout=2)"]
ENTRYPOINT ["headrace", "serve"]
CMD ["--env", "{env}", "--host", "0.0.0.0", "--port", "{port}"]
"""


def install_words(folder: str) -> tuple[str, ...]:
    """The words after `pip install` that install the wheels of a bundle and nothing else.

    Args:
        folder: with `wheels/` and `wheels.lock`.
    """
    hashes = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", f"{folder}/wheels.lock")
    return ("--no-index", "--find-links", f"{folder}/wheels", *hashes)


def image_file(*, project: str, release: str, env: str, base: str) -> str:
    """The text of the image file.

    Args:
        project: the name of the project.
        release: the tag.
        env: the environment that is served.
        base: the image that it is built on, with a tag or a digest.
    """
    return TEMPLATE.format(
        project=project,
        release=release,
        tag=re.sub(r"[^\w.-]", "-", release),
        env=env,
        base=base,
        user=USER,
        port=PORT,
        install=" ".join(install_words("/build")),
    )


def is_pinned(image: str) -> bool:
    """Whether an image is named with a digest, or with a tag that is not `latest`."""
    found = TAGGED.fullmatch(image)
    return found is not None and (found["digest"] is not None or found["tag"] not in (None, "latest"))


@dataclass(frozen=True)
class _Instruction:
    """One instruction: its line, its word in capitals, and what follows."""

    line: int
    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """What follows, without flags: of the JSON form its items."""
        plain = self.flags[1]
        if plain.startswith("["):
            try:
                return [str(each) for each in cast("list[object]", json.loads(plain))]
            except ValueError:
                return []
        return plain.split()

    @property
    def flags(self) -> tuple[dict[str, str], str]:
        """`--from=build` and the like, and what follows them."""
        found: dict[str, str] = {}
        rest = self.rest
        while match := re.match(r"--([\w-]+)(?:=(\S*))?\s+", rest):
            found[match[1]] = match[2] or ""
            rest = rest[match.end() :]
        return found, rest.strip()


def problems(text: str, files: Collection[str]) -> list[str]:
    """What is wrong with an image file, a line each; empty where all rules hold.

    The rules: bases are pinned, what is copied is there, nothing is fetched by `ADD`, no value looks like a secret, wheels are
    installed with hashes and without an index, the last user is not root, there is a health check, and the entry point serves.

    Args:
        text: of the file.
        files: the paths of all files beside it.
    """
    instructions = list(_instructions(text))
    found = [f"line {each.line}: {problem}" for each, problem in _each(instructions, files)]
    last = _last_stage(instructions)
    users = [each for each in last if each.word == "USER"]
    if not users or users[-1].rest.strip().partition(":")[0].lower() in ("root", "0", ""):
        found.append("the user is root: USER with a number over 0 is asked for")
    if not any(each.word == "HEALTHCHECK" and each.rest.strip().upper() != "NONE" for each in last):
        found.append("there is no HEALTHCHECK")
    entries = [each for each in last if each.word == "ENTRYPOINT"]
    if not entries or tuple(entries[-1].words) != ENTRYPOINT:
        found.append(f"the entry point is not {json.dumps(ENTRYPOINT)}")
    return found


def _each(instructions: list[_Instruction], files: Collection[str]) -> Iterator[tuple[_Instruction, str]]:
    values: dict[str, str] = {}
    stages: set[str] = set()
    for each in instructions:
        if each.word == "ARG" and not stages:
            name, _, value = each.rest.strip().partition("=")
            values[name] = value.strip("\"'")
        elif each.word == "FROM":
            yield from ((each, problem) for problem in _from(each, values, stages))
        elif each.word == "ADD":
            yield each, "ADD fetches and unpacks; COPY does not"
        elif each.word == "COPY":
            yield from ((each, problem) for problem in _copied(each, files, stages))
        elif each.word == "RUN":
            yield from ((each, problem) for problem in _run(each))
        elif each.word not in KNOWN:
            yield each, f"{each.word} is no instruction"
        elif each.word == "ONBUILD":
            yield each, "ONBUILD does something in another image"
        if each.word in ("ARG", "ENV", "LABEL", "RUN") and SECRET.search(each.rest):
            yield each, "a secret would stay in the image"


def _from(each: _Instruction, values: Mapping[str, str], stages: set[str]) -> Iterator[str]:
    words = each.words
    base = words[0] if words else ""
    named = re.fullmatch(r"\$\{?(\w+)\}?", base)
    base = values.get(named[1], "") if named else base
    if base not in stages and not is_pinned(base):
        yield f"the base {base or words} has neither a tag (other than latest) nor a digest"
    stages.add(words[2] if len(words) == 3 and words[1].upper() == "AS" else f"{len(stages)}")


def _copied(each: _Instruction, files: Collection[str], stages: set[str]) -> Iterator[str]:
    flags, _ = each.flags
    if "from" in flags:
        if flags["from"] not in stages:
            yield f"--from={flags['from']} is no stage of this file"
        return
    if len(each.words) < 2:
        yield "COPY takes a source and a target"
    for source in each.words[:-1]:
        path = source.rstrip("/")
        outside = path.startswith(("/", "..")) or "/../" in path or "://" in path
        if outside or not any(name == path or name.startswith(f"{path}/") for name in files):
            yield f"{source} is not here"


def _run(each: _Instruction) -> Iterator[str]:
    if re.search(r"\bpip3?\b.*\binstall\b", each.rest):
        yield from (
            f"pip install without {word}" for word in ("--no-index", "--require-hashes") if word not in each.rest
        )
    if re.search(r"\b(curl|wget|git clone)\b", each.rest):
        yield "RUN fetches something that no hash is known of"


def _last_stage(instructions: list[_Instruction]) -> list[_Instruction]:
    begins = max((place for place, each in enumerate(instructions) if each.word == "FROM"), default=0)
    return instructions[begins:]


def _instructions(text: str) -> Iterator[_Instruction]:
    """Each instruction on one line, without comments."""
    parts: list[str] = []
    begun = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        begun = begun or number
        parts.append(line.removesuffix("\\").strip())
        if line.endswith("\\"):
            continue
        word, _, rest = " ".join(parts).partition(" ")
        yield _Instruction(begun, word.upper(), rest.strip())
        parts, begun = [], 0
    if parts:
        word, _, rest = " ".join(parts).partition(" ")
        yield _Instruction(begun, word.upper(), rest.strip())
