"""The files from which a container is built: the version's copy, `serving.json`, its features, a container file."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.core.folders import copy_folder
from headrace.core.ids import digest
from headrace.core.system import release
from headrace.deployment.serving_bundle import folder_name, is_whole
from headrace.serving.manifest import FILE, PROTOCOLS, Manifest, Served, read_feedback, read_serve, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.registry.records import Version

MARK = ".headrace-export"
MODEL = "model"
REQUIREMENTS = "requirements.txt"
USER = 10001  # not root, and nobody's on the host


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """A kind of place.

    Attributes:
        texts: a version → its files beside the model's, path → text.
        steps: a version, the folder → what to type there to serve it.
    """

    texts: Callable[[Version], dict[str, str]]
    steps: Callable[[Version, Path], list[str]]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        files: relative paths, in order.
        features: whether the online store was a file, and went along as it stood.
    """

    files: tuple[str, ...]
    features: bool


def export(version: Version, home: Path, into: Path, *, online: str, said: Mapping[str, str]) -> Exported:
    """Writes the files; the same version gives the same ones, whatever was there of an earlier export.

    Args:
        version: to be served.
        home: of the model, with the version's copy.
        into: a folder of its own.
        online: the address of the online store; that of a file begins with a slash.
        said: further files, path → text.

    Raises:
        DataError: the version has no whole copy, or the folder holds something else.
    """
    copy = home / folder_name(version)
    if not is_whole(copy, version):
        raise DataError(
            f"{version.name} has no whole copy to serve from.",
            hint=f"headrace run deploy --model {version.model} --version {version.version} makes one.",
        )
    _check(into)
    into.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as aside:
        making = Path(aside) / "new"
        features = _write(making, version, copy, online=online, said=said)
        try:
            if into.exists():
                into.rename(Path(aside) / "old")
            making.rename(into)
        except OSError as error:
            raise DataError(
                f"{str(into)!r} was changed meanwhile: {error.strerror}.",
                hint="Is it exported twice at once? Try again.",
            ) from error
    written = sorted(str(file.relative_to(into)) for file in into.rglob("*") if file.is_file())
    return Exported(files=tuple(written), features=features)


def _write(into: Path, version: Version, copy: Path, *, online: str, said: Mapping[str, str]) -> bool:
    """Everything; gives whether features are among it."""
    into.mkdir()
    (into / MARK).write_text(f"{version.model}/{version.version}\n", encoding="utf-8")
    model = into / MODEL
    copy_folder(copy, model / folder_name(version))
    local = online.startswith("/")
    features = local and Path(online).exists()
    if features:
        _copy_store(Path(online), model / "online.db")
    served = Served(
        version=version.version,
        artifact_hash=version.artifact_hash,
        logged_hash=version.logged_hash,
        copy_hash=version.copy_hash or "",
        folder=folder_name(version),
        promoted_at=version.created.isoformat(),
    )
    write_manifest(
        model / FILE,
        Manifest(
            model=version.model,
            versions=(served,),
            serve=read_serve(copy),
            online="online.db" if local else online,
            spool="../spool",
            feedback=read_feedback(copy),
        ),
    )
    (into / REQUIREMENTS).write_text(_requirements(copy, online), encoding="utf-8")
    (into / "wheels").mkdir()
    (into / "wheels" / "README").write_text("Wheels that no package index has; pip looks here too.\n", encoding="utf-8")
    (into / ".dockerignore").write_text("kubernetes\n.headrace-export\n", encoding="utf-8")
    for name, text in said.items():
        file = into / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for each in (into, *into.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)  # for whoever runs the container
    return features


def image(version: Version) -> str:
    """What the image is called where nobody says otherwise."""
    return f"{name(version.model)}:{version.version}"


def name(model: str) -> str:
    """A label of the DNS, as names of images and of Kubernetes' objects have to be; longer ones can be made of it."""
    said = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40].strip("-")
    if said.replace("-", "_") != model:  # "A_b", "a__b" and a long name, too, keep names of their own
        said = f"{said or 'model'}-{digest(model)[:8]}"
    return f"{said}-server"


def template(name: str, /, **values: object) -> str:
    """A file beside this one, with its `${…}` filled in."""
    text = files("headrace.deployment.targets").joinpath("templates", name).read_text(encoding="utf-8")
    return Template(text).substitute({each: str(value) for each, value in values.items()})


def _check(into: Path) -> None:
    """An export may take the place of nothing or of an earlier one.

    Raises:
        DataError: there is something else.
    """
    if into.exists() and not into.is_dir():
        raise DataError(f"{str(into)!r} is no folder.")
    if into.is_dir() and any(into.iterdir()) and not (into / MARK).is_file():
        raise DataError(
            f"{str(into)!r} holds other files, which an export would remove.", hint="Name a folder of its own."
        )


def _copy_store(file: Path, to: Path) -> None:
    """As one file that can be read where nothing may be written."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as there, closing(sqlite3.connect(to)) as made:
        there.backup(made)
        made.execute("pragma journal_mode = delete")
        made.execute("vacuum")


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _distribution(line: str) -> str:
    """Its name, as indexes compare them."""
    return re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def _requirements(copy: Path, online: str) -> str:
    """What the version was logged with, what its serving protocols need beside that, and the server."""
    lines = _lines(copy / REQUIREMENTS)
    known = {_distribution(line) for line in lines}
    lines += [line for line in _lines(copy / PROTOCOLS / REQUIREMENTS) if _distribution(line) not in known]
    wanted = {
        "otel": read_serve(copy).traces,
        "redis": online.partition("://")[0] in ("redis", "rediss", "unix"),
        "serve": True,
    }
    extras = ",".join([name for name, is_wanted in wanted.items() if is_wanted])
    kept = sorted(line for line in lines if line and not line.lower().startswith(("headrace", "#")))
    return "\n".join([f"headrace[{extras}]=={release()}", *kept]) + "\n"
