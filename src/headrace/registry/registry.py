"""The registry of one environment."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from headrace.core.clock import now
from headrace.core.errors import NotFoundError
from headrace.registry.records import Stage, StageChange, Version
from headrace.registry.tables import STAGES, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, RowMapping

    from headrace.core.state import State
    from headrace.tracking.tracking import Tracking


class Registry:
    """Versions, and the stage of each.

    Args:
        state: where they are kept; tables are made where there are none.
        tracking: whose registry gives version numbers, so that `models:/<name>/<version>` means the same everywhere.
    """

    def __init__(self, state: State, tracking: Tracking) -> None:
        self.state = state
        self.tracking = tracking
        state.create(VERSIONS, STAGES)

    def register(
        self,
        model: str,
        *,
        step_key: str,
        run_id: str,
        model_uri: str,
        artifact_hash: str,
        code: str,
        inputs: Mapping[str, int],
        fit_from: str,
        fit_to: str,
        as_of: str,
        metrics: Mapping[str, float | None],
        description: str = "",
    ) -> Version:
        """Makes a version with stage None; called again with the same `step_key` it gives the same one.

        MLflow's version comes first and is found again by the key: a process that dies between the two stores leaves one
        that the next attempt takes up.
        """
        with self.state.read() as connection:
            if (known := _by_key(connection, step_key)) is not None:
                return known
        tags = {"headrace.artifact_hash": artifact_hash, "headrace.code": code, "headrace.stage": "None"}
        logged = self.tracking.register(
            model, key=step_key, uri=model_uri, run_id=run_id, tags=tags, description=description
        )
        with self.state.begin() as connection:
            if (known := _by_key(connection, step_key)) is not None:
                return known
            at = now()
            connection.execute(
                insert(VERSIONS).values(
                    model=model,
                    version=logged.version,
                    stage="None",
                    step_key=step_key,
                    run_id=run_id,
                    model_uri=model_uri,
                    artifact_hash=artifact_hash,
                    code=code,
                    inputs=dict(inputs),
                    fit_from=fit_from,
                    fit_to=fit_to,
                    as_of=as_of,
                    metrics=dict(metrics),
                    created=at,
                )
            )
            first = {"model": model, "version": logged.version, "stage": "None", "at": at}
            connection.execute(insert(STAGES).values(**first, by=getpass.getuser(), why="registered by training"))
        return self.get(model, logged.version)

    def models(self) -> list[str]:
        """The models that have a version, by name."""
        with self.state.read() as connection:
            return list(connection.execute(select(VERSIONS.c.model).distinct().order_by(VERSIONS.c.model)).scalars())

    def versions(self, model: str | None = None) -> list[Version]:
        """The versions of a model, or of all, oldest first.

        Raises:
            NotFoundError: the model has none; suggests the nearest that has.
        """
        wanted = select(VERSIONS).order_by(VERSIONS.c.model, VERSIONS.c.version)
        if model is not None:
            wanted = wanted.where(VERSIONS.c.model == model)
        with self.state.read() as connection:
            found = [_version(row) for row in connection.execute(wanted).mappings()]
        if model is not None and not found:
            raise NotFoundError(
                "version of a model called", model, self.models(), hint="`headrace run train` makes one."
            )
        return found

    def get(self, model: str, version: int) -> Version:
        """One version.

        Raises:
            NotFoundError: no such model or version.
        """
        versions = {each.version: each for each in self.versions(model)}
        if version not in versions:
            known = [str(number) for number in versions]
            raise NotFoundError(
                f"version of {model}", str(version), known, hint="`headrace model list` shows them all."
            )
        return versions[version]

    def current(self, model: str, stage: Stage) -> Version | None:
        """The newest version of a model in a stage; None when there is none."""
        with self.state.read() as connection:
            row = connection.execute(
                select(VERSIONS)
                .where(VERSIONS.c.model == model, VERSIONS.c.stage == stage)
                .order_by(VERSIONS.c.version.desc())
                .limit(1)
            ).mappings()
            found = row.first()
        return None if found is None else _version(found)

    def history(self, model: str, version: int) -> list[StageChange]:
        """The stages that a version has been in, oldest first."""
        wanted = select(STAGES).where(STAGES.c.model == model, STAGES.c.version == version).order_by(STAGES.c.id)
        with self.state.read() as connection:
            return [
                StageChange(at=row["at"], stage=row["stage"], by=row["by"], why=row["why"])
                for row in connection.execute(wanted).mappings()
            ]


def _by_key(connection: Connection, step_key: str) -> Version | None:
    row = connection.execute(select(VERSIONS).where(VERSIONS.c.step_key == step_key)).mappings().first()
    return None if row is None else _version(row)


def _version(row: RowMapping) -> Version:
    kept: dict[str, Any] = dict(row)
    return Version(**kept)
