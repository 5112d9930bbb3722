"""MLflow models whose bodies are not rows of a known kind: each body is passed unchanged to MLflow's scoring functions.

This applies to a model without a signature, with tensors of more dimensions or several of them, with columns that have
no name or contain lists, objects or bytes, to chat models, and to one that does not return one answer for each row.
MLflow defines the inputs and answers of such a model; there is one call for each request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from headrace.serving.predictors.base import Answer, Row

REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """See Predictor. A row is a body and its kind, an answer the body that is sent back.

    Attributes:
        model: as `mlflow.pyfunc.load_model` gives it.
    """

    model: Any
    tier: str = "mlflow"
    columns: tuple[str, ...] = ("predictions",)

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        return [self.one(row) for row in rows]

    def one(self, row: Row) -> Answer:
        """See Predictor.

        Raises:
            DataError: MLflow cannot read the body, or refuses it by the model's signature.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc.scoring_server import invocations

        body, kind = row
        try:
            said = invocations(body, kind, self.model, self.model.metadata.get_input_schema())
        except MlflowException as error:
            if error.error_code not in REFUSED or getattr(error, "json_kwargs", {}).get("stack_trace"):
                raise
            raise DataError("MLflow cannot read the body, or refuses it by the model's signature.") from error
        if said.status != 200:
            raise DataError(f"MLflow answers {said.status}: it takes no body of this kind.")
        return [said.response.encode()]
