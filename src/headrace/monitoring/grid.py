"""Fixed bins of a column, laid once over a reference and kept: what makes histograms of any windows add up.

Numbers have 1,022 inner bins between the 0.05 and the 99.95 percentile of the reference, on a linear scale, or on a
symmetric logarithm where a tail is long; whole numbers have a bin each, around the middle. Below and above, for
NaN, for the two infinities and for null there is a bin each. Texts have a bin for each value of the reference and for
those that come later; of a column with very many values, the most frequent have one, and the others share one.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from headrace.core.ids import Json

INNER = 1022
UNDER, OVER, NAN, MINUS_INFINITY, PLUS_INFINITY = 0, INNER + 1, INNER + 2, INNER + 3, INNER + 4
TAIL = 8.0  # a tail longer than so many interquartile ranges asks for the other scale
SAMPLE = 20_000  # rows of the reference that the bins of numbers are laid over
VALUES = 2**14  # of a text column that have a bin each; of a column with more, only the most frequent have
LISTED = 1_000  # values of such a column that have

LARGEST = sys.float_info.max

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
class Bins:
    """The bins of a numeric column.

    Attributes:
        scale: `linear`, or `log`: sign(y) ln(1 + |y|) of y = (x - shift) / spread. That is a straight line near the middle
            and a logarithm far from it, as the inverse hyperbolic sine is, and takes a third of its time.
        low: beginning of the first inner bin, on the scale.
        width: of a bin, on the scale.
        shift: near the middle of the values; sums are kept around it, so that few digits are lost.
        spread: a robust width of the values.
    """

    column: str
    scale: Literal["linear", "log"]
    low: float
    width: float
    shift: float
    spread: float

    @property
    def id(self) -> str:
        """Histograms of the same id add up."""
        return digest(asdict(self))

    def sql(self, value: str) -> str:
        """SQL for the bin of a double; null for null."""
        low, width = double(self.low), double(self.width)
        first, last = double(self._value(self.low)), double(self._value(self.low + INNER * self.width))
        scaled = value
        if self.scale == "log":
            y = f"({value} - {double(self.shift)}) / {double(self.spread)}"
            scaled = f"sign({y}) * ln(1 + abs({y}))"
        return (  # nearly every row takes the first way; `greatest` and `least` would cost as much as all of it
            f"case when {value} between {first} and {last} then (1 + floor(({scaled} - {low}) / {width}))::usmallint "
            f"when isnan({value}) then {NAN}::usmallint "
            f"when isinf({value}) then (case when {value} > 0 then {PLUS_INFINITY} else {MINUS_INFINITY} end)::usmallint "
            f"when {value} > {last} then {OVER}::usmallint when {value} < {first} then {UNDER}::usmallint end"
        )

    def _value(self, scaled: float) -> float:
        """The number at a place of the scale."""
        far = math.expm1(min(abs(scaled), 709.0))  # e^710 is infinite
        value = scaled if self.scale == "linear" else self.shift + self.spread * math.copysign(far, scaled)
        return min(max(value, -LARGEST), LARGEST)

    def to_json(self) -> dict[str, Json]:
        """For the run ledger; `from_json` reads it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Categories:
    """The bins of a text column.

    Attributes:
        values: that have a bin each, where the reference has too many; None: each value has one, a new one too.
    """

    column: str
    values: tuple[str, ...] | None = None

    @property
    def id(self) -> str:
        """Histograms of the same id add up."""
        return digest({"column": self.column, "values": self.values})

    def to_json(self) -> dict[str, Json]:
        """For the run ledger; `from_json` reads it."""
        return {"column": self.column, "values": None if self.values is None else list(self.values)}


Grid = Bins | Categories


def from_json(kept: Mapping[str, Any]) -> Grid:
    """What `to_json` of either kind gave."""
    if "scale" in kept:
        return Bins(**kept)
    return Categories(column=kept["column"], values=None if kept["values"] is None else tuple(kept["values"]))


