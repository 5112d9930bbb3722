"""The gate `output_schema`: answers are JSON by a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.declaration import check_numbers
from headrace.core.errors import DeclarationError
from headrace.core.ids import canonical
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase
from headrace.llm.evaluation.output_schema import OutputSchema as Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.deployment.gates.evidence import Evidence


@dataclass(frozen=True)
class OutputSchema(Gate):
    """At least a share of the answers to the evaluation data keeps to a JSON Schema, which is kept as its canonical text."""

    schema: str
    least: float
    checked: Schema

    @property
    def name(self) -> str:
        """`output_schema`."""
        return "output_schema"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    def __repr__(self) -> str:
        """What requests are bound to: the schema and the share."""
        return f"OutputSchema(schema={self.schema}, least={self.least!r})"

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed when enough answers keep to it."""
        outputs = evidence.held_out.outputs
        if "prediction_passages" not in outputs.columns:
            reason = f"model {evidence.model.name} does not answer with texts: it has no predict="
            return GateFinding(gate=self.name, result="no decision", value=None, limit=self.least, reason=reason)
        report = self.checked.check(outputs["prediction"].tolist())
        share = report.share or 0.0
        first = "".join(f"; row {each.row}, {each.path}: {each.message}" for each in report.findings[:1])
        return GateFinding(
            gate=self.name,
            result="passed" if share >= self.least else "failed",
            value=share,
            limit=self.least,
            reason=f"{report.valid} of {report.total} answers keep to the schema{first}",
        )


def output_schema(schema: Mapping[str, Any], *, at_least: float = 1.0) -> OutputSchema:
    """A gate: the answers to the evaluation data are JSON that keeps to a schema.

    Args:
        schema: JSON Schema of Draft 2020-12; it refers to nothing outside of itself.
        at_least: the share of the answers that must keep to it, from 0 to 1; defaults to all.

    Returns:
        The gate, for `hr.Deployment(gates=[…])` of a model with `predict=`.

    Raises:
        DeclarationError: a schema or a share that is none.

    Example:
        >>> gate = hr.output_schema({"type": "object", "required": ["answer"]}, at_least=0.99)
        >>> gate.least
        0.99
    """
    check_numbers("output_schema", at_least=at_least)
    if not 0 <= at_least <= 1:
        raise DeclarationError(f"output_schema(at_least={at_least}) is not possible.", hint="A share from 0 to 1.")
    return OutputSchema(canonical(schema), float(at_least), Schema(schema=schema))
