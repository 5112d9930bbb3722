"""The contract of a gate: its name, its phase, and its finding on the evidence of one version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.deployment.findings import GateFinding
    from headrace.deployment.gates.evidence import Evidence

Phase = Literal["check", "compare", "approve"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Gate(ABC):
    """One thing that a version must pass. A kind is a frozen dataclass, whose fields are what the project declares.

    The `repr` of a gate is part of the hash of the policy that requests and approvals are bound to. It must therefore be the
    same in every process that declares the same, and another one when the gate asks for something else.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What findings and people call the gate."""

    @property
    @abstractmethod
    def phase(self) -> Phase:
        """When it is evaluated.

        `check`: on the version alone, before Staging. `compare`: beside the version in Production, before the request for
        Production. `approve`: by a person who signs that request.
        """

    @abstractmethod
    def evaluate(self, evidence: Evidence) -> GateFinding:
        """What the gate finds.

        The same evidence gives the same finding, and the evidence is not changed. It may be called again after a process was
        killed. What cannot be judged is `no decision`, never `passed`. A gate reads what there is in its own phase: `staged` is
        None outside of `check`, there is no `comparison` outside of `compare`, and nobody has signed outside of `approve`. A
        value that is equal to the limit passes.

        Returns:
            The finding, which can be written as JSON: with the value that it was judged by, unless there is no decision, and
            the limit; a gate of the project's own shows evidence of its choice instead.

        Raises:
            DataError: the evidence cannot be read. The deployment ends there, and the same command tries again.
        """

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the model that it reads; a deployment whose model has no such metric is refused when it is declared."""
        return ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles whose approval it asks for."""
        return ()


def of_phase(gates: Sequence[Gate], phase: Phase) -> list[Gate]:
    """The gates of one phase, in declared order."""
    return [gate for gate in gates if gate.phase == phase]
