"""A gate that a project writes itself: a function of the evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Literal, cast

from headrace.core import credentials
from headrace.core.declaration import check, check_texts
from headrace.core.errors import DataError, DeclarationError, HeadraceError
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.answer import GateAnswer
from headrace.deployment.gates.base import Gate, Phase
from headrace.deployment.gates.evidence import kept
from headrace.environments.function_digest import function_digest, place
from headrace.environments.user_code import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.core.ids import Json
    from headrace.deployment.gates.evidence import Evidence

LONGEST = 500  # characters of a reason
RESULTS = ("passed", "failed", "needs review")
HINT = 'Return hr.passed("…"), hr.failed("…") or hr.needs_review("…").'


@dataclass(frozen=True)
class FunctionGate(Gate):
    """A function of the project that is evaluated as a gate.

    Attributes:
        label: the name of the gate.
        when: its phase.
        place: `shop.gates:fair`.
        source: a digest of the text of the function and of what it refers to in the project.
        function: what is called.
    """

    label: str
    when: Literal["check", "compare"]
    place: str
    source: str
    function: Callable[[Evidence], GateAnswer] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """As declared; the function's own name by default."""
        return self.label

    @property
    def phase(self) -> Phase:
        """As declared."""
        return self.when

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """What the function answers. One that raises, answers something else or shows what is no evidence has failed.

        The function gets copies of all rows. Its error is the reason, in one line and without a traceback.
        """
        try:
            answer: object = self.function(evidence.private())
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the project's code raises is no pass
            return self._failed(f"{self.place} raised {_shown(error)}")
        if not isinstance(answer, GateAnswer):
            return self._failed(f"{self.place} returned {_value(answer)}. {HINT}")
        if answer.result not in RESULTS or not isinstance(answer.reason, str) or not answer.reason.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            return self._failed(f"{self.place} gave no reason, or no result that is known. {HINT}")
        try:
            shown = kept(_named(answer.evidence))
        except Exception as error:  # noqa: BLE001  # what it shows is the project's own, whatever it does when it is read
            return self._failed(f"{self.place} returned evidence that cannot be kept: {_shown(error)}")
        return self._finding(answer.result, answer.reason, shown)

    def _failed(self, reason: str) -> GateFinding:
        return self._finding("failed", reason, None)

    def _finding(
        self, result: Literal["passed", "failed", "needs review"], reason: str, shown: dict[str, Json] | None
    ) -> GateFinding:
        text = credentials.hidden(" ".join(reason.split())[:LONGEST])
        return GateFinding(gate=self.name, result=result, value=None, limit=None, reason=text, evidence=shown)


def gate(
    function: Callable[[Evidence], GateAnswer],
    *,
    name: str | None = None,
    phase: Literal["check", "compare"] = "check",
) -> FunctionGate:
    """A gate of one's own: `hr.gate(fair, phase="compare")`.

    The function is called with the evidence on one version. `evidence.metrics` and `.inputs` are its metrics and input
    columns; `.held_out` has `.rows`, `.labels` and `.outputs` of its test rows. In the phase `compare`, `.comparison` has
    `.rows`, `.labels`, and the outputs `.champion` of the version in Production and `.challenger` of this one. A function
    that raises, or returns something else than an answer, fails the version.

    Args:
        function: takes the evidence and returns `hr.passed(…)`, `hr.failed(…)` or `hr.needs_review(…)`. It is written with
            `def` in a file of the project: its text is part of what an approval is bound to.
        name: what findings call it; the function's name by default.
        phase: `"check"` before Staging, or `"compare"` before the request for Production.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Raises:
        DeclarationError: something that is no plain function, whose text cannot be read, or an unknown phase.

    Example:
        `evidence` is what is known of a version of `late_arrival`:

        >>> def same_for_all(evidence):
        ...     tested = evidence.held_out
        ...     late = tested.outputs["probability"].groupby(tested.rows["airline"]).mean()
        ...     gap = float(late.max() - late.min())
        ...     return (hr.passed if gap < 0.1 else hr.failed)(f"the airlines differ by {gap:.2f}", evidence={"gap": gap})
        >>> hr.gate(same_for_all, name="fair").evaluate(evidence).reason
        'the airlines differ by 0.02'
    """
    if not isinstance(function, FunctionType):
        raise DeclarationError(
            f"gate({function!r}) is no function.",
            hint="Write one with def: def fair(evidence): return hr.passed('…').",
        )
    check_texts("gate", 'Write a name: hr.gate(fair, name="fair by region").', name=name or function.__name__)
    check("gate", lambda value: value in ("check", "compare"), 'Write phase="check" or phase="compare".', phase=phase)
    return FunctionGate(
        label=name or function.__name__,
        when=phase,
        place=place(function),
        source=function_digest(function),
        function=cast("Callable[[Evidence], GateAnswer]", function),
    )


def _named(evidence: object) -> Mapping[str, object]:
    from collections.abc import Mapping

    if not isinstance(evidence, Mapping):
        raise DataError(f"evidence= is {_value(evidence)}, not a dictionary by name.")
    return cast("Mapping[str, object]", evidence)


def _shown(error: BaseException) -> str:
    """The type and the first line of an error, by the names that the project gave to its modules."""
    try:
        text = error.what if isinstance(error, HeadraceError) else str(error)
    except Exception:  # noqa: BLE001  # an error of the project may fail to say what it is
        text = ""
    lines = plain(text).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _value(value: object) -> str:
    """None, a number or a short text as it is; of anything else its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:80]
    return f"something of type {type(value).__name__}"
