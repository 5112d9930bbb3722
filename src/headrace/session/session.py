"""One environment of a project, for a notebook or a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.operations import profile, schedule_status, search, sql, table_drift, training_rows
from headrace.operations.operation import At
from headrace.operations.record import show_as_html
from headrace.operations.relation import in_memory
from headrace.session import html
from headrace.session.models import Models
from headrace.session.moment import instant
from headrace.session.pipelines import Pipelines
from headrace.session.runs import Runs
from headrace.session.tables import Table, Tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from headrace.operations.relation import Frame, Relation
    from headrace.session.moment import Moment

show_as_html(html.render)


def open_session(
    env: str | None = None, *, folder: Path | str | None = None, release: str | None = None, quiet: bool = False
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

    Example:
        In the folder of a project:

        >>> dev = hr.open("dev")
        >>> dev.sql("SELECT 6 * 7 AS answer").rows()
        [{'answer': 42}]
    """
    from pathlib import Path

    place = None if folder is None else Path(folder)
    return Session(At(env=env, folder=place, release=release).settled(), quiet=quiet)


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

    def profile(
        self, rows: str | Table | Frame, *, columns: Sequence[str] | None = None, version: int | None = None
    ) -> profile.TableProfile:
        """What each column holds: missing and different values, quantiles, the distribution, and what to look at.

        Args:
            rows: the name of a table, a SELECT, a data frame of pandas or polars, an Arrow table, or an answer of `.sql(…)`.
            columns: their names; defaults to all.
            version: of a table; defaults to the latest one.

        Returns:
            The profile: `.columns`, in the order of the table. A notebook draws the distributions.

        Raises:
            NotFoundError: there is no such table, version or column.
            DataError: there is no row or no column.
        """
        return profile.profile_table(self._at, self._relation(rows), columns=columns, version=version)

    def drift(
        self,
        reference: str | Table | Frame,
        current: str | Table | Frame,
        *,
        reference_version: int | None = None,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        min_rows: int = table_drift.MIN_ROWS,
    ) -> table_drift.TableDrift:
        """Compares rows with a reference, column by column, by the figures and verdicts of monitoring.

        Args:
            reference: the name of a table, a SELECT, a data frame of pandas or polars, an Arrow table, or an answer of
                `.sql(…)`.
            current: the same; what is compared with the reference.
            reference_version: of a table; defaults to the latest one.
            version: of a table; defaults to the latest one.
            columns: their names; defaults to all that both have.
            min_rows: with fewer rows on either side, columns are measured and not judged; defaults to 500.

        Returns:
            The comparison: `.columns`, the worst first; `.drifted` names those with a warning or an alert.

        Raises:
            NotFoundError: there is no such table or column.
            DataError: there is no row, or no column that both have.
        """
        return table_drift.compare_tables(
            self._at,
            self._relation(reference),
            self._relation(current),
            reference_version=reference_version,
            version=version,
            columns=columns,
            min_rows=min_rows,
        )

    def features(
        self,
        model: training_rows.ModelOrName | None = None,
        rows: Frame | None = None,
        *,
        at: Moment | None = None,
        since: Moment | None = None,
    ) -> sql.QueryResult:
        """The features of decisions, each as of its moment, as training and scoring compute them. Nothing is written.

        Args:
            model: its name, or an `hr.Model` that is declared in a notebook over the project's tables; defaults to the only one.
            rows: decisions, with the keys, the moment and the columns of the spine that the model takes; defaults to the
                decisions of the spine.
            at: the last moment of a decision; defaults to the present. With `rows` it is the moment of every one of them,
                which then need not have one.
            since: the first moment of a decision of the spine; defaults to all.

        Returns:
            The keys, the moment and the features: `.to_pandas()`. A row a given row, in their order; of the spine's own
            decisions, in the order of keys.

        Raises:
            NotFoundError: there is no such model, or a table that it reads is not there yet.
            DataError: given rows cannot be read in the types of the spine.
            UserCodeError: an on-demand function failed.
        """
        given = None if rows is None else in_memory(rows)
        return training_rows.read_features(self._at, model, at=instant(at), since=instant(since), rows=given)

    def training_set(
        self, model: training_rows.ModelOrName | None = None, *, as_of: Moment | None = None
    ) -> training_rows.TrainingRows:
        """The training set of a model, assembled as `.train(…)` would. Nothing is written.

        Args:
            model: its name, or an `hr.Model` that is declared in a notebook over the project's tables; defaults to the only one.
            as_of: the training moment: only decisions and labels up to it exist; defaults to the present.

        Returns:
            The rows: `.to_pandas()`; `.fit` and `.test` are what a fit function is given, with `.X`, `.y` and `.at`.

        Raises:
            NotFoundError: there is no such model, or a table that it reads is not there yet.
            DataError: there is nothing to fit or test on.
            UserCodeError: an on-demand function failed.
        """
        return training_rows.read_training_set(self._at, model, as_of=instant(as_of))

    def search_features(
        self, text: str = "", *, owner: str = "", project: str = "", column: str = ""
    ) -> search.FeatureSearch:
        """Feature tables of all projects that share the catalog; without a catalog, those of this environment.

        Letter case does not matter.

        Args:
            text: words, each of which must occur in the name, the description, the owner, a column or the project.
            owner: a part of the owner.
            project: the name of a project.
            column: a part of the name of a column.

        Returns:
            What was found: `.hits`, the best match first, each with the line that declares it in another project.
        """
        return search.search_feature_tables(self._at, text, owner=owner, project=project, column=column)

    def search_models(
        self, text: str = "", *, owner: str = "", project: str = "", stage: str = ""
    ) -> search.ModelSearch:
        """Models of all projects that share the catalog; without a catalog, those of this environment.

        Letter case does not matter.

        Args:
            text: words, each of which must occur in the name, the description, the owner, a feature, the label or the project.
            owner: a part of the owner.
            project: the name of a project.
            stage: in which a version is.

        Returns:
            What was found: `.hits`, the best match first.
        """
        return search.search_models(self._at, text, owner=owner, project=project, stage=stage)

    @property
    def schedule(self) -> schedule_status.ScheduleList:
        """Every declared schedule as it is now: `.schedules`, what is due first."""
        return schedule_status.list_schedules(self._at)

    def _relation(self, rows: str | Table | Frame) -> Relation:
        """What an operation takes; a table of another environment is read there."""
        if isinstance(rows, Table):
            return rows.in_environment(self._at)
        return rows if isinstance(rows, str) else in_memory(rows)

    def __repr__(self) -> str:
        """The environment, and where to begin."""
        return (
            f"<headrace {self.env}: .sql(…), .tables, .models, .runs, .schedule, .profile(…), .drift(…), .features(…), "
            ".training_set(…), .refresh(), .train(), .deploy(), .score(), .monitor()>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""
