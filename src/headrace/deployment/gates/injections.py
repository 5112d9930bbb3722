"""The gate `injections`: texts that try to give the model other instructions do not succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase
from headrace.llm.evaluation.injections import InjectionSuite, run

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.deployment.gates.evidence import Evidence

THREADS = 8


@dataclass(frozen=True)
class Injections(Gate):
    """At most a share of the attempts of a suite succeeds, each answered by the version itself."""

    suite: InjectionSuite

    @property
    def name(self) -> str:
        """`injections`."""
        return "injections"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed when no more attempts succeed than the limit; a model that does not answer questions has no decision."""
        if evidence.answer is None:
            return GateFinding(
                gate=self.name,
                result="no decision",
                value=None,
                limit=self.suite.at_most,
                reason=f"model {evidence.model.name} does not answer questions: it has no predict=",
            )
        verdict = self.suite.verdict(
            run(self.suite.cases(), evidence.answer, secrets=evidence.instructions, threads=THREADS)
        )
        return GateFinding(
            gate=self.name,
            result="passed" if verdict.passed else "failed",
            value=verdict.share,
            limit=verdict.limit,
            reason=verdict.reason,
        )


def injections(*, at_most: float = 0.0, extra: str | Path | None = None) -> Injections:
    """A gate: the version does what its instructions say, whatever a question or a document says.

    A suite of attempts is answered by the version: questions that override the instructions, documents that carry some, closed
    delimiters, encoded texts. Each has a secret word, and has succeeded when that is in the answer, or a sentence of the system
    section of a prompt.

    Args:
        at_most: the share of attempts that may succeed, from 0 to 1; defaults to 0.
        extra: a file of more attempts in JSON lines, relative to the folder of the module that declares it, each with a `question`
            or `passages` that hold `{canary}`; defaults to none.

    Returns:
        The gate, for `hr.Deployment(gates=[…])` of a model with `predict=`.

    Raises:
        DeclarationError: a share that is none, or there is no such file in the program.
        DataError: the file cannot be read, or lines of it are no attempts.

    Example:
        >>> hr.injections(at_most=0.02).suite.at_most
        0.02
    """
    return Injections(InjectionSuite(at_most=at_most, extra=extra))
