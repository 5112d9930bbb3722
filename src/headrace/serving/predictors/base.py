"""The interface of a predictor for servers, and the interface of a model's library for predictors."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

Row = list[Any]
Answer = list[Any]
Numbers = np.ndarray[Any, np.dtype[np.float64]]
# How MLflow's scoring server writes an output: a DataFrame, a list, a matrix, lists by name; or it writes it itself.
Shape = Literal["records", "values", "lists", "columns", "whole"]


class UnfitError(Exception):
    """A tier cannot take this version; the text says why, and is empty where the tier is not meant for such versions."""


class BlockPredictor(Protocol):
    """Rows in the order of the plan's inputs → outputs in the order of `columns`.

    `one` is for one thread at a time; `many` may run in other threads meanwhile.
    """

    @property
    def tier(self) -> str:
        """Its name."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the output."""
        ...

    def many(self, rows: list[Row]) -> list[Answer]:
        """The outputs of each row."""
        ...

    def one(self, row: Row) -> Answer:
        """The output of one row asked alone."""
        ...


class Scorer(Protocol):
    """A model's library on blocks of float64, one row a decision, in the order of the model's matrix; missing is NaN.

    `one` is for one thread at a time; `many` may run in other threads meanwhile.

    Attributes:
        outputs: numbers that a row gets: one, or one a class in the order of the package's classes.
    """

    outputs: int

    def one(self) -> list[float]:
        """The numbers of the row that lies in the block of one that this scorer was made with."""
        ...

    def many(self, block: Numbers) -> Numbers:
        """Rows by outputs."""
        ...
