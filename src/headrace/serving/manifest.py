"""What a server starts from: `serving.json`, which names the version in Production, and the parity file of each version.

<home>/serving.json                  replaced in one rename
<home>/<folder>/                     the logged model; `data/package` inside is the package
<home>/<folder>/parity.json          full rows, and the predictions of MLflow's pyfunc for them
<home>/<folder>/serve.json           serving options
<home>/<folder>/feedback.json        the feedback that is taken; not there where none is
<home>/<folder>/protocols/           the project's code of the protocols that these options name, where it is the project's

The whole folder of a version is sealed: `logged_hash` covers the registered files, `copy_hash` everything beside
them. `serving.json` names no version outside its own folder, and no log but that of the same environment.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from headrace.core import vault
from headrace.core.errors import ConfigError, DataError, DeclarationError
from headrace.core.folders import folder_digest, is_inside
from headrace.core.ids import digest
from headrace.core.text import visible
from headrace.llm.feedback.declarations import Feedback
from headrace.serving.declarations import Serve

FILE = "serving.json"
PARITY = "parity.json"
SERVE = "serve.json"
FEEDBACK = "feedback.json"
PROTOCOLS = "protocols"
PACKAGE = Path("data") / "package"
FORMAT = 1
TEXTS = {"Role": "str", "LogPolicy": "str", "MissingPolicy": "str"}
BROKEN = (TypeError, KeyError, AttributeError, ValueError, OSError, RecursionError, ConfigError, DeclarationError)
SECRET = re.compile(r"env:[A-Za-z_]\w*")

Value = None | bool | int | float | str
Role = Literal["primary", "candidate", "shadow"]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A version that servers load.

    Attributes:
        logged_hash: of all files of the copy but the samples, how it is to be served, and the code of its protocols.
        copy_hash: of these.
        folder: with the version's copy, relative to that of the file.
        promoted_at: since when it has this role, ISO 8601.
        role: `primary` is in Production; a `candidate` answers its share; a `shadow` is asked, and its answers only logged.
        weight: its share of the entities (a shadow's: of the requests that it is asked). Those of the primary and the
            candidates add up to 1.
    """

    version: int
    artifact_hash: str
    logged_hash: str
    copy_hash: str
    folder: str
    promoted_at: str
    role: Role = "primary"
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ServedSplit:
    """How traffic is divided among versions.

    Attributes:
        id: of the change that made it so, as the audit has it; it is logged with each answer.
        salt: what the entity is hashed with: one entity stays with its version while the salt stays.
        by: the columns of a request that name the entity; none for the key of the decision.
    """

    id: str
    salt: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in Production, and how it is served. Relative paths start at the folder of the file.

    Attributes:
        versions: the primary first.
        split: None while the primary alone answers.
        online: the address of the online store; `env:NAME` where it is a secret.
        spool: the folder of the inference log.
        feedback: that is taken; None for none.
    """

    model: str
    versions: tuple[Served, ...]
    split: ServedSplit | None = None
    serve: Serve
    online: str
    spool: str
    feedback: Feedback | None = None
    format: int = FORMAT

    @property
    def primary(self) -> Served:
        """The version in Production."""
        return self.versions[0]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Full rows, and what MLflow's pyfunc answers for them. Missing values are None, times are ISO 8601 texts.

    Attributes:
        outputs: of all rows asked at once.
        alone: of the first rows, each asked alone. A model made of matrix products may round the last bit otherwise.
    """

    artifact_hash: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    output_columns: tuple[str, ...]
    outputs: tuple[tuple[Value, ...], ...]
    alone: tuple[tuple[Value, ...], ...]
    format: int = FORMAT


def read_manifest(file: Path) -> Manifest:
    """Reads `serving.json`.

    Raises:
        DataError: it is missing, broken, or of a later Headrace.
    """
    stored = _read(file, "headrace run deploy writes it")
    try:
        split = stored["split"]
        manifest = Manifest(
            model=stored["model"],
            versions=tuple(Served(**each) for each in stored["versions"]),
            split=None if split is None else ServedSplit(id=split["id"], salt=split["salt"], by=tuple(split["by"])),
            serve=Serve(**stored["serve"]),
            online=stored["online"],
            spool=stored["spool"],
            feedback=_feedback(stored.get("feedback")),
            format=stored["format"],
        )
        _check(file, manifest)
    except BROKEN as error:
        raise _broken(file, error) from error
    return manifest


