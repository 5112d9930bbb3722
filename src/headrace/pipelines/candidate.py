"""The version that a deployment is about, with everything that its steps are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.scoring.version import load

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import Run
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import PromotionPolicy, Version
    from headrace.registry.registry import Registry
    from headrace.scoring.version import LoadedVersion
    from headrace.tracking.tracking import Tracking
    from headrace.training.package import Origin


def choose(registry: Registry, model: str, version: int | None) -> Version:
    """The version of that number; without one the newest that is not archived.

    Raises:
        NotFoundError: there is none.
    """
    if version is not None:
        return registry.get(model, version)
    if model not in registry.models():
        raise NotFoundError("version of model", model, registry.models(), hint="Train one first: headrace run train")
    active = [each for each in registry.versions(model) if each.stage != "Archived"]
    if not active:
        raise NotFoundError(
            "active version of model", model, None, hint="All were archived. Train another: headrace run train"
        )
    return active[-1]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version on its way to Production.

    Attributes:
        lakehouse: the tables.
        tracking: where versions were logged.
        registry: which moves versions.
        run: of the ledger.
        deployment: declares the gates.
        version: as it was when the deployment began; `current` is read anew.
        as_of: labels known by then count in the comparison.
        home: the folder in which servers of the model look.
        by: who deploys.
        policy: what Production takes, as the running code declares it; it is in force.
        hands: who could act as them (`headrace.access.identity.Identity`).
        origin: the project whose code runs.
    """

    lakehouse: Lakehouse
    tracking: Tracking
    registry: Registry
    run: Run
    deployment: Deployment
    version: Version
    as_of: datetime
    home: Path
    by: str
    policy: PromotionPolicy
    hands: Collection[str]
    origin: Origin

    @cached_property
    def champion(self) -> Version | None:
        """What is in Production now."""
        return self.registry.current(self.deployment.name, "Production")

    @property
    def against(self) -> int | None:
        """The champion's number."""
        return self.champion.version if self.champion else None

    @property
    def current(self) -> Version:
        """The version with its stage of now and the hash of its copy, which are made on the way."""
        return self.registry.get(self.version.model, self.version.version)

    @property
    def name(self) -> str:
        """As steps call it."""
        return f"version {self.version.version}"

    @property
    def key(self) -> dict[str, Json]:
        """What every step depends on."""
        return {"model": self.version.model, "version": self.version.version, "artifact": self.version.artifact_hash}

    def load(self, version: Version) -> AbstractContextManager[LoadedVersion]:
        """A version, of this model, that predicts."""
        return load(
            self.tracking,
            version.model_uri,
            model=version.model,
            number=version.version,
            artifact_hash=version.artifact_hash,
        )
