"""Tables of the lakehouse: `session.tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.operations import profile, tables
from headrace.session import html
from headrace.session.listing import Listing
from headrace.session.markup import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

    from headrace.operations.operation import At


class Table:
    """One table: `session.tables["silver.departures"]`.

    Attributes:
        name: `schema.table`.
    """

    def __init__(self, at: At, name: str) -> None:
        self._at, self.name = at, name

    def to_arrow(self, version: int | None = None) -> pa.Table:
        """All rows of a version, as an Arrow table; defaults to the latest version.

        Raises:
            NotFoundError: there is no such table or version.
        """
        return tables.read_table(self._at, self.name, version=version).to_arrow()

    def to_pandas(self, version: int | None = None) -> pd.DataFrame:
        """All rows of a version, as a data frame with the index 0, 1, 2 and so on; defaults to the latest version."""
        return self.to_arrow(version).to_pandas()

    def in_environment(self, at: At) -> str | pa.Table:
        """How an operation in an environment is told of it: its name in its own environment, else its rows.

        Args:
            at: where the operation is.
        """
        return self.name if at == self._at else self.to_arrow()

    def show(self, *, rows: int = tables.SAMPLE, version: int | None = None) -> tables.TableDetails:
        """Its columns, properties and first rows.

        Args:
            rows: how many rows.
            version: defaults to the latest one.
        """
        return tables.show_table(self._at, self.name, rows=rows, version=version)

    @property
    def history(self) -> Listing[tables.TableVersion]:
        """Its versions, the latest first: when, by whom, how many rows."""
        return Listing(tables.list_table_versions(self._at, self.name))

    def profile(self, *, columns: Sequence[str] | None = None, version: int | None = None) -> profile.TableProfile:
        """What each column holds: missing and different values, quantiles, the distribution.

        Args:
            columns: their names; defaults to all.
            version: defaults to the latest one.
        """
        return profile.profile_table(self._at, self.name, columns=columns, version=version)

    def __repr__(self) -> str:
        """The name, and where to begin."""
        return f"<table {self.name}: .to_pandas(), .to_arrow(), .show(), .history, .profile()>"

    def _repr_html_(self) -> str:
        """Its columns and first rows."""
        return html.render(self.show())


class Tables:
    """The tables that can be read, by name."""

    def __init__(self, at: At) -> None:
        self._at = at

    def list(self) -> Listing[tables.TableReport]:
        """The tables, with their rows, columns and latest version."""
        return Listing(tables.list_tables(self._at).tables)

    def __getitem__(self, name: str) -> Table:
        """The table of that name; NotFoundError names similar ones."""
        tables.show_table(self._at, name, rows=0)
        return Table(self._at, name)

    def __iter__(self) -> Iterator[str]:
        return iter([each.table for each in self.list()])

    def __len__(self) -> int:
        return len(self.list())

    def __contains__(self, name: object) -> bool:
        """Whether a table of that name can be read."""
        return any(each == name for each in self)

    def _ipython_key_completions_(self) -> Sequence[str]:
        """What a notebook offers behind `tables["`."""
        return [*self]

    def __repr__(self) -> str:
        """The names."""
        return f"<tables: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        """The list."""
        return records(self.list())