def _check_types(file: Path, record: Served | ServedSplit | Serve | Manifest) -> None:
    """Each field is of its declared type, and a text is one that is fit for headers and terminals."""
    for field in fields(record):
        value, kind = getattr(record, field.name), str(field.type)
        if kind == "int":
            fine = isinstance(value, int) and not isinstance(value, bool)
        elif kind == "float":
            fine = isinstance(value, int | float) and not isinstance(value, bool)
        elif kind == "tuple[str, ...]":
            fine = all(isinstance(each, str) for each in value)
        elif kind == "bool":
            fine = isinstance(value, bool)
        elif kind in ("str", *TEXTS):
            fine = isinstance(value, str)
            if fine and (visible(value) != value or "\n" in value or "\t" in value):
                raise _broken(file, f"{field.name!r} holds control characters")
        else:
            continue  # a record of its own
        if not fine:
            raise _broken(file, f"{field.name!r} is {type(value).__name__}, not {TEXTS.get(kind, kind)}")


def _check(file: Path, manifest: Manifest) -> None:
    for record in (manifest, *manifest.versions, manifest.split, manifest.serve):
        if record is not None:
            _check_types(file, record)
    if manifest.model in ("", ".", "..") or "/" in manifest.model:
        raise _broken(file, f"{manifest.model!r} is no name of a model")
    roles = [each.role for each in manifest.versions]
    if roles[:1] != ["primary"] or roles.count("primary") != 1:
        raise _broken(file, "it must name one primary version, first")
    if unknown := [role for role in roles if role not in get_args(Role)]:
        raise _broken(file, f"{unknown[0]!r} is no role")
    for each in manifest.versions:
        if not 0 <= each.weight <= 1:
            raise _broken(file, f"{each.weight!r} is no share")
        if not is_inside(file.parent, each.folder):
            raise _broken(
                file, f"the folder {each.folder!r} of version {each.version} leads out of {str(file.parent)!r}"
            )
    _check_places(file, manifest)
    if sum(each.weight for each in manifest.versions if each.role == "candidate") > 1 + 1e-9:
        raise _broken(file, "the candidates have more than all of the traffic")


def _check_places(file: Path, manifest: Manifest) -> None:
    """The log is that of the environment, or lies beside a home that is alone; a store in a file is only read."""
    spool = PurePosixPath(manifest.spool)
    known = (PurePosixPath("../spool"), PurePosixPath("../../spool") / manifest.model)
    if spool not in known and not is_inside(file.parent, manifest.spool):
        raise _broken(file, f"the log {manifest.spool!r} is not one of its environment, such as {str(known[1])!r}")
    if manifest.online.startswith("env:") and not SECRET.fullmatch(manifest.online):
        raise _broken(file, "the address of the online store names no environment variable")


def hold_address(home: Path) -> None:
    """Takes the address of the online store out of the environment, if `serving.json` names a variable, for a child to be handed."""
    try:
        online = read_manifest(home / FILE).online
    except DataError:
        return  # whoever serves says so
    if online.startswith("env:"):
        vault.hold(online.removeprefix("env:"))


def write_manifest(file: Path, manifest: Manifest) -> None:
    """Replaces `serving.json` in one rename, so that no reader sees a part of it."""
    _write(file, asdict(manifest))


def read_parity(file: Path) -> Parity:
    """Reads a parity file.

    Raises:
        DataError: it is missing, broken, or of a later Headrace.
    """
    stored = _read(file, "headrace run deploy makes it")
    try:
        return Parity(
            format=stored["format"],
            artifact_hash=stored["artifact_hash"],
            columns=tuple(stored["columns"]),
            rows=tuple(tuple(row) for row in stored["rows"]),
            output_columns=tuple(stored["output_columns"]),
            outputs=tuple(tuple(row) for row in stored["outputs"]),
            alone=tuple(tuple(row) for row in stored["alone"]),
        )
    except (TypeError, KeyError) as error:
        raise _broken(file, error) from error


def write_parity(file: Path, parity: Parity) -> None:
    """Writes a parity file; numbers by their shortest text that reads back as the same bits."""
    _write(file, asdict(parity))


def copy_digest(folder: Path) -> str:
    """Of what was registered of a version, in its copy.

    Raises:
        DataError: the folder holds what cannot be sealed, such as a link.
        OSError: it is not there, or cannot be read.
    """
    return folder_digest(folder, without=(PARITY, SERVE, FEEDBACK, f"{PROTOCOLS}/"))


