"""Fixed bins of a column, laid once over a reference and kept: what makes histograms of any windows add up.

Numbers have 1,022 inner bins between the 0.05 and the 99.95 percentile of the reference, on a linear scale, or on an
inverse hyperbolic sine where the tails are long; whole numbers within a thousand have a bin each. Beyond the ends, for NaN
and for null there is a bin each. Texts have a bin for each value of the reference, and for those that come later.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

INNER = 1022  # with what is below, above and NaN fewer than 2^10 + 1: a perfect hash aggregate
UNDER, OVER, NAN = 0, INNER + 1, INNER + 2
TAIL = 8.0  # a tail longer than so many interquartile ranges asks for the other scale
SAMPLE = 100_000  # rows of the reference that the bins are laid over

Kind = Literal["number", "string"]


@dataclass(frozen=True, kw_only=True)
class MonitoredColumn:
    """A column to watch.

    Attributes:
        name: as it is reported.
        expression: SQL over the relation, quoted.
        kind: of its values.
    """

    name: str
    expression: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The bins of a numeric column.

    Attributes:
        scale: `linear`, or `asinh` of (x - shift) / spread.
        low: beginning of the first inner bin, on the scale.
        width: of a bin, on the scale.
        shift: near the middle of the values; sums are kept around it.
        spread: a robust width of the values.
    """

    column: str
    scale: Literal["linear", "asinh"]
    low: float
    width: float
    shift: float
    spread: float

    @property
    def id(self) -> str:
        """Histograms of the same id add up."""
        return digest(asdict(self))

    def sql(self, expression: str) -> str:
        """SQL for the bin of a value; null for null."""
        value = f"({expression})::double"
        scaled = value if self.scale == "linear" else f"asinh(({value} - ({self.shift!r})) / ({self.spread!r}))"
        place = f"1 + floor(({scaled} - ({self.low!r})) / ({self.width!r}))"
        return (
            f"case when {value} is null then null when isnan({value}) then {NAN} "
            f"when isinf({value}) then case when {value} > 0 then {OVER} else {UNDER} end "
            f"else greatest({UNDER}, least({OVER}, {place})) end::usmallint"
        )

    def upper(self, place: int) -> float:
        """The upper edge of a bin, `UNDER` to the last inner one."""
        edge = self.low + place * self.width
        return edge if self.scale == "linear" else self.shift + self.spread * math.sinh(edge)


def make_grids(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[MonitoredColumn]
) -> dict[str, Grid]:
    """Lays the bins of the numeric columns over a reference.

    Args:
        connection: in which `relation` can be read.
        relation: SQL of the reference.
        columns: to lay bins for.
    """
    numbers = [column for column in columns if column.kind == "number"]
    if not numbers:
        return {}
    asked: list[str] = []
    for column in numbers:
        value = f"({column.expression})::double"
        finite = f"case when isfinite({value}) then {value} end"
        asked.append(
            f"quantile_cont({finite}, [0.0005, 0.25, 0.5, 0.75, 0.9995]), bool_and({finite} = floor({finite}))"
        )
    found = connection.execute(
        f"select {', '.join(asked)} from (select * from {relation} using sample {SAMPLE} rows (reservoir, 7))"
    ).fetchall()[0]
    return {
        column.name: _grid(column.name, found[2 * place], found[2 * place + 1]) for place, column in enumerate(numbers)
    }


def _grid(name: str, quantiles: list[float] | None, whole: Any) -> Grid:
    if quantiles is None:  # nothing but nulls
        return Grid(column=name, scale="linear", low=-0.5, width=1.0, shift=0.0, spread=1.0)
    low, lower, middle, upper, high = quantiles
    if whole and high - low < INNER:
        return Grid(
            column=name, scale="linear", low=math.floor(low) - 0.5, width=1.0, shift=float(round(middle)), spread=1.0
        )
    spread = max(upper - lower, 1e-12 * max(abs(middle), 1.0))
    if max(high - middle, middle - low) > TAIL * spread:
        first, last = (math.asinh((end - middle) / spread) for end in (low, high))
        return Grid(column=name, scale="asinh", low=first, width=_width(first, last), shift=middle, spread=spread)
    return Grid(column=name, scale="linear", low=low, width=_width(low, high), shift=middle, spread=spread)


def _width(low: float, high: float) -> float:
    """Of a bin, wide enough that the highest value is an inner one; of a constant, of its own size."""
    if high > low:
        return (high - low) / INNER * (1 + 1e-12)
    return max(abs(low), 1.0) * 1e-9
