"""The task `Generation`: a text that answers, with the passages that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from headrace.core.declaration import check
from headrace.core.errors import UserCodeError
from headrace.lakehouse.identifiers import column
from headrace.training.generated import NUMBERS, TEXTS, references
from headrace.training.tasks.base import PREDICTION, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

    from headrace.lakehouse.declarations import LabelColumn
    from headrace.training.calibration import Calibration
    from headrace.training.tasks.base import Class, Numbers


@dataclass(frozen=True)
class Generation(Task):
    """A text that answers: what a model with `predict=` returns for each row of its inputs.

    The output has `prediction`, the text; `prediction_passages`, what was retrieved for it, `prediction_searches`, the searches
    that found it, and `prediction_calls`, the calls of language models, all three as JSON; `prediction_finish_reason`; and what
    monitoring watches: `prediction_words`, `prediction_language`, `prediction_refused` (0 or 1), `prediction_retrieved`
    (passages), `prediction_input_tokens`, `prediction_output_tokens`, `prediction_cost` (dollars) and `prediction_latency_ms`.

    Args:
        reference: the column of the evaluation data with the right answer: a text, or a list of texts of which each is right.
        relevant: the column with the keys of the documents that hold the answer, a text or a list; metrics of retrieval compare
            with it. Defaults to none.

    Raises:
        DeclarationError: a column that is no text.

    Example:
        >>> hr.Generation(reference="answer", relevant="documents").columns(())[:3]
        ['prediction', 'prediction_passages', 'prediction_searches']
    """

    name = "Generation"
    method = "generate"
    metrics = ("answer_f1", "exact_match", "rouge_l")

    label: LabelColumn = cast("LabelColumn", None)  # noqa: RUF009  # a model takes it from its evaluation data
    reference: str = "reference"
    relevant: str | None = None

    def __post_init__(self) -> None:
        said = 'Write the name of a column: "answer".'
        check("Generation", _is_name, said, reference=self.reference)
        check("Generation", lambda name: name is None or _is_name(name), said, relevant=self.relevant)

    @property
    def label_sql(self) -> str:
        """See Task: JSON with the right answers and the keys of the relevant documents."""
        fields = {"reference": self.reference, **({"relevant": self.relevant} if self.relevant else {})}
        packed = ", ".join(f"{name} := {column(of)}" for name, of in fields.items())
        return f"case when {column(self.reference)} is not null then to_json(struct_pack({packed}))::varchar end"

    @property
    def label_columns(self) -> tuple[str, ...]:
        """See Task."""
        return (self.reference, *((self.relevant,) if self.relevant else ()))

    def check(self, values: pd.Series) -> pd.Series:
        """Labels as JSON; see Task."""
        wrong = values.map(lambda value: not references(value)).to_numpy(dtype=bool)
        self.refuse(values, wrong, "no text", "The right answer is a text, or a list of texts.")
        return values.astype(object)

    def cast(self, y: pd.Series) -> pd.Series:
        """The labels as they are."""
        return y.astype(object)

    def columns(self, classes: Sequence[Class]) -> list[str]:
        """See Task."""
        del classes
        return [*TEXTS, *NUMBERS]

    def finish(
        self,
        numbers: Numbers,  # noqa: ARG002
        classes: Sequence[Class],  # noqa: ARG002
        calibration: Calibration | None,  # noqa: ARG002
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """Texts are not made of numbers.

        Raises:
            UserCodeError: always.
        """
        raise UserCodeError("a model that generates text has no numbers.")

    def empty(self, classes: Sequence[Class]) -> pd.DataFrame:
        """See Task."""
        frame = super().empty(classes)
        return frame.astype(dict.fromkeys(TEXTS, "object"))

    def baseline(self, y: pd.Series) -> Mapping[str, float | int | str]:
        """No answer at all."""
        del y
        return {**TEXTS, **dict.fromkeys(NUMBERS, 0.0)}

    def watched(self, names: Sequence[str]) -> list[str]:
        """The numbers, and the language."""
        return [name for name in (*NUMBERS, f"{PREDICTION}_language") if name in names]

    def read_by_metrics(self, names: Sequence[str]) -> list[str]:
        """The texts, too."""
        return [name for name in self.columns(()) if name in names]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name)
