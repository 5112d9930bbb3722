"""What a user declares about batch scoring."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core import credentials
from headrace.core.declaration import check, check_whole
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.jobs.schedule import Cron

Every = Literal["1h", "1d", "1mo"]
Format = Literal["parquet", "csv"]
CONFIGURED = re.compile(r"[a-z][a-z0-9_-]{0,62}")
DATABASE_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,48}")
ROWS = 1_000_000


@dataclass(frozen=True)
class Database:
    """A table of an SQL database; made by `hr.database`."""

    name: str
    _: KW_ONLY
    table: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not CONFIGURED.fullmatch(self.name):
            raise DeclarationError(
                f"{self.name!r} is not the name of a database.",
                hint="Small letters, digits, - and _; its URL is in headrace.toml: [env.prod.databases].",
            )
        if not isinstance(self.table, str) or not DATABASE_TABLE.fullmatch(self.table):
            raise DeclarationError(
                f"{credentials.hidden(str(self.table))!r} is not the name of a database's table.",
                hint="Letters, digits and underscores: predictions, or with its schema, app.predictions.",
            )

    def __str__(self) -> str:
        return f"{self.table} of database {self.name}"


@dataclass(frozen=True)
class Files:
    """A folder of files; made by `hr.files`."""

    path: str
    _: KW_ONLY
    format: Format

    def __post_init__(self) -> None:
        given = self.path if isinstance(self.path, str) else ""
        if not given.strip() or not given.isprintable() or "://" in given or ".." in PurePath(given).parts:
            raise DeclarationError(
                f"{credentials.hidden(str(self.path))!r} is not a folder for files.",
                hint="A path without .., for example 'predictions'; a relative one starts at the environment's root.",
            )
        if self.format not in get_args(Format):
            raise DeclarationError(f"files(format={self.format!r}) is not known.", hint="'parquet' or 'csv'.")

    def __str__(self) -> str:
        return f"{self.format} files in {self.path}"


Into = str | Database | Files


def database(name: str, *, table: str) -> Database:
    """A destination of predictions: a table of an SQL database.

    Args:
        name: of the database, whose URL is in `headrace.toml`, by environment: `[env.prod.databases]`.
        table: `table` or `schema.table`; created when it is not there.

    Returns:
        The destination, for `hr.Score(into=…)`.

    Raises:
        DeclarationError: no name of a database or of a table.

    Example:
        >>> str(hr.database("warehouse", table="app.late_predictions"))
        'app.late_predictions of database warehouse'
        >>> hr.database("postgresql://db.example/app", table="late_predictions")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: 'postgresql://db.example/app' is not the name of a database.
        Small letters, digits, - and _; its URL is in headrace.toml: [env.prod.databases].
    """
    return Database(name, table=table)


def files(path: str, *, format: Format = "parquet") -> Files:  # noqa: A002
    """A destination of predictions: files, one a model, version and month.

    Args:
        path: of their folder; a relative one starts at the environment's root, so that each environment has its own.
        format: `"parquet"` or `"csv"`; defaults to `"parquet"`.

    Returns:
        The destination, for `hr.Score(into=…)`.

    Raises:
        DeclarationError: no path, or another format.

    Example:
        >>> str(hr.files("predictions/late", format="csv"))
        'csv files in predictions/late'
        >>> hr.files("../predictions")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: '../predictions' is not a folder for files.
        A path without .., for example 'predictions'; a relative one starts at the environment's root.
    """
    return Files(path, format=format)


@dataclass(frozen=True)
class Score:
    """Batch scoring: predictions for the rows of the spine, in partitions that are each written exactly once.

    Args:
        into: where predictions go: a table of the lakehouse, `"gold.predictions"`, `hr.database(…)`, `hr.files(…)`, or a list
            of them. Monitoring reads the first table of the lakehouse.
        every: when `headrace up` scores, `hr.cron("0 4 * * *")`; defaults to None, only by `headrace run score`.
        partition: the period of one partition, by calendar in UTC: `"1mo"`, `"1d"` or `"1h"`; defaults to `"1mo"`. A run that was
            killed continues after the last partition that it wrote.
        rows: a partition with more rows is divided further; defaults to 1,000,000.
        processes: how many processes predict; defaults to None, one for each core, or one in all for few rows.

    Raises:
        DeclarationError: no destination, one that is not possible or is named twice, or a value that is not possible.

    Example:
        >>> score = hr.Score(into=["gold.late_predictions", hr.files("predictions")], every=hr.cron("0 4 * * *"), partition="1d")
        >>> score.table  # which monitoring reads
        'gold.late_predictions'
        >>> hr.Score(into="gold.late_predictions", partition="1w")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Score(partition='1w') is not known.
        One of 1h, 1d, 1mo.
    """

    _: KW_ONLY
    into: Into | Sequence[Into]
    every: Cron | None = None
    partition: Every = "1mo"
    rows: int = ROWS
    processes: int | None = None

    def __post_init__(self) -> None:
        check(
            "Score",
            lambda into: isinstance(into, str | Database | Files | list | tuple),
            'into="gold.predictions"',
            into=self.into,
        )
        if not self.destinations:
            raise DeclarationError("Score(into=()) goes nowhere.", hint='into="gold.predictions"')
        for each in self.destinations:
            if not isinstance(each, Database | Files):
                check_name(each)
        if len(set(self.destinations)) < len(self.destinations):
            raise DeclarationError("Score(into=…) names one destination twice.")
        if self.partition not in get_args(Every):
            raise DeclarationError(
                f"Score(partition={self.partition!r}) is not known.", hint=f"One of {', '.join(get_args(Every))}."
            )
        check_whole("Score", rows=self.rows)
        if self.processes is not None:
            check_whole("Score", processes=self.processes)

    @property
    def destinations(self) -> tuple[Into, ...]:
        """All of them."""
        return (self.into,) if isinstance(self.into, str | Database | Files) else tuple(self.into)

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that are tables of the lakehouse."""
        return tuple(each for each in self.destinations if isinstance(each, str))

    @property
    def table(self) -> str:
        """The table of the lakehouse from which predictions are read again, to watch them and to judge them.

        Raises:
            DeclarationError: there is none.
        """
        if not self.tables:
            raise DeclarationError(
                f"predictions go to {self.destinations[0]} only, and cannot be read again from there.",
                hint='Add a table of the lakehouse: hr.Score(into=["gold.predictions", …]).',
            )
        return self.tables[0]
