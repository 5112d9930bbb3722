"""Whether entities are divided as the split declares: a sample-ratio test that is valid at every evaluation.

Versions are compared as if chance had assigned their entities. If a version has far more or fewer entities than its
share, another cause did (one key that many entities share, answers that are lost or fail), and no comparison can be
trusted (Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online controlled experiments", KDD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.text import percent
from headrace.deployment import sequential, traffic_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import TrafficSplit

ALPHA = 0.001  # that entities which are divided as asked are told not to be, over all splits and looks of an experiment
HEAVY = 0.1  # of a version's rows, from which on one entity is named


@dataclass(frozen=True, kw_only=True)
class ShareReceived:
    """What a version got of a split.

    Attributes:
        share: that it should have.
        entities: that it answered; decisions or requests, where there is no entity.
        heaviest: the share of its rows that is of one entity.
    """

    version: int
    share: float
    entities: int
    rows: int
    heaviest: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Entities of each version in one split, beside the shares.

    Attributes:
        evidence: logarithm of an e-value.
        needed: from which on chance is ruled out.
    """

    split: str
    parts: tuple[ShareReceived, ...]
    evidence: float
    needed: float

    @property
    def entities(self) -> int:
        """Of all versions."""
        return sum(part.entities for part in self.parts)

    @property
    def is_off(self) -> bool:
        """Whether chance is ruled out."""
        return self.evidence >= self.needed

    @property
    def explanation(self) -> str:
        """Figures, for a person."""
        far = max(self.parts[1:], key=lambda part: abs(part.entities - part.share * self.entities))
        return (
            f"sample ratio: version {far.version} has {far.entities:,} of {self.entities:,} entities, "
            f"{percent(far.share)} asked, in split {self.split}"
        )


def ratios(lakehouse: Lakehouse, model: str, splits: Sequence[TrafficSplit], *, since: datetime) -> list[Ratio]:
    """The test of each split of an experiment that divided anything, oldest first.

    Each is tested by itself, for an entity that is asked again falls where it fell before; the k-th has the k(k+1)-th part of
    `ALPHA`, which adds up to it however many there are.

    Args:
        lakehouse: where the inference log is.
        model: its name.
        splits: of the experiment, oldest first.
        since: asked after it.
    """
    divided = [each for each in splits if each.candidates and each.primary is not None]
    if not divided:
        return []
    found = traffic_metrics.units(lakehouse, model, since=since, entity=divided[-1].columns)
    made: list[Ratio] = []
    for number, split in enumerate(divided, start=1):
        shares = [
            (split.primary or 0, split.primary_weight),
            *((each.version, each.weight) for each in split.candidates),
        ]
        parts = [_part(found.get((split.id, version)), version, share) for version, share in shares]
        evidence = sequential.uneven([part.entities for part in parts], [part.share for part in parts])
        level = ALPHA / (number * (number + 1))
        made.append(Ratio(split=split.id, parts=tuple(parts), evidence=evidence, needed=sequential.needed(level)))
    return made


def _part(found: traffic_metrics.Units | None, version: int, share: float) -> ShareReceived:
    if found is None:
        return ShareReceived(version=version, share=share, entities=0, rows=0, heaviest=0.0)
    return ShareReceived(
        version=version, share=share, entities=found.units, rows=found.rows, heaviest=found.most / max(found.rows, 1)
    )
