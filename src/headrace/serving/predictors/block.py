"""Rows to a block of float64 in the order of the model's matrix, as `features.matrix` reads and encodes them, without pandas.

Numbers are unchanged, a text becomes the index of its value among the learned ones; a missing or unknown value is NaN.
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.features.plan import Feature
    from headrace.serving.predictors.base import Numbers, Row

NAN = float("nan")


class Block:
    """The way from rows to blocks.

    Args:
        names: of the values of a row, in order; of two that are the same the later one counts.
        features: the columns of the matrix, in order; each is among `names`.
        categories: text feature → the values that were learned.

    Attributes:
        alone: a block of one, which `fill` writes.
    """

    def __init__(
        self, names: Sequence[str], features: Sequence[Feature], categories: Mapping[str, Sequence[str]]
    ) -> None:
        places = {name: place for place, name in enumerate(names)}
        self.alone = np.zeros((1, len(features)))
        self._sources = [
            (places[feature.name], Codes(categories[feature.name]) if feature.kind == "string" else None)
            for feature in features
        ]
        self._straight = [at for at, _ in self._sources] == list(range(len(names))) and not categories
        self._pack, self._alone = struct.Struct(f"{len(features)}d").pack_into, self.alone.data

    def fill(self, row: Row) -> None:
        """Puts a row into the block of one."""
        values = (
            row if self._straight else [row[at] if codes is None else codes[row[at]] for at, codes in self._sources]
        )
        try:
            self._pack(self._alone, 0, *values)
        except struct.error:  # a missing value
            self._pack(self._alone, 0, *_known(values))

    def of(self, rows: list[Row], more: Iterable[Sequence[Any]] = ()) -> Numbers:
        """Makes a block.

        Args:
            rows: at least one.
            more: columns that come after those of the rows.
        """
        if self._straight:
            values = list(chain.from_iterable(rows))
        else:
            columns = [*zip(*rows, strict=True), *more]
            chosen = [
                columns[at] if codes is None else map(codes.__getitem__, columns[at]) for at, codes in self._sources
            ]
            values = list(chain.from_iterable(zip(*chosen, strict=True)))
        block = np.empty((len(rows), len(self._sources)))
        pack = struct.Struct(f"{block.size}d").pack_into
        try:
            pack(block.data, 0, *values)
        except struct.error:
            pack(block.data, 0, *_known(values))
        return block

    def of_columns(self, columns: Sequence[Any]) -> Numbers:
        """Makes a block of the columns of rows: arrays of float64 for numbers, texts or None for a text feature."""
        block = np.empty((len(columns[0]), len(self._sources)))
        for place, (at, codes) in enumerate(self._sources):
            block[:, place] = columns[at] if codes is None else [codes[value] for value in columns[at]]
        return block


class Codes(dict[Any, float]):
    """The places of learned values; NaN for any other."""

    def __init__(self, values: Sequence[str]) -> None:
        super().__init__((value, float(place)) for place, value in enumerate(values))

    def __missing__(self, _: object) -> float:
        """Not learned."""
        return NAN


def _known(values: list[Any]) -> list[Any]:
    return [NAN if value is None else value for value in values]