def make_grids(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[MonitoredColumn]
) -> dict[str, Grid]:
    """Lays the bins of columns over a reference.

    Args:
        connection: in which `relation` can be read.
        relation: SQL of the reference, as it stands after FROM.
        columns: to lay bins for.
    """
    return {**_number_grids(connection, relation, columns), **_text_grids(connection, relation, columns)}


def double(value: float) -> str:
    """A number as SQL: in parentheses, since `--` begins a comment; with an exponent, since without one it is a decimal."""
    text = repr(value)
    return f"({text if 'e' in text else text + 'e0'})"


def _number_grids(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[MonitoredColumn]
) -> dict[str, Grid]:
    numbers = [column for column in columns if column.kind == "number"]
    if not numbers:
        return {}
    values = ", ".join(f"({column.expression})::double as v{place}" for place, column in enumerate(numbers))
    asked = ", ".join(
        f"quantile_cont(v{place}, [0.0005, 0.25, 0.5, 0.75, 0.9995]) filter (isfinite(v{place})), "
        f"bool_and(v{place} = floor(v{place})) filter (isfinite(v{place}))"
        for place in range(len(numbers))
    )
    found = connection.execute(
        f"select {asked} from (select {values} from {relation} using sample {SAMPLE} rows (reservoir, 7))"
    ).fetchall()[0]
    return {column.name: _bins(column.name, *found[2 * place : 2 * place + 2]) for place, column in enumerate(numbers)}


def _bins(name: str, quantiles: list[float] | None, whole: bool | None) -> Bins:
    if quantiles is None:  # no finite number
        return Bins(column=name, scale="linear", low=-0.5, width=1.0, shift=0.0, spread=1.0)
    # beyond a quarter of what a double can hold, differences would be infinite
    low, lower, middle, upper, high = (min(max(value, -LARGEST / 4), LARGEST / 4) for value in quantiles)
    if whole and high - low < INNER and max(abs(low), abs(high)) < 2**52:  # a half is exact below
        first = math.floor((low + high) / 2) - INNER // 2
        return Bins(
            column=name, scale="linear", low=first - 0.5, width=1.0, shift=float(math.floor(middle)), spread=1.0
        )
    tail = max(high - middle, middle - low)
    spread = max(upper - lower, 1e-12 * max(abs(middle), 1.0), 1e-300 * tail)
    if tail > TAIL * spread:
        first, last = (_logarithm((end - middle) / spread) for end in (low, high))
        return Bins(column=name, scale="log", low=first, width=_width(first, last), shift=middle, spread=spread)
    return Bins(column=name, scale="linear", low=low, width=_width(low, high), shift=middle, spread=spread)


def _logarithm(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


def _width(low: float, high: float) -> float:
    """Of a bin, wide enough that the highest value is an inner one; of a constant, of its own size."""
    if high > low:
        return (high - low) / INNER * (1 + 1e-12)
    return max(abs(low), 1.0) * 1e-9


def _text_grids(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[MonitoredColumn]
) -> dict[str, Grid]:
    texts = [column for column in columns if column.kind == "string"]
    if not texts:
        return {}
    asked = ", ".join(f"approx_count_distinct(({column.expression})::varchar)" for column in texts)
    found = connection.execute(f"select {asked} from {relation}").fetchall()[0]
    return {
        column.name: Categories(
            column=column.name, values=_frequent(connection, relation, column) if distinct > VALUES else None
        )
        for column, distinct in zip(texts, found, strict=True)
    }


def _frequent(connection: duckdb.DuckDBPyConnection, relation: str, column: MonitoredColumn) -> tuple[str, ...]:
    found = connection.execute(
        f"""
        select value
        from (select ({column.expression})::varchar as value from {relation})
        where value is not null
        group by value
        order by count(*) desc, value
        limit {LISTED}
        """
    ).fetchall()
    return tuple(value for (value,) in found)
