"""Models and their versions: `session.models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.operations import comparison, import_model, kpis, models, monitoring, predict, promote, training_rows
from headrace.operations.relation import in_memory
from headrace.session import html
from headrace.session.listing import Listing
from headrace.session.markup import records
from headrace.session.moment import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from headrace.operations.operation import At
    from headrace.operations.relation import Frame
    from headrace.session.moment import Moment


class Version:
    """One version of a model: `session.models["arrival_delay"].production`.

    Attributes:
        details: its stages, metrics, slices, parameters and data.
    """

    def __init__(self, at: At, details: models.VersionDetails) -> None:
        self._at, self.details = at, details

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.details.model

    @property
    def number(self) -> int:
        """Its number."""
        return self.details.version

    @property
    def stage(self) -> str:
        """`None`, `Staging`, `Production` or `Archived`, when it was asked for."""
        return self.details.stage

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Metric → its value on the test rows; None where it has none there."""
        return self.details.metrics

    def predict(self, rows: Frame, *, at: Moment | None = None) -> pd.DataFrame:
        """Predicts rows in this process, with the code that was registered with the version. Nothing is stored.

        Args:
            rows: a data frame of pandas or polars, an Arrow table, the answer to a SELECT, or a list of dictionaries. Either
                full rows, with every input of the model; or decisions, with the keys, the moment and the columns of the spine
                that the model takes, whose features are looked up as of their moment.
            at: the moment of every decision, which then need not have one.

        Returns:
            The outputs of the task, a row a given row; with the index of a pandas data frame, else with 0, 1, 2 and so on.

        Raises:
            DataError: the rows are neither, or cannot be read in the types of the spine.
            DeclarationError: they are no rows.
            UserCodeError: the model, or an on-demand function, failed.
        """
        given = in_memory(rows)
        found = predict.predict_rows(self._at, self.model, given, version=self.number, at=instant(at)).to_pandas()
        index: pd.Index | None = getattr(rows, "index", None) if hasattr(rows, "iloc") else None
        return found if index is None else found.set_axis(index)

    def training_set(self) -> training_rows.TrainingRows:
        """The rows that it was trained, calibrated and tested on."""
        return training_rows.read_training_set(self._at, self.model, version=self.number)

    def monitoring(self, *, windows: int = monitoring.WINDOWS) -> monitoring.MonitoringReport:
        """Its quality and drift by window; see `Model.monitoring`.

        Args:
            windows: how many of the latest windows; defaults to 12.
        """
        return monitoring.show_monitoring(self._at, self.model, version=self.number, windows=windows)

    def __repr__(self) -> str:
        """The model, the number, the stage, and where to begin."""
        return (
            f"<{self.model} version {self.number}, {self.stage}: .predict(rows), .metrics, .training_set(), .details>"
        )

    def _repr_html_(self) -> str:
        """Its details."""
        return html.render(self.details)


class Model:
    """One model: `session.models["arrival_delay"]`.

    Attributes:
        name: of the model.
    """

    def __init__(self, at: At, name: str) -> None:
        self._at, self.name = at, name

    @property
    def versions(self) -> Listing[models.VersionReport]:
        """Its versions, the earliest first."""
        return Listing(each for each in models.list_versions(self._at).versions if each.model == self.name)

    @property
    def newest(self) -> Version:
        """Its newest version."""
        return Version(self._at, models.show_version(self._at, self.name))

    @property
    def production(self) -> Version:
        """The version in Production.

        Raises:
            NotFoundError: there is none.
        """
        return Version(self._at, models.show_production(self._at, self.name))

    def version(self, version: int) -> Version:
        """One version; NotFoundError names those that there are.

        Args:
            version: its number.
        """
        return Version(self._at, models.show_version(self._at, self.name, version=version))

    @property
    def history(self) -> Listing[models.HistoryEntry]:
        """Every change of its stages: when, by whom, by which decision."""
        return Listing(models.show_model_history(self._at, self.name))

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

    @property
    def comparisons(self) -> Listing[comparison.ComparisonReport]:
        """What each version was compared with by its gates, on which decisions, and the results."""
        return Listing(comparison.list_comparisons(self._at, self.name))

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

    def kpis(self, *, windows: int = kpis.WINDOWS) -> Listing[kpis.KpiReport]:
        """Business figures by version and window, as they were stored last.

        Args:
            windows: how many of the latest windows; defaults to 12.

        Returns:
            A report for each declared `hr.kpi`: `.versions`, `.windows` and `.comparisons`.

        Raises:
            DeclarationError: fewer than one window is asked for.
        """
        return Listing(kpis.show_kpis(self._at, self.name, windows=windows).kpis)

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

    def promote(self, source: str | None = None, *, version: int | None = None) -> promote.PromotionReport:
        """Copies a version up from a lower environment, unchanged, with stage None, as `headrace model promote` does.

        Args:
            source: the environment from which it comes; defaults to the one just below.
            version: its number there; defaults to the one in Production.

        Returns:
            Its number here. What was promoted before is not registered again: `.known`.

        Raises:
            RefusedError: the deployment's pattern is `code`, there is no environment below, or the version was made by code that
                may not run here.
            NotFoundError: there is no such environment or version.
            DataError: what is logged there is not what was registered.
        """
        return promote.promote_model(self._at, self.name, source=source, version=version)

    def __repr__(self) -> str:
        """The name, and where to begin."""
        return f"<model {self.name}: .versions, .production, .newest, .version(n), .history, .compare(a, b), .monitoring(), .kpis(), .import_(…)>"

    def _repr_html_(self) -> str:
        """Its versions."""
        return records(self.versions)


class Models:
    """Models and their versions, by name."""

    def __init__(self, at: At) -> None:
        self._at = at

    def list(self) -> Listing[models.VersionReport]:
        """Every version of every model."""
        return Listing(models.list_versions(self._at).versions)

    def __getitem__(self, name: str) -> Model:
        """The model of that name, which has versions or is declared; NotFoundError names similar ones."""
        known = models.list_models(self._at)
        if name not in known:
            raise NotFoundError("model", str(name), known, hint="Declare it: hr.Model(…).")
        return Model(self._at, name)

    def __iter__(self) -> Iterator[str]:
        return iter(models.list_models(self._at))

    def _ipython_key_completions_(self) -> Sequence[str]:
        """What a notebook offers behind `models["`."""
        return [*self]

    def __repr__(self) -> str:
        """The names."""
        return f"<models: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        """Every version."""
        return records(self.list())
