"""The plan of a model's features: which columns a full row has, where each comes from, and which columns the model sees.

A plan is created once, from declarations and the schemas of the tables; from then on training, batch scoring and the
packaged model all follow the same plan. It is plain data and travels with the model as JSON.

Types, the same everywhere:

* a numeric or boolean feature is float64, missing is NaN;
* a text feature is a pandas category; its values are learned from the fitting rows, any other value is missing;
* a timestamp is not a feature, but an on-demand function may compute a feature from it. A selected timestamp that such a
  function takes is an input of the row and not a column of the model.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.features.declarations import ON_DEMAND, AllColumns, FeatureTable, OnDemandSpec, ReferencedSelection
from headrace.features.keys import is_key_type
from headrace.lakehouse.declarations import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.lakehouse.declarations import Spine

Kind = Literal["number", "string", "timestamp", "timestamp_utc"]
Origin = Literal["spine", "table", "on_demand"]
DECLARED: Mapping[str, Kind] = {
    **dict.fromkeys(("bool", "int8", "int16", "int32", "int64", "float32", "float64"), "number"),
    "string": "string",
    "date": "timestamp",
    "timestamp": "timestamp",
    "timestamp_utc": "timestamp_utc",
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """A column of the full row: what a caller of the packaged model gives.

    Attributes:
        name: the column's name in the row.
        kind: how it is read. A date is a `timestamp` at midnight.
        origin: `spine`, or `table` when it is looked up point-in-time.
    """

    name: str
    kind: Kind
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A column of the model's matrix, in declared order.

    Attributes:
        name: as the model sees it (with its prefix).
        kind: `number` or `string`.
        origin: where it comes from.
        optional: whether it may be null on every fitting row.
    """

    name: str
    kind: Kind
    origin: Origin
    optional: bool


