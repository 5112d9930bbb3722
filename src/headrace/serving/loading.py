"""Loads the versions that `serving.json` names: checks files, chooses a tier, opens the online store, warms up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.features.online.opening import open_store
from headrace.features.online.rows import OnlineFeatures
from headrace.features.plan import FeaturePlan
from headrace.serving.codec import Codec
from headrace.serving.declared_routes import declared_routes
from headrace.serving.manifest import (
    PACKAGE,
    PARITY,
    PROTOCOLS,
    Manifest,
    Served,
    check_serve,
    read_manifest,
    read_parity,
    version_folder,
)
from headrace.serving.predictors import ChainPredictor, choose, cost
from headrace.serving.protocols.from_outside import CODE
from headrace.serving.traffic import USER, ServedTraffic
from headrace.serving.version import Serving
from headrace.training.generated import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.routes import RouteTable


def load(file: Path, before: ServedTraffic | None = None) -> ServedTraffic:
    """Loads the versions that answer by `serving.json`: hash checked, tier chosen by the parity file, warmed.

    Args:
        file: to read.
        before: what is at work; a version of it that stays is not loaded again.

    Raises:
        DataError: the file is missing or broken, a version's files changed, or no tier answers its samples.
    """
    manifest = read_manifest(file)
    there = {_identity(each): each for each in before.versions()} if before else {}
    end = 0.0
    candidates: list[tuple[float, Serving]] = []
    primary = _load(file, manifest, manifest.primary, there)
    check_serve(file, manifest)
    for served in manifest.versions:
        if served.role == "candidate":
            end += served.weight
            candidates.append((end, _load(file, manifest, served, there)))
    shadows = tuple(each for each in manifest.versions if each.role == "shadow")
    return ServedTraffic(manifest=manifest, primary=primary, candidates=tuple(candidates), shadows=shadows)


def routes_of(file: Path, manifest: Manifest) -> RouteTable:
    """The paths of the protocols that a manifest names, beside those that every server has; see `declared_routes`."""
    return declared_routes(manifest.serve.protocols, file.parent / manifest.primary.folder / PROTOCOLS / CODE)


def _load(file: Path, manifest: Manifest, served: Served, there: dict[tuple[object, ...], Serving]) -> Serving:
    known = there.get((served.version, served.logged_hash, served.copy_hash, served.folder, manifest.online))
    return load_served(file, manifest, served) if known is None else replace(known, manifest=manifest, served=served)


def _identity(serving: Serving) -> tuple[object, ...]:
    served = serving.served
    return served.version, served.logged_hash, served.copy_hash, served.folder, serving.manifest.online


def load_served(file: Path, manifest: Manifest, served: Served) -> Serving:
    """Loads one of the versions that `serving.json` names.

    Raises:
        DataError: its files changed, or no tier answers its samples.
    """
    store = open_store(
        manifest.online, file.parent
    )  # first: a secret leaves the environment before code of a model comes
    folder = version_folder(file, manifest, served)
    parity = read_parity(folder / PARITY)
    plan = FeaturePlan.from_json(json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))["plan"])
    predictor, slower = choose(folder, parity)
    if isinstance(predictor, ChainPredictor):  # an answer costs money, and always takes too long for the event loop
        predictor.version = served.version
        call, row = math.inf, 0.0
        answer = tuple("" if name in TEXTS else 0.0 for name in predictor.columns)
    else:
        call, row = cost(predictor, list(parity.rows[0]) if parity.rows else [None] * len(plan.inputs))
        answer = tuple(parity.outputs[0]) if parity.outputs else ()
    features = OnlineFeatures(store, plan)
    full = frozenset(column.name for column in plan.inputs)
    return Serving(
        manifest=manifest,
        served=served,
        plan=plan,
        codec=Codec(plan.inputs),
        predictor=predictor,
        features=features,
        columns=predictor.columns,
        full=full,
        takes=full | {*features.needed, plan.at} | ({USER} if isinstance(predictor, ChainPredictor) else set()),
        sample=answer,
        call=call,
        row=row,
        slower=tuple(slower),
    )
