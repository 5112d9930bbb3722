"""Serves a model that MLflow stores and Headrace did not package: a folder with `MLmodel`, or a URI. Any flavour works.

Its inputs come from its signature (if that is of an unknown kind, each body is passed to MLflow unchanged), and the
samples that check the faster tier from its input example. The server does no look-ups, logs nothing, and follows
nothing: the loaded model stays until the server ends.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from headrace.core import credentials, vault
from headrace.core.errors import DataError
from headrace.core.ids import digest
from headrace.features.online.rows import OnlineFeatures
from headrace.features.online.sqlite import SqliteStore
from headrace.features.plan import FeaturePlan
from headrace.serving.codec import Codec
from headrace.serving.declarations import Serve
from headrace.serving.flavours.flavour import Flavour, NotByRowError, shape_of, table, through
from headrace.serving.flavours.signature import ModelSignature, UnknownInputsError
from headrace.serving.flavours.whole import Whole
from headrace.serving.manifest import Manifest, Served
from headrace.serving.predictors import UnfitError, cost
from headrace.serving.predictors.pyfunc import own
from headrace.serving.protocols.prediction_request import NEUTRAL
from headrace.serving.traffic import ServedTraffic
from headrace.serving.version import INLINE, Serving
from headrace.tracking.artifact_store import COPY, ArtifactStore, is_here, repository
from headrace.training.fit_and_log import LOADER
from headrace.training.package import read_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.features.plan import Kind
    from headrace.serving.predictors import Row

ASKED = ("models:/", "runs:/")  # what a tracking server is asked for


def load_bare(place: str, *, serve: Serve | None = None, held: ExitStack | None = None) -> ServedTraffic:
    """Loads a model from a folder, or from a URI that MLflow knows (`models:/name/3`, `runs:/…/model`).

    Args:
        place: the folder or URI; a URI is read with the tracking server that MLflow is set to.
        serve: limits; nothing is logged, whatever it says.
        held: what takes a downloaded copy away when it is closed; default: at the end of the process. A model may read
            its files whenever it is asked.

    Raises:
        DataError: there is no model, or it does not load or answer its input example.
    """
    if held is None:
        held = ExitStack()
        atexit.register(held.close)
    with ExitStack() as copies:
        traffic = _load(place, _folder(place, copies), serve)
        held.push(copies.pop_all())
    return traffic


def _load(place: str, folder: Path, serve: Serve | None) -> ServedTraffic:
    from mlflow.models import Model

    kept: Any = Model.load(str(folder))
    model = _loaded(folder)
    name, version = _known_as(place, folder)
    manifest = Manifest(
        model=name,
        versions=(
            Served(
                version=version,
                artifact_hash=str(kept.model_uuid or ""),
                logged_hash=digest((folder / "MLmodel").read_bytes()),  # which it is; nobody approved it
                copy_hash="",
                folder=str(folder),
                promoted_at=str(kept.utc_time_created),
            ),
        ),
        serve=replace(serve or Serve(), log="none"),
        online="",
        spool="",
    )
    try:
        signature = ModelSignature(kept.signature, _packaged(kept, folder))
        rows = _examples(kept, folder, signature)
        predictor, slower = _choose(model, signature, rows)
    except (UnknownInputsError, NotByRowError) as reason:
        return ServedTraffic(manifest=manifest, primary=_whole(manifest, model, str(reason)))
    return ServedTraffic(manifest=manifest, primary=_serving(manifest, signature, predictor, rows, slower))


def _folder(place: str, copies: ExitStack) -> Path:
    """The folder of a model: where it is on this machine, or a copy that goes with `copies`."""
    if (Path(place) / "MLmodel").is_file():
        return Path(place)
    if ":/" not in place:
        raise DataError(
            f"there is no MLmodel in {place!r}.",
            hint="Name the folder that mlflow.<flavour>.save_model wrote, or a URI: models:/name/3",
        )
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    at = None  # which nobody knows yet
    try:
        with ArtifactStore(place, None).reached():
            kept = repository(place)
            at = credentials.shown(str(kept.artifact_uri))
            into = None
            if not is_here(kept):
                kept.list_artifacts()  # a store that refuses says so here; a download of `runs:/` hides it
                into = copies.enter_context(TemporaryDirectory(prefix=COPY))
            folder = Path(download_artifacts(artifact_uri=place, dst_path=into))
    except (MlflowException, OSError) as error:
        if at is None and place.startswith(ASKED):
            raise DataError(
                f"MLflow gives nothing for {place!r}: {_line(error)}.",
                hint="Set MLFLOW_TRACKING_URI to where the model was logged.",
            ) from error
        raise _missing(place, at or place, _line(error)) from error
    if not (folder / "MLmodel").is_file():  # an object store gives an empty folder for what is gone
        there = sorted({each.relative_to(folder).parts[0] for each in folder.rglob("*") if each.is_file()})
        raise _missing(place, at, f"there is {there}" if there else "nothing is there")
    return folder


def _missing(place: str, at: str, reason: str) -> DataError:
    where = "" if at == place else f" at {at}"
    return DataError(
        f"there is no MLmodel for {place!r}{where}: {reason}.",
        hint="Restore the artifacts from a backup, or name another version or folder.",
    )


def _packaged(kept: Any, folder: Path) -> Mapping[str, Kind]:
    """What Headrace knows of the columns of a version that it packaged itself; nothing of another model's."""
    flavour = kept.flavors.get("python_function", {})
    if flavour.get("loader_module") != LOADER:
        return {}
    plan = read_spec(folder / str(flavour["data"])).plan
    return {column.name: column.kind for column in plan.inputs}


