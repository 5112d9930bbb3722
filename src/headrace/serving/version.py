"""A version that is loaded, checked and warmed, ready to answer; it never changes, so it can be swapped in one assignment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.features.online.opening import open_store
from headrace.features.online.rows import OnlineFeatures
from headrace.features.plan import FeaturePlan
from headrace.serving.codec import Codec
from headrace.serving.manifest import PACKAGE, PARITY, Manifest, read_manifest, read_parity, version_folder
from headrace.serving.predictors import Predictor, choose, cost

if TYPE_CHECKING:
    from pathlib import Path

INLINE = 200e-6  # seconds: a longer call leaves the loop to a thread


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A version at work.

    Attributes:
        columns: of its output.
        call: seconds that a call takes.
        row: seconds for each row more.
        slower: why faster tiers were not taken.
    """

    manifest: Manifest
    plan: FeaturePlan
    codec: Codec
    predictor: Predictor
    features: OnlineFeatures
    columns: tuple[str, ...]
    call: float
    row: float
    slower: tuple[str, ...]

    def inline(self, rows: int) -> bool:
        """Whether so many rows are answered quickly enough to hold the loop meanwhile."""
        return self.call + self.row * (rows - 1) < INLINE


def load(file: Path) -> Serving:
    """Loads the version that `serving.json` names: hash checked, tier chosen by the parity file, warmed.

    Raises:
        DataError: the file is missing or broken, the version's files changed, or no tier answers its samples.
    """
    manifest = read_manifest(file)
    folder = version_folder(file, manifest)
    parity = read_parity(folder / PARITY)
    plan = FeaturePlan.from_json(json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))["plan"])
    predictor, slower = choose(folder, parity)
    sample = list(parity.rows[0]) if parity.rows else [None] * len(plan.inputs)
    call, row = cost(predictor, sample)
    return Serving(
        manifest=manifest,
        plan=plan,
        codec=Codec(plan.inputs),
        predictor=predictor,
        features=OnlineFeatures(open_store(manifest.online, file.parent), plan),
        columns=predictor.columns,
        call=call,
        row=row,
        slower=tuple(slower),
    )
