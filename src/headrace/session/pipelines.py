"""The pipelines of an environment, for a notebook or a script: each is a run of the ledger, as by the command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.operations import deploy, monitor, publish, refresh, score, train
from headrace.session.moment import instant
from headrace.session.progress import ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.operations.job import RunReport
    from headrace.operations.operation import At
    from headrace.session.moment import Moment


class Pipelines:
    """Runs the pipelines. A call that is repeated does again what has changed since, and nothing else.

    Moments are a `datetime` with its zone, or text as on the command line: `"2013-05-01"`, in UTC where it names no zone.

    Args:
        at: the environment.
        quiet: whether steps are not told on stderr while they end.
    """

    def __init__(self, at: At, *, quiet: bool) -> None:
        self._at, self._quiet = at, quiet

    @contextmanager
    def _reported(self) -> Generator[dict[str, Any]]:
        """What an operation is given so that its steps are told."""
        if self._quiet:
            yield {}
            return
        reporter = ProgressReporter()
        try:
            yield {"listen": reporter.step, "begin": reporter.begin, "progress": reporter.progress}
        finally:
            reporter.end()

    def refresh(self) -> RunReport:
        """Loads sources and brings every table and feature table up to date.

        Returns:
            What each step did.

        Raises:
            DataError: a file cannot be read, or rows break an expectation; nothing of that table was written.
        """
        with self._reported() as report:
            return refresh.refresh(self._at, **_steps(report))

    def train(
        self, model: str | None = None, *, as_of: Moment | None = None, params: train.Params | None = None
    ) -> train.TrainReport:
        """Builds a training set, tunes, fits, evaluates, and registers a version with stage None.

        Args:
            model: its name; may be left out when the project has one.
            as_of: the training moment: only decisions and labels up to it exist; defaults to the present.
            params: to fit with; defaults to a search, where one is declared.

        Returns:
            The number of the version, and what each step did.

        Raises:
            DataError: there is nothing to fit or to test on.
            UserCodeError: the fit function raised.
        """
        with self._reported() as report:
            return train.train(self._at, model, as_of=instant(as_of), params=params, **_steps(report))

    def deploy(
        self, model: str | None = None, *, version: int | None = None, as_of: Moment | None = None
    ) -> deploy.DeployReport:
        """Brings a version as far towards Production as its gates and approvals let it come.

        Args:
            model: its name; may be left out when the project has one deployment.
            version: its number, which begins again at the first gate if it was archived; defaults to the newest one that
                is not archived.
            as_of: labels known by then count in the comparison; defaults to the present.

        Returns:
            How it ended: `.ending`, `.findings`, `.missing` approvals.
        """
        with self._reported() as report:
            return deploy.deploy(self._at, model, version=version, as_of=instant(as_of), **_steps(report))

    def score(
        self,
        model: str | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        as_of: Moment | None = None,
    ) -> score.ScoreReport:
        """Scores decisions in batch, a step a partition of time.

        Args:
            model: its name; may be left out when the project has one deployment.
            since: the first moment; defaults to the training moment of the version.
            until: the moment after the last one; defaults to the present.
            as_of: what is known by then counts; defaults to the present.

        Returns:
            What each step did.
        """
        with self._reported() as report:
            return score.score(
                self._at, model, since=instant(since), until=instant(until), as_of=instant(as_of), **report
            )

    def publish(self, *, as_of: Moment | None = None) -> RunReport:
        """Publishes feature tables that are declared online.

        Args:
            as_of: only rows that had become available by then; defaults to the present.

        Returns:
            What each step did.
        """
        with self._reported() as report:
            return publish.publish(self._at, as_of=instant(as_of), **_steps(report))

    def monitor(self, model: str | None = None, *, as_of: Moment | None = None) -> monitor.MonitorReport:
        """Takes over the log, measures drift and quality of each window that has ended, and judges alerts.

        Args:
            model: its name; may be left out when the project has one deployment.
            as_of: nothing later exists; defaults to the present.

        Returns:
            The alerts that hold, and what each step did.
        """
        with self._reported() as report:
            return monitor.monitor(self._at, model, as_of=instant(as_of), **_steps(report))


def _steps(report: dict[str, Any]) -> dict[str, Any]:
    """The same for an operation that tells its steps only."""
    return {name: each for name, each in report.items() if name != "progress"}