def _known_as(place: str, folder: Path) -> tuple[str, int]:
    """Name and version, as MLflow's registry has them; elsewhere the name of the folder, and 1.

    `models:/name@alias`, `…/latest` and `…/Staging` say which one they were when they were loaded.
    """
    if not place.startswith("models:/"):
        return folder.resolve().name, 1
    from mlflow import MlflowClient
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    with vault.lent():
        name, *version = get_model_name_and_version(MlflowClient(), place)
    return str(name), int(version[0]) if version else 1  # models:/ID is a logged model, which nobody registered


def _loaded(folder: Path) -> Any:
    from mlflow.pyfunc import load_model

    try:
        return load_model(str(folder))
    except Exception as error:
        raise DataError(
            f"the model in {str(folder)!r} does not load: {type(error).__name__}: {_line(error)}.",
            hint="Other versions of its libraries may be installed here: compare requirements.txt in that folder.",
        ) from error


def _examples(kept: Any, folder: Path, signature: ModelSignature) -> list[Row]:
    """The rows of the input example; none when there is none that fits the signature."""
    if kept.saved_input_example_info is None:
        return []
    example = kept.load_input_example(str(folder))
    names = [column.name for column in signature.inputs]
    if hasattr(example, "columns"):
        if not set(names) <= {str(name) for name in example.columns}:
            return []
        _, rows = table(example[names], ())
    elif signature.tensor is not None and getattr(example, "ndim", 0) == 2:
        _, rows = table(example, ())
    else:
        return []
    return [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124  # NaN


def _choose(model: Any, signature: ModelSignature, rows: list[Row]) -> tuple[Flavour, list[str]]:
    """The flavour's own `predict` where it answers the examples as MLflow's does; and why not."""
    enforced = Flavour(signature=signature, ask=through(model))
    tried = rows or [_made_up(signature)]
    tried = tried if len(tried) > 1 else tried * 2  # one row does not tell a model that answers all of them at once
    try:
        given = enforced.ask(signature.data(tried), signature.params)
        columns, _ = table(given, signature.outputs)
        enforced = replace(enforced, columns=columns, shape=shape_of(given))
        answers = _answers(enforced, tried)
    except NotByRowError:
        raise
    except Exception as error:
        if rows or not signature.outputs:
            raise DataError(
                f"the model does not answer {'its input example' if rows else 'a row of zeros'}: "
                f"{type(error).__name__}: {_line(error)}.",
                hint="Log it with input_example=X.head(), rows that it can answer.",
            ) from error
        return replace(enforced, columns=signature.outputs), ["generic: there is no input example to compare with"]
    if not rows:
        return enforced, ["generic: there is no input example to compare with"]
    try:
        direct = replace(enforced, ask=own(model), tier="generic")
        same = _answers(direct, tried) == answers
    except UnfitError as error:
        return enforced, [f"generic: {error}"]
    except Exception as error:  # noqa: BLE001  # whatever a flavour does with what MLflow did not prepare for it
        return enforced, [f"generic: {type(error).__name__}: {_line(error)}"]
    return (direct, []) if same else (enforced, ["generic: MLflow's predict answers the input example otherwise"])


def _answers(predictor: Flavour, rows: list[Row]) -> str:
    """All at once and each alone, so that texts are the same where bits are."""
    return repr([predictor.many(rows), [predictor.one(row) for row in rows]])


def _made_up(signature: ModelSignature) -> Row:
    return [NEUTRAL[column.kind] for column in signature.inputs]


def _whole(manifest: Manifest, model: Any, reason: str) -> Serving:
    plan = FeaturePlan(spine="", at="at", keys=(), key_types=(), inputs=(), features=(), lookups=(), calls=())
    return Serving(
        manifest=manifest,
        served=manifest.primary,
        plan=plan,
        codec=Codec(()),
        predictor=(predictor := Whole(model=model)),
        features=OnlineFeatures(SqliteStore(Path(manifest.primary.folder) / "online.db"), plan),
        columns=predictor.columns,
        full=frozenset(),
        takes=frozenset(),
        sample=(),
        call=INLINE,
        row=0.0,
        slower=(f"generic: {reason}",),
        shape="whole",
    )


def _serving(
    manifest: Manifest, signature: ModelSignature, predictor: Flavour, rows: list[Row], slower: list[str]
) -> Serving:
    names = frozenset(column.name for column in signature.inputs)
    at = "at"
    while at in names:
        at += "_"
    plan = FeaturePlan(
        spine="", at=at, keys=(), key_types=(), inputs=signature.inputs, features=(), lookups=(), calls=()
    )
    sample = rows[0] if rows else _made_up(signature)
    try:
        answer, (call, row) = predictor.one(sample), cost(predictor, sample)
    except Exception:  # noqa: BLE001  # a made-up row is nothing that it must answer
        answer, call, row = [], INLINE, 0.0
    return Serving(
        manifest=manifest,
        served=manifest.primary,
        plan=plan,
        codec=Codec(plan.inputs, optional=signature.optional),
        predictor=predictor,
        features=OnlineFeatures(SqliteStore(Path(manifest.primary.folder) / "online.db"), plan),
        columns=predictor.columns,
        shape=predictor.shape,
        full=names,
        takes=names | {at},
        sample=tuple(answer),
        call=max(call, INLINE),  # always in the one thread: nobody knows what such a model shares between calls
        row=row,
        slower=tuple(slower),
        params=signature.asked,
    )


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")