@dataclass(frozen=True, kw_only=True)
class FeatureLookup:
    """One point-in-time look-up in one feature table.

    Attributes:
        table: its name.
        on: pairs (key column of the table, column of the spine).
        time: the table's column with the moment when a row became available.
        look_back: how old a row may be at the decision, in seconds; None is any age.
        columns: pairs (column of the table, name in the full row).
    """

    table: str
    on: tuple[tuple[str, str], ...]
    time: str
    look_back: float | None
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class OnDemandCall:
    """One on-demand function: the columns that it takes, and pairs (column, declared type) that it gives."""

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """Everything that is needed to go from a spine to full rows, and from full rows to the model's matrix.

    Attributes:
        spine: the table of decisions.
        at: its column with the moment of each decision.
        keys: its key columns.
        key_types: their declared types, in that order, as `lakehouse.columns.type_name` writes them.
        inputs: the columns of a full row, in order.
        features: the columns of the model's matrix, in order.
        lookups: how the inputs of origin `table` are found.
        calls: the on-demand functions, in declared order.
    """

    spine: str
    at: str
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    inputs: tuple[Input, ...]
    features: tuple[Feature, ...]
    lookups: tuple[FeatureLookup, ...]
    calls: tuple[OnDemandCall, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the model's matrix."""
        return tuple(feature.name for feature in self.features)

    @property
    def key_columns(self) -> tuple[tuple[str, str], ...]:
        """Pairs (key column, declared type)."""
        return tuple(zip(self.keys, self.key_types, strict=True))

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """The columns of the spine that a full row carries itself (not those that are only looked up with)."""
        return tuple(column.name for column in self.inputs if column.origin == "spine")

    @property
    def tables(self) -> tuple[str, ...]:
        """The spine and every feature table, each once."""
        return tuple(dict.fromkeys((self.spine, *(lookup.table for lookup in self.lookups))))

    def to_json(self) -> dict[str, Json]:
        """The plan as JSON."""
        return cast("dict[str, Json]", asdict(self))

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> FeaturePlan:
        """The plan that `to_json` gave, also after a round through text."""
        read = cast("dict[str, Any]", stored)
        return cls(
            spine=read["spine"],
            at=read["at"],
            keys=tuple(read["keys"]),
            key_types=tuple(read["key_types"]),
            inputs=tuple(Input(**each) for each in read["inputs"]),
            features=tuple(Feature(**each) for each in read["features"]),
            lookups=tuple(_lookup(each) for each in read["lookups"]),
            calls=tuple(
                OnDemandCall(function=each["function"], inputs=tuple(each["inputs"]), outputs=_pairs(each["outputs"]))
                for each in read["calls"]
            ),
        )


def plan(
    spine: Spine,
    features: Sequence[Selection | ReferencedSelection | AllColumns | Callable[..., object]],
    schemas: Mapping[str, pa.Schema],
    *,
    resolve: Callable[[str], FeatureTable] | None = None,
) -> FeaturePlan:
    """Plans the features of a model.

    Args:
        spine: the decisions.
        features: as a model declares them.
        schemas: table name → schema, for the spine and every feature table.
        resolve: finds a feature table that is declared by its name only.

    Raises:
        DeclarationError: two columns of one name, a key without a spine column, keys of different types, a column that
            cannot be a feature, an on-demand input that nobody gives.
        NotFoundError: an unknown table or column; suggests the nearest.
    """
    planner = _Planner(spine, schemas, resolve)
    for feature in features:
        if isinstance(feature, Selection | ReferencedSelection):
            planner.select(feature)
        elif isinstance(feature, AllColumns):
            planner.select_all(feature)
        else:
            planner.call(feature)
    return planner.finish()


OWN = ("_label", "_part")
WRITTEN_BY_US = ("_written_at", "_file", "_digest")  # of feature tables and of sources


def check_free(name: str, said: str) -> None:
    """Refuses a column whose name Headrace uses itself where it puts training sets and joins together.

    Raises:
        DeclarationError: `_label`, `_part`, or a name that begins with two underscores.
    """
    if name.lower() in OWN or name.startswith("__"):
        raise DeclarationError(
            f"{said}: a model cannot take a column called {name!r}; Headrace uses such names itself.",
            hint=f"Rename it in the table's SQL, to {name.strip('_') or 'another name'!r} for example.",
        )


def on_demand_functions(
    features: Sequence[Selection | ReferencedSelection | AllColumns | Callable[..., object]],
) -> dict[str, Callable[..., object]]:
    """The on-demand functions among declared features, by name."""
    selected = (Selection, ReferencedSelection, AllColumns)
    return {_name(feature): feature for feature in features if not isinstance(feature, selected)}


@dataclass
class _Wanted:
    """A selected column, before it is known whether an on-demand function takes it."""

    name: str
    said: str
    kind: Kind
    origin: Origin
    _: KW_ONLY
    optional: bool = False


class _Planner:
    """Collects while it checks; `finish` gives the plan."""

    def __init__(
        self, spine: Spine, schemas: Mapping[str, pa.Schema], resolve: Callable[[str], FeatureTable] | None
    ) -> None:
        self.spine, self.schemas, self.resolve = spine, schemas, resolve
        self.columns = self._schema(spine.table.name)
        self.order: list[_Wanted | OnDemandCall] = []
        self.lookups: list[FeatureLookup] = []
        self.functions: set[str] = set()
        for column in (*spine.table.keys, spine.at):
            self._column(spine.table.name, column)
        if _kind(self.columns.field(spine.at).type) not in ("timestamp_utc", "timestamp"):
            raise DeclarationError(
                f"{spine.table.where}: {spine.at!r} of spine {spine.table.name!r} is {self.columns.field(spine.at).type}, not a time.",
                hint="spine=table.at(column) takes the column with the moment of each decision.",
            )
        self.key_types = tuple(self._key_type(name) for name in spine.table.keys)

    def _key_type(self, name: str) -> str:
        from headrace.lakehouse.columns import type_name

        found = type_name(self.columns.field(name).type)
        if not is_key_type(found):
            raise DeclarationError(
                f"{self.spine.table.where}: key {name!r} of spine {self.spine.table.name!r} is {found}, by which decisions are not told apart.",
                hint="A key is a text, a number, a truth value, a date or a time: cast it in the table's SQL.",
            )
        return found

    def _schema(self, table: str) -> pa.Schema:
        if table not in self.schemas:
            raise NotFoundError("table", table, self.schemas, hint="`headrace table list` shows what there is.")
        return self.schemas[table]

    def _column(self, table: str, column: str, *, at: object = "") -> pa.DataType:
        schema = self._schema(table)
        if column not in schema.names:
            told = f"Asked for at {at}. " if at else ""
            hint = f"{told}If its SELECT has gained it since, build the table first: headrace run refresh"
            raise NotFoundError(f"column of {table}", column, schema.names, hint=hint)
        return schema.field(column).type

    def select(self, declared: Selection | ReferencedSelection) -> None:
        """Takes columns of the spine or of a feature table."""
        selection = self._resolved(declared)
        if selection.table.name == self.spine.table.name:
            self._want(selection, "spine")
        elif isinstance(selection.table, FeatureTable):
            self._want(selection, "table")
            self.lookups.append(self._lookup(selection, selection.table))
        else:
            raise DeclarationError(
                f"{selection.where}: {selection.table.name!r} is neither the spine nor a feature table.",
                hint="Declare it as hr.FeatureTable(…, key=…, time=…): features are looked up as of the decision.",
            )

    def select_all(self, declared: AllColumns) -> None:
        """Takes every column of the spine but its key, its time and those that are left out."""
        table = self.spine.table
        for name in declared.but:
            self._column(table.name, name, at=table.where)
        own = {*table.keys, self.spine.at, *WRITTEN_BY_US, *declared.but}
        columns = [name for name in self.columns.names if name not in own]
        strange = [name for name in columns if _kind(self.columns.field(name).type) not in ("number", "string")]
        if strange:
            left_out = ", ".join(repr(name) for name in (*declared.but, *strange))
            told = ", ".join(f"{name} is {self.columns.field(name).type}" for name in strange)
            raise DeclarationError(
                f"of all columns of {table.name!r}, {told}; a feature is a number, a boolean or a text.",
                hint=f"Leave them out, features=[hr.all_columns(but=[{left_out}])], or make features of them in SQL.",
            )
        if columns:
            self.select(Selection(table, tuple(columns), where=table.where))

    def _resolved(self, declared: Selection | ReferencedSelection) -> Selection:
        if isinstance(declared, Selection):
            return declared
        if self.resolve is None:
            raise NotFoundError("feature table", declared.name, None, hint=f"Asked for at {declared.where}.")
        table = self.resolve(declared.name)
        return Selection(
            table,
            declared.columns,
            on=declared.on,
            prefix=declared.prefix,
            optional=declared.optional,
            where=declared.where,
        )

    def _want(self, selection: Selection, origin: Origin) -> None:
        for column in selection.columns:
            said = f"{selection.table.name}.{column}"
            found = self._column(selection.table.name, column, at=selection.where)
            kind = _kind(found)
            if kind is None:
                raise DeclarationError(
                    f"{selection.where}: {said} is {found}; a feature is a number, a boolean or a text.",
                    hint="Select an expression of it in the table's SQL.",
                )
            if origin == "spine" and selection.prefix:
                raise DeclarationError(
                    f"{selection.where}: prefix={selection.prefix!r} on the spine: its columns keep their names."
                )
            self.order.append(_Wanted(f"{selection.prefix}{column}", said, kind, origin, optional=selection.optional))

    def _lookup(self, selection: Selection, table: FeatureTable) -> FeatureLookup:
        self._column(table.name, table.time or "", at=table.where)
        for key in selection.on:
            if key not in table.keys:
                raise NotFoundError(f"key of {table.name}", key, table.keys, hint=f"In on= at {selection.where}.")
        pairs = [(key, selection.on.get(key, key)) for key in table.keys]
        for key, column in pairs:
            if column not in self.columns.names:
                raise DeclarationError(
                    f"{selection.where}: {table.name!r} is looked up by {key!r}, and spine {self.spine.table.name!r} has no column {column!r}.",
                    hint=f"Say which column holds it: select(…, on={{{key!r}: 'column of the spine'}}). It has {', '.join(self.columns.names)}.",
                )
            ours, theirs = self.columns.field(column).type, self._column(table.name, key, at=table.where)
            if family(ours) != family(theirs):
                raise DeclarationError(
                    f"{selection.where}: key {key!r} of {table.name!r} is {theirs}, but {column!r} of spine {self.spine.table.name!r} is {ours}.",
                    hint="Cast one of them in its table's SQL: keys of different types never meet.",
                )
        return FeatureLookup(
            table=table.name,
            on=tuple(pairs),
            time=table.time or "",
            look_back=None if table.window is None else table.window.total_seconds(),
            columns=tuple((column, f"{selection.prefix}{column}") for column in selection.columns),
        )

    def call(self, function: Callable[..., object]) -> None:
        """Takes an on-demand function."""
        marked = getattr(function, ON_DEMAND, None)
        name = _name(function)
        if not isinstance(marked, OnDemandSpec):
            raise DeclarationError(
                f"the feature {getattr(function, 'name', name)!r} is neither a selection nor an on-demand function.",
                hint="Write table.select('column'), or mark a function: @hr.on_demand(hr.Schema(hour='int32')).",
            )
        if name in self.functions:
            raise DeclarationError(f"two on-demand functions are called {name!r}.", hint="Rename one of them.")
        self.functions.add(name)
        for output, declared in marked.outputs.columns.items():
            if DECLARED[declared] not in ("number", "string"):
                raise DeclarationError(
                    f"on-demand feature {name!r} gives {output!r} as {declared}; a feature is a number, a boolean or a text."
                )
        self.order.append(
            OnDemandCall(function=name, inputs=marked.inputs, outputs=tuple(marked.outputs.columns.items()))
        )

    def finish(self) -> FeaturePlan:
        """Checks names against each other, and settles what the row and the matrix hold."""
        wanted = [each for each in self.order if isinstance(each, _Wanted)]
        calls = [each for each in self.order if isinstance(each, OnDemandCall)]
        self._check_names(wanted, calls)
        inputs = {each.name: Input(name=each.name, kind=each.kind, origin=each.origin) for each in wanted}
        taken = {name for call in calls for name in call.inputs}
        for call in calls:
            for name in call.inputs:
                if name not in inputs:
                    inputs[name] = self._extra(call, name, inputs)
        features: list[Feature] = []
        for each in self.order:
            if isinstance(each, OnDemandCall):
                features += [
                    Feature(name=name, kind=DECLARED[declared], origin="on_demand", optional=False)
                    for name, declared in each.outputs
                ]
            elif each.kind in ("number", "string"):
                features.append(Feature(name=each.name, kind=each.kind, origin=each.origin, optional=each.optional))
            elif each.name not in taken:
                raise DeclarationError(
                    f"{each.said} is a time, and a time is no feature.",
                    hint=f"Derive one with @hr.on_demand from a function that takes {each.name!r}.",
                )
        if not features:
            raise DeclarationError("the model has no features.", hint="Select columns or give on-demand functions.")
        return FeaturePlan(
            spine=self.spine.table.name,
            at=self.spine.at,
            keys=self.spine.table.keys,
            key_types=self.key_types,
            inputs=tuple(inputs.values()),
            features=tuple(features),
            lookups=tuple(self.lookups),
            calls=tuple(calls),
        )

    def _check_names(self, wanted: Sequence[_Wanted], calls: Sequence[OnDemandCall]) -> None:
        """Tables tell columns apart without regard to case, so names that differ in nothing else are one name."""
        first: dict[str, str] = {}
        given = [(each.name, each.said) for each in wanted]
        given += [(name, f"{call.function}()") for call in calls for name, _ in call.outputs]
        for name, said in given:
            if name.lower() in first:
                raise DeclarationError(
                    f"two features are called {name!r}: {first[name.lower()]} and {said}.",
                    hint="Give one of them another name: select(…, prefix='dest_').",
                )
            first[name.lower()] = said
        spine = {name.lower() for name in self.columns.names}
        for each in wanted:
            if each.origin == "table" and each.name.lower() in spine:
                raise DeclarationError(
                    f"{each.said} would be called {each.name!r}, as is a column of spine {self.spine.table.name!r}.",
                    hint="Give it another name: select(…, prefix='last_').",
                )
        table = self.spine.table.name
        ours = {f"{table}.{name}": name for name in (*self.spine.table.keys, self.spine.at)}
        ours |= {f"{table}.{name}": name for lookup in self.lookups for _, name in lookup.on}
        for said, name in [*ours.items(), *((said, name) for name, said in given)]:
            check_free(name, said)

    def _extra(self, call: OnDemandCall, name: str, inputs: Mapping[str, Input]) -> Input:
        if name not in self.columns.names:
            known = {*self.columns.names, *inputs}
            raise NotFoundError(
                f"input of on-demand feature {call.function}()",
                name,
                known,
                hint="Its parameters are columns of the spine or names of looked-up features.",
            )
        found = self.columns.field(name).type
        kind = _kind(found)
        if kind is None:
            raise DeclarationError(
                f"on-demand feature {call.function}() takes {name!r}, which is {found}.",
                hint="It can take numbers, booleans, texts and times.",
            )
        return Input(name=name, kind=kind, origin="spine")


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _kind(found: pa.DataType) -> Kind | None:
    """How a column of this type is read; None when it can be neither a feature nor an input."""
    from pyarrow import types  # here, so that a packaged model reads its plan without Arrow

    if types.is_dictionary(found):
        return _kind(cast("pa.DictionaryType", found).value_type)
    if types.is_integer(found) or types.is_floating(found) or types.is_boolean(found) or types.is_decimal(found):
        return "number"
    if types.is_string(found) or types.is_large_string(found) or types.is_string_view(found):
        return "string"
    if types.is_date(found):
        return "timestamp"
    if types.is_timestamp(found):
        return "timestamp" if cast("pa.TimestampType", found).tz is None else "timestamp_utc"
    return None


def family(found: pa.DataType) -> str:
    """Types whose values can be equal: all integers, all texts, and otherwise the type itself."""
    from pyarrow import types

    if types.is_dictionary(found):
        return family(cast("pa.DictionaryType", found).value_type)
    if types.is_integer(found):
        return "integer"
    return "string" if _kind(found) == "string" else str(found)


def _pairs(stored: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in stored)


def _lookup(stored: Mapping[str, Any]) -> FeatureLookup:
    return FeatureLookup(
        table=stored["table"],
        on=_pairs(stored["on"]),
        time=stored["time"],
        look_back=stored["look_back"],
        columns=_pairs(stored["columns"]),
    )