def beside_digest(folder: Path) -> str:
    """Of what a copy holds beside what was registered: samples, how it is to be served, and the code of its protocols.

    Raises:
        OSError: samples, or how it is to be served, are not there.
        DataError: the code holds what cannot be sealed, such as a link.
    """
    beside = (PARITY, SERVE, *((FEEDBACK,) if os.path.lexists(folder / FEEDBACK) else ()))
    digests = [digest((folder / name).read_bytes()) for name in beside]
    code = folder / PROTOCOLS
    return digest([*digests, folder_digest(code)] if os.path.lexists(code) else digests)


def read_serve(folder: Path) -> Serve:
    """How a version is to be served, as its copy says.

    Raises:
        DataError: the file is missing or broken.
    """
    stored = _object(folder / SERVE, "headrace run deploy makes it")
    try:
        serve = Serve(**stored)
        _check_types(folder / SERVE, serve)
    except BROKEN as error:
        raise _broken(folder / SERVE, error) from error
    return serve


def read_feedback(folder: Path) -> Feedback | None:
    """The feedback that a version takes, as its copy says; None for none.

    Raises:
        DataError: the file is broken.
    """
    file = folder / FEEDBACK
    if not os.path.lexists(file):
        return None
    try:
        return _feedback(_object(file, "headrace run deploy makes it"))
    except BROKEN as error:
        raise _broken(file, error) from error


def _feedback(stored: dict[str, Any] | None) -> Feedback | None:
    return None if stored is None else Feedback.from_json(stored)


def version_folder(file: Path, manifest: Manifest, served: Served | None = None) -> Path:
    """The folder of a version that a manifest names (the primary unless said), after its hash was checked.

    Raises:
        DataError: the folder is not there, or holds other files than those that were promoted.
    """
    served = served or manifest.primary
    folder = file.parent / served.folder
    again = f"headrace run deploy --model {manifest.model} --version {served.version} makes it again."
    if not (folder / PACKAGE / "spec.json").is_file():
        raise DataError(
            f"{str(file)!r} names {manifest.model} version {served.version} in {str(folder)!r}, which is not there.",
            hint=again,
        )
    try:
        found, beside = copy_digest(folder), beside_digest(folder)
    except OSError as error:
        raise DataError(f"{str(folder)!r} cannot be read: {error.strerror}: {error.filename}.", hint=again) from error
    if found != served.logged_hash:
        raise DataError(
            f"the files of {manifest.model} version {served.version} in {str(folder)!r} changed after it was promoted: "
            f"{found} is not {served.logged_hash}.",
            hint=again,
        )
    if beside != served.copy_hash:
        raise DataError(
            f"{PARITY}, {SERVE}, {FEEDBACK} or {PROTOCOLS} of {manifest.model} version {served.version} in {str(folder)!r} changed after it was "
            "copied.",
            hint=again,
        )
    return folder


def check_serve(file: Path, manifest: Manifest) -> None:
    """Refuses a manifest by which the version in Production would be served otherwise than its sealed copy says.

    Raises:
        DataError: it would.
    """
    served = manifest.primary
    folder = file.parent / served.folder
    try:
        kept = (
            beside_digest(folder) == served.copy_hash
            and read_serve(folder) == manifest.serve
            and read_feedback(folder) == manifest.feedback
        )
    except OSError:
        kept = False
    if not kept:
        raise DataError(
            f"{str(file)!r} serves {manifest.model} version {served.version} otherwise than its copy says.",
            hint=f"headrace run deploy --model {manifest.model} --version {served.version} writes both again.",
        )


def _object(file: Path, way: str) -> dict[str, Any]:
    if file.is_symlink():
        raise _broken(file, "it is a link")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no {str(file)!r}.", hint=f"{way}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(file, error) from error
    if not isinstance(stored, dict):
        raise _broken(file, "no JSON object")
    return cast("dict[str, Any]", stored)


def _read(file: Path, way: str) -> dict[str, Any]:
    stored = _object(file, way)
    if not isinstance(stored.get("format"), int):
        raise _broken(file, "no JSON object with a format")
    if stored["format"] > FORMAT:
        raise DataError(
            f"{str(file)!r} has format {stored['format']}; this Headrace reads up to {FORMAT}.",
            hint="It was written by a later Headrace: pip install -U headrace",
        )
    return stored


def _broken(file: Path, error: object) -> DataError:
    return DataError(f"{str(file)!r} cannot be read: {error}.", hint="headrace run deploy writes it again.")


def _write(file: Path, value: dict[str, Any]) -> None:
    making = file.with_name(f".{file.name}.{os.getpid()}")
    with making.open("w", encoding="utf-8") as opened:
        json.dump(value, opened, indent=1)
        opened.flush()
        os.fsync(opened.fileno())
    making.replace(file)
