"""Loaded, checked and warmed versions, ready to answer. They are immutable, so they can be swapped in one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.features.online.rows import OnlineFeatures
    from headrace.features.plan import FeaturePlan
    from headrace.serving.codec import Codec
    from headrace.serving.manifest import (
        Manifest,
        Served,
    )
    from headrace.serving.predictors import Answer, BlockPredictor, Row
    from headrace.serving.predictors.base import Shape

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
    predictor: BlockPredictor
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
    def lookup_keys(self) -> tuple[str, ...]:
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
        if looks_up and not self.features.is_local:
            return False
        return self.call + self.row * (rows - 1) + looks_up * LOOK_UP * rows < INLINE
