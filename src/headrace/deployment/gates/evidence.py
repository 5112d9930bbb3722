"""The evidence that a gate evaluates, and the evidence that a project's own gate returns."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, cast

from headrace.core.errors import DataError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from headrace.core.ids import Json
    from headrace.deployment.comparison import ComparedRows
    from headrace.deployment.serving_bundle import Staged
    from headrace.features.plan import FeaturePlan
    from headrace.registry.records import Version
    from headrace.training.declarations import Model

MOST_NUMBERS = 200
MOST_TABLES, MOST_ROWS, MOST_COLUMNS, LONGEST = 10, 50, 20, 200  # the last one: characters of a cell
MOST_PICTURES, LARGEST = 4, 262_144  # bytes of one picture
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """The rows that the version was tested on, all with the same index.

    Attributes:
        rows: the full rows: keys, the moment of the decision, and the inputs.
        labels: what came of them.
        outputs: what the version answers: one column for a regression, else one for each class and those of the task.
    """

    rows: pd.DataFrame
    labels: pd.Series
    outputs: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a version when a gate is evaluated.

    Attributes:
        model: as the running code declares it.
        version: its record: number, parameters, metrics, inputs, moments.
        plan: where each of its features comes from.
        descriptions: table → its description, for every table that the model reads.
        champion: the version in Production; None where there is none.
        staged: its copy for serving, with the result of its samples; in the phase `check` only.
        compared: see `comparison`; in the phase `compare` only.
        must_help: it was trained on an alert, and must do better than the champion.
        signed: roles that have approved; in the phase `approve` only.
        answer: question and documents that its searches find first → the version's answer; in the phase `check` of a model with
            `predict=` only.
        instructions: the sentences of the system sections of its prompts; none where `answer` is None.
        load_held_out: reads the test rows and predicts them.
    """

    model: Model
    version: Version
    plan: FeaturePlan
    descriptions: Mapping[str, str]
    champion: Version | None = None
    staged: Staged | None = None
    compared: ComparedRows | None = None
    must_help: bool = False
    signed: tuple[str, ...] = ()
    answer: Callable[[str, Sequence[str]], str] | None = field(default=None, repr=False)
    instructions: tuple[str, ...] = field(default=(), repr=False)
    load_held_out: Callable[[], HeldOutRows] = field(repr=False)

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Metric → its value on the test rows; None where it has no meaning there."""
        return self.version.metrics

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the version takes in, in the order of its signature."""
        return tuple(column.name for column in self.plan.inputs)

    @cached_property
    def held_out(self) -> HeldOutRows:
        """The test rows with their labels and the version's outputs. Read and predicted when it is first asked for."""
        return self.load_held_out()

    @property
    def comparison(self) -> ComparedRows:
        """Labelled decisions that neither version was fitted on, with the outputs of both.

        Raises:
            DeclarationError: the gate is of another phase than `compare`.
        """
        if self.compared is None:
            raise DeclarationError(
                "only a gate of the phase 'compare' has a comparison.", hint='hr.gate(function, phase="compare")'
            )
        return self.compared

    def private(self) -> Evidence:
        """The same with copies of all rows, so that code which changes them changes them for nobody else."""
        compared = self.compared
        if compared is not None:
            copies = {name: getattr(compared, name).copy() for name in ("rows", "labels", "champion", "challenger")}
            compared = replace(compared, **copies)

        def load() -> HeldOutRows:
            kept = self.held_out
            return HeldOutRows(rows=kept.rows.copy(), labels=kept.labels.copy(), outputs=kept.outputs.copy())

        return replace(self, compared=compared, load_held_out=load)


def kept(shown: Mapping[str, object]) -> dict[str, Json]:
    """What a gate shows, by name, as JSON of a bounded size: numbers, tables, and pictures as `data:` URLs.

    At most 200 numbers, 10 tables of 50 rows and 20 columns with cells of 200 characters, and 4 pictures of 256 KiB are
    kept. What is left out is said in `cut`. A missing value of a table is null.

    Args:
        shown: name → a number, a DataFrame or a list of dictionaries, or the bytes of a PNG.

    Returns:
        `{"numbers": {name: number}, "tables": {name: {"columns": […], "rows": [[…]]}}, "pictures": {name: url}, "cut": […]}`

    Raises:
        DataError: a number is not finite, bytes are no PNG, or something is none of these.
    """
    numbers: dict[str, Json] = {}
    tables: dict[str, Json] = {}
    pictures: dict[str, Json] = {}
    cut: list[str] = []
    for key, value in shown.items():
        if not isinstance(key, str) or not key:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"evidence is named by a text, not by {key!r}.")
        name = key[:LONGEST]
        if isinstance(value, bytes):
            if len(pictures) == MOST_PICTURES or len(value) > LARGEST:
                cut.append(f"picture {name}, {len(value):,} bytes")
            else:
                pictures[name] = _picture(name, value)
        elif isinstance(value, Real):
            if len(numbers) == MOST_NUMBERS:
                cut.append(f"number {name}")
            else:
                numbers[name] = _number(name, value)
        elif len(tables) == MOST_TABLES:
            cut.append(f"table {name}")
        else:
            tables[name] = _table(name, _frame(name, value), cut)
    return {"numbers": numbers, "tables": tables, "pictures": pictures, "cut": cast("list[Json]", cut)}


def _number(name: str, value: Real) -> float | int | bool:
    plain = value if isinstance(value, bool | int) else float(value)
    if not math.isfinite(plain):
        raise DataError(f"the number {name!r} is {plain}.")
    return plain


def _picture(name: str, value: bytes) -> str:
    if not value.startswith(PNG):
        raise DataError(f"the picture {name!r} is no PNG.", hint="figure.savefig(buffer, format='png')")
    return f"data:image/png;base64,{base64.b64encode(value).decode()}"


def _frame(name: str, value: object) -> pd.DataFrame:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, list | tuple):
        rows = list(cast("list[object]", value))
        if all(isinstance(row, Mapping) for row in rows):
            return pd.DataFrame.from_records([dict(cast("Mapping[str, object]", row)) for row in rows])
    raise DataError(
        f"the evidence {name!r} is of type {type(value).__name__}.",
        hint="A number, a DataFrame, a list of dictionaries, or the bytes of a PNG.",
    )


def _table(name: str, frame: pd.DataFrame, cut: list[str]) -> dict[str, Json]:
    if len(frame) > MOST_ROWS:
        cut.append(f"{len(frame) - MOST_ROWS:,} of {len(frame):,} rows of {name}")
    if len(frame.columns) > MOST_COLUMNS:
        cut.append(f"{len(frame.columns) - MOST_COLUMNS} of {len(frame.columns)} columns of {name}")
    part = frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    cells = [[_cell(value) for value in row] for row in part.itertuples(index=False, name=None)]
    return {"columns": [str(column)[:LONGEST] for column in part.columns], "rows": cast("list[Json]", cells)}


def _cell(value: object) -> Json:
    if value is None or isinstance(value, bool | str):
        return value[:LONGEST] if isinstance(value, str) else value
    plain = value.item() if hasattr(value, "item") else value  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(plain, bool | int):
        return plain
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else None
    text = str(cast("object", plain))
    return None if text in ("NaT", "<NA>") else text[:LONGEST]
