"""What a step leaves in the run ledger: a record with its own reading, and a line for people."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


class StepOutput:
    """A frozen dataclass whose attributes are plain values: texts, numbers, sequences, mappings.

    The ledger keeps the attributes as JSON and the line for people beside them: whoever lists runs later needs neither
    the class nor the release that wrote it. A sequence is read back as a list, and a number that is not finite as None.
    """

    def summary(self) -> str:
        """What the step did, in one line for people."""
        raise NotImplementedError

    def remarks(self) -> Sequence[str]:
        """What a person should read once more than the line: none by default."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """The attributes by name."""
        return {each.name: getattr(self, each.name) for each in fields(cast("Any", self))}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self | None:
        """The record again.

        Returns:
            None where the attributes are not those of this class: another release wrote it, and the step is executed again.
        """
        return cls(**stored) if {each.name for each in fields(cast("Any", cls))} == set(stored) else None
