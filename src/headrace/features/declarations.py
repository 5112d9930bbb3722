"""What a user declares about features: feature tables, references to them by name, on-demand features."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, TypeVar

from headrace.core.clock import duration
from headrace.core.declaration import caller, check_durations, check_flags
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import Selection, Table, as_columns, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from headrace.core.schema import Schema

ON_DEMAND = "__headrace_on_demand__"
Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class FeatureTable(Table):
    """A table of features with a key, and the moment when each row became available.

    Args:
        name: `"features.customers"`.
        key: the column or columns that the join goes by.
        time: when the row became *available*. The join takes, for each decision, the latest row with `time <= at`.
        sql: one SELECT; None for a table that something else creates and that is only declared here.
        schema: types to cast to at the write; columns that it does not name keep the type that the SELECT returns.
        expect: promises about each row; defaults to none.
        look_back: how old a row may be at the decision, `"2d"`; defaults to any age.
        online: the latest row of each key is published to the online store, for serving; defaults to no.
        change_feed: each version keeps which rows it changed; see `hr.Table`. Defaults to no.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: no name of a table, no key, no time, or a value of the wrong kind.

    Example:
        >>> customers = hr.FeatureTable(
        ...     "features.customers", key="customer", time="available_at", look_back="30d",
        ...     sql="SELECT customer, day + INTERVAL 1 DAY AS available_at, returned_30d FROM silver.customer_days",
        ... )
        >>> customers.window
        datetime.timedelta(days=30)
        >>> customers.select("returned_30d", on={"customer": "buyer"}).on  # the orders call it buyer
        {'customer': 'buyer'}
    """

    _: KW_ONLY
    look_back: str | None = None
    online: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time is None:
            raise DeclarationError(
                f"{self.where}: feature table {self.name!r} needs time=, the column with the moment when a row became available.",
                hint="Without it a model would learn from rows that were not there yet when it had to decide.",
            )
        if self.look_back is not None:
            check_durations(f"{self.name!r}", look_back=self.look_back)
        check_flags(f"{self.name!r}", online=self.online)

    @property
    def window(self) -> timedelta | None:
        """`look_back` as a duration."""
        return None if self.look_back is None else duration(self.look_back)

    def select(
        self, *columns: str, on: Mapping[str, str] | None = None, prefix: str = "", optional: bool = False
    ) -> Selection:
        """Features of this table, looked up point-in-time for each row of the spine.

        Args:
            columns: names in this table.
            on: key column here → column of the spine, where they differ: `{"airport": "dest"}`.
            prefix: put before each name, so that one table can be looked up twice.
            optional: accept a feature that is null on every training row (otherwise training refuses it).
        """
        return Selection(self, as_columns(columns), on=dict(on or {}), prefix=prefix, optional=optional)


@dataclass(frozen=True)
class AllColumns:
    """Every column of the spine that can be a feature: not its key, not its time, not the label; made by `hr.all_columns`."""

    but: tuple[str, ...] = ()


def all_columns(*, but: str | Sequence[str] = ()) -> AllColumns:
    """Every column of the spine as a feature, in the order of the table, but for its key, its time and the label.

    If the model is evaluated with `hr.by_column` or `hr.by_group`, the columns of that split are left out, too.

    Args:
        but: columns that are left out; defaults to none.

    Returns:
        What goes into `hr.Model(features=[…])`, alone or beside on-demand functions. `features="all columns"` is the same
        alone.

    Example:
        >>> tumours = hr.Source("bronze.tumours", files="tumours.csv")
        >>> model = hr.Model("malignancy", task=hr.Binary(label=tumours["malignant"]), spine=tumours,
        ...                  features=[hr.all_columns(but="sample_id")])
        >>> model.inputs  # the label is left out, too
        (AllColumns(but=('sample_id', 'malignant')),)
    """
    return AllColumns(as_columns(but))


@dataclass(frozen=True)
class FeatureTableReference:
    """A feature table by its name only: declared in another project, found when it is resolved."""

    name: str

    def select(
        self, *columns: str, on: Mapping[str, str] | None = None, prefix: str = "", optional: bool = False
    ) -> ReferencedSelection:
        """As `FeatureTable.select`."""
        return ReferencedSelection(self.name, as_columns(columns), dict(on or {}), prefix, optional, str(caller()))


@dataclass(frozen=True)
class ReferencedSelection:
    """A selection whose table is still only a name."""

    name: str
    columns: tuple[str, ...]
    on: Mapping[str, str]
    prefix: str
    optional: bool
    where: str


def external_feature_table(name: str) -> FeatureTableReference:
    """A feature table that something else creates, by name. It is looked up when a pipeline resolves it.

    Args:
        name: of the table, `schema.table` in lower case: `"shared.weather"`.

    Returns:
        A reference. Its `select(…)` returns features, as that of `hr.FeatureTable` does, for `hr.Model(features=[…])`.

    Raises:
        DeclarationError: no name of a table.

    Example:
        >>> weather = hr.external_feature_table("shared.weather")
        >>> weather.select("wind_speed", on={"airport": "dest"}, prefix="dest_").columns
        ('wind_speed',)
        >>> hr.external_feature_table("weather")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: 'weather' is not a table name.
        Write schema.table in lower case letters, digits and underscores: 'silver.orders'.
    """
    return FeatureTableReference(check_name(name))


@dataclass(frozen=True)
class OnDemandSpec:
    """What `on_demand` notes on a function: the columns it gives and the ones it takes."""

    outputs: Schema
    inputs: tuple[str, ...]


def on_demand(outputs: Schema) -> Callable[[Function], Function]:
    """Marks a function whose result is a feature, computed from the request and from other features when it is needed.

    The function stays a plain function. It takes pandas Series that are named as its parameters, and returns a Series (one
    output) or a DataFrame (several) with the same index. The same function runs in training, batch scoring and serving.

    Args:
        outputs: names and types of the columns that it returns: `hr.Schema(hour="int32")`.

    Returns:
        The decorator, `@hr.on_demand(hr.Schema(hour="int32"))`. It returns the function itself, for `hr.Model(features=[…])`.

    Raises:
        DeclarationError: the decorated function has no parameter, or has `*args` or `**kwargs`, which name no column.

    Example:
        >>> import pandas as pd
        >>> @hr.on_demand(hr.Schema(hour="int32"))
        ... def hour_of_day(departs_at: pd.Series) -> pd.Series:
        ...     return departs_at.dt.hour
        >>> hour_of_day(pd.Series(pd.to_datetime(["2013-05-01 17:45", "2013-05-02 06:10"]))).tolist()
        [17, 6]
    """

    def mark(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        if not parameters or any(p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
            raise DeclarationError(
                f"{caller()}: on-demand feature {function.__name__!r} needs named parameters, one a column."
            )
        setattr(function, ON_DEMAND, OnDemandSpec(outputs, tuple(p.name for p in parameters)))
        return function

    return mark
