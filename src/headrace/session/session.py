"""One environment of a project, for a notebook or a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.operations import comparison, import_model, models, monitoring, runs, schedule_status, sql, tables
from headrace.operations.operation import At
from headrace.session.pipelines import Pipelines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import pandas as pd
    import pyarrow as pa


def open_session(
    env: str | None = None, *, folder: Path | None = None, release: str | None = None, quiet: bool = False
) -> Session:
    """Opens an environment of a project: `hr.open("prod").sql("select 1")`.

    Nothing is held open: each question and each act opens the environment, is authorised, and closes it again.

    Args:
        env: the name of the environment; defaults to the lowest one of the project, usually `dev`.
        folder: the project's folder, or one below it; defaults to the current folder.
        release: the release whose code runs, where only releases may run; defaults to the highest one.
        quiet: whether pipelines do not tell each step on stderr when it ends; defaults to no.

    Returns:
        The session.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
        NotFoundError: the project has no such environment.
    """
    return Session(At(env=env, folder=folder, release=release).settled(), quiet=quiet)


class Session(Pipelines):
    """Questions and acts in one environment; see `open_session`.

    Attributes:
        env: the name of the environment.
        tables: its tables, by name.
        runs: runs of pipelines, by id.
        models: models and their versions, by name.
        schedule: what is due when.
    """

    def __init__(self, at: At, *, quiet: bool = False) -> None:
        super().__init__(at, quiet=quiet)
        self.tables = Tables(at)
        self.runs = Runs(at)
        self.models = Models(at)

    @property
    def env(self) -> str:
        """The name of the environment."""
        return self._at.env or ""

    def sql(self, text: str, *, timeout: float = sql.SECONDS, max_rows: int = sql.ROWS) -> sql.QueryResult:
        """Answers one SELECT over the latest version of every table that can be read.

        Args:
            text: the SELECT.
            timeout: seconds that it may take; defaults to 60.
            max_rows: rows that the answer may have.

        Returns:
            The answer: `.to_pandas()`, `.to_arrow()`, `.rows()`.

        Raises:
            SqlError: it cannot be parsed, is no SELECT, or reads what is not a table of the lakehouse.
            LimitError: it takes too long, or its answer is too large.
        """
        return sql.query(self._at, text, timeout=timeout, max_rows=max_rows)

    @property
    def schedule(self) -> schedule_status.ScheduleList:
        """Every declared schedule as it is now: `.schedules`, what is due first."""
        return schedule_status.list_schedules(self._at)

    def __repr__(self) -> str:
        """The environment, and where to begin."""
        return f"<headrace {self.env}: .sql(…), .tables, .runs, .models, .schedule, .refresh(), .train(), .deploy(), .score(), .monitor()>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


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

    def show(self, *, rows: int = tables.SAMPLE, version: int | None = None) -> tables.TableDetails:
        """Its columns, properties and first rows.

        Args:
            rows: how many rows.
            version: defaults to the latest one.
        """
        return tables.show_table(self._at, self.name, rows=rows, version=version)

    def history(self) -> list[tables.TableVersion]:
        """Its versions, the latest first: when, by whom, how many rows."""
        return tables.list_table_versions(self._at, self.name)

    def __repr__(self) -> str:
        """The name, and where to begin."""
        return f"<table {self.name}: .to_pandas(), .to_arrow(), .show(), .history()>"


class Tables:
    """The tables that can be read, by name."""

    def __init__(self, at: At) -> None:
        self._at = at

    def __getitem__(self, name: str) -> Table:
        """The table of that name; NotFoundError names similar ones."""
        tables.show_table(self._at, name, rows=0)
        return Table(self._at, name)

    def __iter__(self) -> Iterator[str]:
        return iter([each.table for each in tables.list_tables(self._at).tables])

    def __len__(self) -> int:
        return len(tables.list_tables(self._at).tables)

    def __contains__(self, name: object) -> bool:
        """Whether a table of that name can be read."""
        return any(each == name for each in self)

    def __repr__(self) -> str:
        """The names."""
        return f"<tables: {', '.join(self)}>"


class Runs:
    """Runs of pipelines."""

    def __init__(self, at: At) -> None:
        self._at = at

    def list(self, *, limit: int = runs.LIMIT) -> tuple[runs.RunSummary, ...]:
        """The latest runs, the latest first.

        Args:
            limit: how many.
        """
        return runs.list_runs(self._at, limit=limit).runs

    def __getitem__(self, run: str) -> runs.RunDetails:
        """A run with its steps, by its id or the beginning of it; NotFoundError names the latest ones."""
        return runs.show_run(self._at, run)


class Model:
    """One model: `session.models["arrival_delay"]`.

    Attributes:
        name: of the model.
    """

    def __init__(self, at: At, name: str) -> None:
        self._at, self.name = at, name

    @property
    def versions(self) -> tuple[models.VersionReport, ...]:
        """Its versions, the earliest first."""
        return tuple(each for each in models.list_versions(self._at).versions if each.model == self.name)

    @property
    def newest(self) -> models.VersionDetails:
        """Its newest version, with its stages and slices."""
        return models.show_version(self._at, self.name)

    def version(self, version: int) -> models.VersionDetails:
        """One version, with its stages and slices; NotFoundError names those that there are.

        Args:
            version: its number.
        """
        return models.show_version(self._at, self.name, version=version)

    def history(self) -> list[models.HistoryEntry]:
        """Every change of its stages: when, by whom, by which decision."""
        return models.show_model_history(self._at, self.name)

    def compare(self, a: int, b: int) -> comparison.VersionComparison:
        """Two versions side by side: stages, parameters, features, tables, metrics and slices.

        Args:
            a: the number of version A, usually the earlier one.
            b: the number of version B.

        Returns:
            The comparison. What gates found on the same rows is in `.same_rows`; nothing is predicted again.

        Raises:
            NotFoundError: there is no such version.
            DeclarationError: both numbers are the same.
        """
        return comparison.compare_versions(self._at, self.name, a, b)

    def comparisons(self) -> list[comparison.ComparisonReport]:
        """What each version was compared with by its gates, on which decisions, and the results."""
        return comparison.list_comparisons(self._at, self.name)

    def monitoring(
        self, version: int | None = None, *, windows: int = monitoring.WINDOWS
    ) -> monitoring.MonitoringReport:
        """Quality and drift by window, as they were stored last.

        Args:
            version: its number; defaults to the version in Production.
            windows: how many of the latest windows; defaults to 12.

        Returns:
            The report: `.quality` and `.drift`, the earliest window first.

        Raises:
            NotFoundError: there is no such version, or the model has no deployment.
            DeclarationError: fewer than one window is asked for.
        """
        return monitoring.show_monitoring(self._at, self.name, version=version, windows=windows)

    def import_(
        self, source: str | Path | object, *, tracking_uri: str | None = None, force: bool = False
    ) -> import_model.ImportReport:
        """Makes a version, with stage None, of a model that was fitted elsewhere, as `headrace model import` does.

        A pickle, and an MLflow model of most flavours, is code: reading it runs it in this process.

        Args:
            source: a fitted estimator; or `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/ID/PATH` of MLflow; or the
                path of a folder with an `MLmodel` file, of a `.joblib` or `.pkl` file, or of an `.onnx` file.
            tracking_uri: the MLflow store that knows a `models:/` or `runs:/` source; defaults to the environment's own.
            force: whether an estimator is taken that another version of scikit-learn pickled; defaults to no.

        Returns:
            The number of the version, and where it came from. What was imported before is not registered again: `.known`.

        Raises:
            NotFoundError: there is no such file, folder or store.
            DataError: what is there is no model, cannot be read, or needs what is not installed here.
            DeclarationError: it takes other features than the model has, in another order, or predicts something else.
            UserCodeError: it has no `predict`, is not fitted, or would not predict elsewhere.
        """
        return import_model.import_model(self._at, self.name, source, tracking_uri=tracking_uri, force=force)

    def __repr__(self) -> str:
        """The name, and where to begin."""
        return f"<model {self.name}: .versions, .newest, .history(), .compare(a, b), .monitoring(), .import_(…)>"


class Models:
    """Models and their versions, by name."""

    def __init__(self, at: At) -> None:
        self._at = at

    def list(self) -> tuple[models.VersionReport, ...]:
        """Every version of every model."""
        return models.list_versions(self._at).versions

    def __getitem__(self, name: str) -> Model:
        """The model of that name, which has versions or is declared; NotFoundError names similar ones."""
        known = models.list_models(self._at)
        if name not in known:
            raise NotFoundError("model", name, known, hint="Declare it: hr.Model(…).")
        return Model(self._at, name)
