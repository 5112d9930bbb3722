"""The versions of models, as a contract for the other files of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headrace.core.state import State
    from headrace.registry.policies import Policies
    from headrace.registry.records import Stage, StageChange, Version
    from headrace.registry.requests import Requests
    from headrace.tracking.tracking import Tracking


class Versions(Protocol):
    """The registry, as far as the traffic of a model depends on it."""

    @property
    def state(self) -> State:
        """The state database."""
        ...

    @property
    def tracking(self) -> Tracking:
        """The store in which versions are logged."""
        ...

    @property
    def requests(self) -> Requests:
        """Requests to move a version, and decisions on them."""
        ...

    @property
    def policies(self) -> Policies:
        """What Production takes, as it is declared."""
        ...

    def versions(self, model: str | None = None, *, latest: int | None = None, skip: int = 0) -> list[Version]:
        """Returns the versions of a model, by default of all models.

        Raises:
            NotFoundError: there is no such model.
        """
        ...

    def check(self, model: str) -> None:
        """Refuses a model that has no version.

        Raises:
            NotFoundError: there is no such model.
        """
        ...

    def get(self, model: str, version: int) -> Version:
        """Returns one version.

        Raises:
            NotFoundError: there is no such version.
        """
        ...

    def current(self, model: str, stage: Stage) -> Version | None:
        """Returns the version of a model that is in a stage; None if there is none."""
        ...

    def history(self, model: str, version: int | None = None, *, latest: int | None = None) -> list[StageChange]:
        """Returns the changes of stage of a version, by default of all versions of the model, oldest first."""
        ...
