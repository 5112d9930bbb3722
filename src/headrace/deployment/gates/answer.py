"""Results of a project's own gate: passed, failed, or a person has to review."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class GateAnswer:
    """One answer.

    Attributes:
        result: `needs review`: the gate decides nothing, and a person has to.
        reason: one sentence for whoever reads the finding.
        evidence: name → a finite number, a DataFrame or a list of dictionaries, or the bytes of a PNG.
    """

    result: Literal["passed", "failed", "needs review"]
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict[str, object])


def passed(reason: str, *, evidence: Mapping[str, object] | None = None) -> GateAnswer:
    """What a function of `hr.gate` returns when the version passes: `hr.passed("the gap is 0.01", evidence={"gap": 0.01})`.

    Args:
        reason: one sentence, kept with the finding.
        evidence: name → a finite number, a DataFrame or a list of dictionaries, or the bytes of a PNG; defaults to none.
            At most 200 numbers, 10 tables of 50 rows and 20 columns, and 4 pictures of 256 KiB are kept.

    Returns:
        The answer of the gate.

    Example:
        >>> hr.passed("the airlines differ by 0.01", evidence={"gap": 0.01})
        GateAnswer(result='passed', reason='the airlines differ by 0.01', evidence={'gap': 0.01})
    """
    return GateAnswer(result="passed", reason=reason, evidence=evidence or {})


def failed(reason: str, *, evidence: Mapping[str, object] | None = None) -> GateAnswer:
    """What a function of `hr.gate` returns when the version does not pass: it is archived.

    Args:
        reason: one sentence, kept with the finding.
        evidence: as of `hr.passed`; defaults to none.

    Returns:
        The answer of the gate.

    Example:
        >>> by_airline = [{"airline": "AA", "late": 0.31}, {"airline": "UA", "late": 0.12}]
        >>> hr.failed("the airlines differ by 0.19", evidence={"by airline": by_airline}).result
        'failed'
    """
    return GateAnswer(result="failed", reason=reason, evidence=evidence or {})


def needs_review(reason: str, *, evidence: Mapping[str, object] | None = None) -> GateAnswer:
    """What a function of `hr.gate` returns when it decides nothing: the version waits for a person's approval.

    Args:
        reason: one sentence, kept with the finding and shown to whoever decides.
        evidence: as of `hr.passed`; defaults to none.

    Returns:
        The answer of the gate.

    Example:
        `evidence` is what is known of a version that was tested on 600 flights:

        >>> def enough(evidence):
        ...     tested = len(evidence.held_out.labels)
        ...     return hr.passed("enough") if tested > 5_000 else hr.needs_review(f"tested on {tested} flights only")
        >>> finding = hr.gate(enough).evaluate(evidence)
        >>> finding.result, finding.reason
        ('needs review', 'tested on 600 flights only')
    """
    return GateAnswer(result="needs review", reason=reason, evidence=evidence or {})
