"""The copy of a version that servers start from, with samples of MLflow's pyfunc predictions: the parity file.

    <home>/versions/<number>-<hash>/     the logged model as MLflow stores it; `parity.json`, `serve.json` and, where the project
                                         has serving protocols of its own, `protocols` beside it (`protocol_code`)
    <home>/serving.json                  names the version in Production

A server reads nothing else, so it starts with the registry and the lakehouse down.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import DataError, DeclarationError
from headrace.core.folders import copy_folder, folder_digest
from headrace.deployment.protocol_code import protocol_code
from headrace.features.matrix import from_json, to_json
from headrace.features.plan import FeaturePlan
from headrace.scoring.predictor import PackagePredictor
from headrace.serving.declarations import Serve
from headrace.serving.manifest import (
    FEEDBACK,
    FILE,
    PACKAGE,
    PARITY,
    PROTOCOLS,
    SERVE,
    Manifest,
    Parity,
    Served,
    beside_digest,
    copy_digest,
    read_feedback,
    read_manifest,
    read_parity,
    read_serve,
    write_manifest,
    write_parity,
)
from headrace.tracking.store import requirements_uncompared
from headrace.tracking.tracking import MLFLOWS_NOTES
from headrace.training.output import differing
from headrace.training.package import read_expected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from headrace.llm.feedback.declarations import Feedback
    from headrace.registry.records import Version
    from headrace.serving.manifest import Role, ServedSplit, Value
    from headrace.tracking.tracking import Tracking
    from headrace.training.package import Origin

SAMPLES = 200
ALONE = 20  # of the samples, also asked one by one


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A copy that lies ready.

    Attributes:
        folder: of the copy.
        copy_hash: of what it holds beside what was registered; to be kept with the version.
        plan: of the package.
        signature_inputs: the columns that MLflow's signature names.
        samples: rows that were tried.
        mismatches: of these, rows that our predictor answers otherwise than MLflow's pyfunc.
    """

    folder: Path
    copy_hash: str
    plan: FeaturePlan
    signature_inputs: tuple[str, ...]
    samples: int
    mismatches: int

    @property
    def plan_inputs(self) -> tuple[str, ...]:
        """The columns that the package's plan names."""
        return tuple(column.name for column in self.plan.inputs)


def folder_name(version: Version) -> str:
    """Of a version's copy, below the home of the model."""
    return f"versions/{version.version}-{version.artifact_hash[:12]}"


def is_whole(folder: Path, version: Version) -> bool:
    """Whether a version's copy is there as it was registered, and what lies beside as it was made for servers."""
    try:
        return copy_digest(folder) == version.logged_hash and beside_digest(folder) == version.copy_hash
    except (DataError, OSError):
        return False


def plan_of(version: Version, home: Path) -> tuple[FeaturePlan, Serve] | None:
    """What a version's copy looks up, and how it is served; None where there is no copy."""
    folder = home / folder_name(version)
    try:
        spec = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return (FeaturePlan.from_json(spec["plan"]), read_serve(folder)) if (folder / SERVE).is_file() else None


def stage(
    tracking: Tracking,
    version: Version,
    home: Path,
    *,
    samples: pd.DataFrame,
    serve: Serve | None,
    origin: Origin,
    feedback: Feedback | None = None,
) -> Staged:
    """Copies a version, and keeps what MLflow's pyfunc answers on some full rows.

    The folder appears whole or not at all; one that is there already is used again. Its `copy_hash` is to be kept with the
    version before anybody serves from it.

    Args:
        tracking: where the version was logged.
        version: to copy.
        home: of the model, below which servers look.
        samples: full rows.
        serve: how it is to be served; default: the usual way.
        origin: the project whose code runs now, which may have serving protocols of its own.
        feedback: that its servers take; None for none.

    Raises:
        DataError: the files are not those that were registered, or predict otherwise than when they were made.
        DeclarationError: a server could not start with the serving protocols (nothing is copied then), or what is to be left
            out of the log is nothing that is in it.
    """
    folder = home / folder_name(version)
    serve = serve or Serve()
    with protocol_code(serve.protocols, origin, model=version.model) as code:
        if not is_whole(folder, version):
            _copy(tracking, version, folder, samples=samples)
        predictor = PackagePredictor(folder / PACKAGE)
        parity = read_parity(folder / PARITY)
        _check_redacted(serve, predictor.plan, parity.output_columns)
        _put_protocols(folder, code)
        _say(folder, serve)
        _say_feedback(folder, feedback)
    _check_expected(predictor, folder, version)
    ours = predictor.predict(from_json(predictor.plan, parity.rows))
    return Staged(
        folder=folder,
        copy_hash=beside_digest(folder),
        plan=predictor.plan,
        signature_inputs=_signature(folder),
        samples=len(parity.rows),
        mismatches=_mismatches(parity, ours),
    )


