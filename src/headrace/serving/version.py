"""Versions that are loaded, checked and warmed, ready to answer; they never change, so they can be swapped in one assignment."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from headrace.features.online.opening import open_store
from headrace.features.online.rows import OnlineFeatures
from headrace.features.plan import FeaturePlan
from headrace.serving.codec import Codec
from headrace.serving.manifest import (
    PACKAGE,
    PARITY,
    Manifest,
    Served,
    check_serve,
    read_manifest,
    read_parity,
    version_folder,
)
from headrace.serving.predictors import Predictor, choose, cost
from headrace.serving.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.serving.predictors import Answer, Row
    from headrace.serving.predictors.flavour import Shape

INLINE = 500e-6  # seconds: a longer call leaves the loop to a thread
LOOK_UP = 25e-6  # seconds for the features of a row, where the store is on this machine


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A version at work.

    Attributes:
        columns: of its output.
        shape: of its output, as MLflow's scoring server writes it.
        full: the columns of a row that needs no look-up.
        takes: every column that a row may have.
        sample: one of its answers.
        call: seconds that a call takes.
        row: seconds for each row more.
        slower: why faster tiers were not taken.
        params: checks the parameters of a request, and gives all that there are; None where the model takes none.
    """

    manifest: Manifest
    served: Served
    plan: FeaturePlan
    codec: Codec
    predictor: Predictor
    features: OnlineFeatures
    columns: tuple[str, ...]
    full: frozenset[str]
    takes: frozenset[str]
    sample: tuple[Any, ...]
    call: float
    row: float
    slower: tuple[str, ...]
    params: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    shape: Shape = "records"

    @cached_property
    def looked_up_by(self) -> tuple[str, ...]:
        """Columns of a request that nothing else in its record holds."""
        known = {*self.full, *self.plan.keys}
        return tuple(dict.fromkeys(ours for each in self.plan.lookups for _, ours in each.on if ours not in known))

    @cached_property
    def said(self) -> orjson.Fragment:
        """Which version it is, and what it takes and gives, as each of its records in the log says."""
        served = self.served
        told: dict[str, Any] = {"model": self.manifest.model, "version": served.version, "role": served.role}
        told["key_types"] = dict(self.plan.key_columns)
        return orjson.Fragment(orjson.dumps({**told, "inputs": self.codec.names, "outputs": self.columns}))

    @cached_property
    def number(self) -> str:
        """Of the version."""
        return str(self.served.version)

    def predict(self, rows: list[Row]) -> list[Answer]:
        """The answers, in the calling thread. Not to be called by two threads at once."""
        return [self.predictor.one(rows[0])] if len(rows) == 1 else self.predictor.many(rows)

    def at_once(self, rows: int, *, looks_up: bool) -> bool:
        """Whether so many rows are answered quickly enough to hold the loop meanwhile."""
        if looks_up and not self.features.near:
            return False
        return self.call + self.row * (rows - 1) + looks_up * LOOK_UP * rows < INLINE


def load(file: Path, before: Traffic | None = None) -> Traffic:
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
    return Traffic(manifest=manifest, primary=primary, candidates=tuple(candidates), shadows=shadows)


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
    sample = list(parity.rows[0]) if parity.rows else [None] * len(plan.inputs)
    call, row = cost(predictor, sample)
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
        takes=full | {*features.needed, plan.at},
        sample=tuple(parity.outputs[0]) if parity.outputs else (),
        call=call,
        row=row,
        slower=tuple(slower),
    )
