"""Rows as a DataFrame, and a DataFrame as rows, for the tiers that use pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from headrace.serving.predictors.base import Answer, Row


def frame(names: Sequence[str], rows: list[Row]) -> pd.DataFrame:
    """One column of objects a name."""
    import pandas as pd

    columns = zip(*rows, strict=True)
    return pd.DataFrame(
        {name: pd.Series(list(column), dtype=object) for name, column in zip(names, columns, strict=True)}
    )


def lists(given: pd.DataFrame) -> list[Answer]:
    """Python's own values, row by row."""
    return given.astype(object).to_numpy().tolist()
