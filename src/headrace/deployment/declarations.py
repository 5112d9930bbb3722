"""What a user declares about a model at work."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar

from headrace.core.declaration import Location, caller
from headrace.lakehouse.declarations import check_name

if TYPE_CHECKING:
    from headrace.training.declarations import Model


@dataclass(frozen=True)
class Score:
    """Batch scoring of the spine into a table."""

    _: KW_ONLY
    into: str

    def __post_init__(self) -> None:
        check_name(self.into)


@dataclass(frozen=True)
class Deployment:
    """How a model is put to work."""

    namespace: ClassVar[str] = "deployment"

    model: Model
    _: KW_ONLY
    score: Score
    where: Location = field(default_factory=caller, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The model's name: a model has one deployment."""
        return self.model.name