def _copy(tracking: Tracking, version: Version, folder: Path, *, samples: pd.DataFrame) -> None:
    making = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(making, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tracking.download(version.model_uri) as logged:
            copy_folder(logged, making, without=(MLFLOWS_NOTES, PARITY, SERVE, FEEDBACK, PROTOCOLS))
        found = copy_digest(making)
    except DataError:
        shutil.rmtree(making, ignore_errors=True)
        raise
    if found != version.logged_hash:
        shutil.rmtree(making)
        raise DataError(
            f"the files of {version.name} changed after it was registered: {found} is not {version.logged_hash}.",
            hint="Do not use it. Train again, or restore the files from a backup.",
        )
    write_parity(making / PARITY, _answers(making, version, samples))
    _remove(folder)  # without a parity file: left half-way by somebody who died
    making.rename(folder)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _check_redacted(serve: Serve, plan: FeaturePlan, outputs: Sequence[str]) -> None:
    """A misspelt name would leave in the log what somebody wants out of it."""
    looked_up = [name for lookup in plan.lookups for _, name in lookup.on]
    known = dict.fromkeys([*(each.name for each in plan.inputs), *plan.keys, *plan.spine_columns, *looked_up, *outputs])
    if stray := [name for name in serve.redact if name not in known]:
        raise DeclarationError(
            f"Serve(redact=…) names {stray[0]!r}, which is no input, key or output of this model.",
            hint=f"There is {', '.join(known)}.",
        )


def _put_protocols(folder: Path, code: Path | None) -> None:
    """The code of the serving protocols; None for none. Nothing is written where it lies there already."""
    there = folder / PROTOCOLS
    with suppress(DataError, FileNotFoundError):
        if code is not None and folder_digest(there) == folder_digest(code):
            return
    aside = folder.parent / f".{folder.name}.{PROTOCOLS}.{os.getpid()}"
    _remove(aside)
    making, before = aside / "new", aside / "old"
    aside.mkdir()
    if code is not None:
        copy_folder(code, making)
    if os.path.lexists(there):
        there.rename(before)
    if code is not None:
        making.rename(there)
    _remove(aside)


def _say(folder: Path, serve: Serve) -> None:
    """How it is to be served, in one rename; nothing is written where what was there already leads."""
    with suppress(DataError):
        if read_serve(folder) == serve:
            return
    making = folder.parent / f".{folder.name}.{SERVE}.{os.getpid()}"
    making.write_text(json.dumps(asdict(serve)), encoding="utf-8")
    making.replace(folder / SERVE)


def _say_feedback(folder: Path, feedback: Feedback | None) -> None:
    """The feedback that is taken, as `_say`; no file for none."""
    file = folder / FEEDBACK
    if feedback is None:
        file.unlink(missing_ok=True)
        return
    with suppress(DataError):
        if read_feedback(folder) == feedback:
            return
    making = folder.parent / f".{folder.name}.{FEEDBACK}.{os.getpid()}"
    making.write_text(json.dumps(feedback.to_json()), encoding="utf-8")
    making.replace(file)


def _answers(logged: Path, version: Version, samples: pd.DataFrame) -> Parity:
    from mlflow.pyfunc import load_model

    packaged = PackagePredictor(logged / PACKAGE)
    plan = packaged.plan
    if packaged.chain is not None:  # two answers of a language model differ, and each costs
        samples = samples.iloc[:0]
    names = [column.name for column in plan.inputs]
    rows = to_json(plan, samples)
    asked = Parity(
        artifact_hash=version.artifact_hash,
        columns=tuple(names),
        rows=tuple(tuple(row) for row in rows),
        output_columns=(),
        outputs=(),
        alone=(),
    )
    if packaged.chain is not None:
        return replace(asked, output_columns=packaged.columns)
    with requirements_uncompared():  # where other versions matter, its answers differ from those that were logged
        model = load_model(str(logged))
    frame = samples[names]
    given: Any = model.predict(frame)
    alone: list[Any] = [model.predict(frame.iloc[[place]]) for place in range(min(ALONE, len(frame)))]
    return replace(
        asked,
        output_columns=tuple(str(name) for name in given.columns),
        outputs=_tuples(given),
        alone=tuple(row for each in alone for row in _tuples(each)),
    )


def _tuples(frame: pd.DataFrame) -> tuple[tuple[Value, ...], ...]:
    return tuple(tuple(row) for row in frame.astype(object).to_numpy().tolist())


def promote(
    home: Path,
    version: Version | None,
    *,
    online: str,
    spool: Path,
    others: Sequence[tuple[Version, Role, float]] = (),
    split: ServedSplit | None = None,
) -> bool:
    """Writes `serving.json` for the version in Production and those beside it, unless it says so already.

    A candidate or shadow without a whole copy is left out: it never keeps servers from following Production. `headrace
    status` tells of it, and each call tries again.

    Args:
        home: of the model.
        version: in Production; without one the file is removed.
        online: the address of the online store; that of a file begins with a slash.
        spool: the folder of the inference log.
        others: candidates in their order, then shadows, each with its share.
        split: how candidates are chosen; None without one.

    Returns:
        Whether it said something else than what was declared anew.

    Raises:
        DataError: the version in Production has no whole copy.
    """
    file = home / FILE
    if version is None:
        there = file.exists()
        file.unlink(missing_ok=True)
        return there
    folder = home / folder_name(version)
    if not (folder / SERVE).is_file():
        raise _no_copy(version, folder)
    serve = read_serve(folder)
    said = _said(file)

    def manifest(beside: Sequence[tuple[Version, Role, float]]) -> Manifest:
        candidates = [weight for _, role, weight in beside if role == "candidate"]
        everybody: list[tuple[Version, Role, float]] = [(version, "primary", round(1 - sum(candidates), 9)), *beside]
        return Manifest(
            model=version.model,
            versions=tuple(_served(said, *each) for each in everybody),
            split=split if candidates else None,
            serve=serve,
            online=os.path.relpath(online, home) if online.startswith("/") else online,
            spool=os.path.relpath(spool, home),
            feedback=read_feedback(folder),
        )

    if said == manifest(others):
        return False
    if not is_whole(folder, version):
        raise _no_copy(version, folder)
    whole = [each for each in others if is_whole(home / folder_name(each[0]), each[0])]
    wanted = manifest(whole)
    changed = said is None or replace(said, serve=wanted.serve, feedback=wanted.feedback) != wanted
    if said != wanted:
        write_manifest(file, wanted)
    return changed


def _said(file: Path) -> Manifest | None:
    """What the file says; None when it cannot be read."""
    try:
        return read_manifest(file)
    except DataError:
        return None


def _served(said: Manifest | None, version: Version, role: Role, weight: float) -> Served:
    """A version as the file names it, since when it has its role there."""
    made = Served(
        version=version.version,
        artifact_hash=version.artifact_hash,
        logged_hash=version.logged_hash,
        copy_hash=version.copy_hash or "",
        folder=folder_name(version),
        promoted_at=now().isoformat(),
        role=role,
        weight=weight,
    )
    before = [each for each in said.versions if (each.version, each.role) == (made.version, role)] if said else []
    return replace(made, promoted_at=before[0].promoted_at) if before else made


def _no_copy(version: Version, folder: Path) -> DataError:
    return DataError(
        f"{version.name} has no whole copy for serving: {str(folder)!r} is not there, or was changed.",
        hint=f"headrace run deploy --model {version.model} --version {version.version} makes it.",
    )


def _check_expected(predictor: PackagePredictor, folder: Path, version: Version) -> None:
    """Compares with what the estimator itself predicted when it was fitted, which neither pyfunc nor we computed.

    Raises:
        DataError: rows differ by more than rounding.
    """
    expected = read_expected(folder / PACKAGE)
    if expected is None:
        return
    ours = predictor.predict(from_json(predictor.plan, expected.rows))
    told = differing(ours, expected.frame)
    if told:
        raise DataError(
            f"{version.name} predicts otherwise here than its estimator did when it was fitted: {told}.",
            hint="Other versions of its libraries may be installed here: compare requirements.txt in the logged model, or train again.",
        )


def _signature(folder: Path) -> tuple[str, ...]:
    from mlflow.models import Model

    logged: Any = Model.load(str(folder))
    return tuple(logged.signature.inputs.input_names())


def _mismatches(parity: Parity, ours: pd.DataFrame) -> int:
    if tuple(ours.columns) != parity.output_columns:
        return len(parity.rows)
    return sum(mine != theirs for mine, theirs in zip(_tuples(ours), parity.outputs, strict=True))
