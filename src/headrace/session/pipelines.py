"""The pipelines of an environment, for a notebook or a script: each is a run of the ledger, as by the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.clock import instant
from headrace.operations import deploy, monitor, publish, refresh, score, train
from headrace.session import progress

if TYPE_CHECKING:
    from datetime import datetime

    Moment = datetime | str
    from headrace.operations.job import RunReport
    from headrace.operations.operation import At


class Pipelines:
    """Runs the pipelines. A call that is repeated does again what has changed since, and nothing else.

    Moments are a `datetime` with its zone, or text as on the command line: `"2013-05-01"`, in UTC where it names no zone.

    Args:
        at: the environment.
        quiet: whether steps are not told on stderr while they end.
    """

    def __init__(self, at: At, *, quiet: bool) -> None:
        self._at = at
        self._told: dict[str, Any] = {} if quiet else {"listen": progress.step, "begin": progress.begin}

    def refresh(self) -> RunReport:
        """Loads sources and brings every table and feature table up to date.

        Returns:
            What each step did.

        Raises:
            DataError: a file cannot be read, or rows break an expectation; nothing of that table was written.
        """
        return refresh.refresh(self._at, **self._told)

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
        return train.train(self._at, model, as_of=_instant(as_of), params=params, **self._told)

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
        return deploy.deploy(self._at, model, version=version, as_of=_instant(as_of), **self._told)

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
        return score.score(
            self._at, model, since=_instant(since), until=_instant(until), as_of=_instant(as_of), **self._told
        )

    def publish(self, *, as_of: Moment | None = None) -> RunReport:
        """Publishes feature tables that are declared online.

        Args:
            as_of: only rows that had become available by then; defaults to the present.

        Returns:
            What each step did.
        """
        return publish.publish(self._at, as_of=_instant(as_of), **self._told)

    def monitor(self, model: str | None = None, *, as_of: Moment | None = None) -> monitor.MonitorReport:
        """Takes over the log, measures drift and quality of each window that has ended, and judges alerts.

        Args:
            model: its name; may be left out when the project has one deployment.
            as_of: nothing later exists; defaults to the present.

        Returns:
            The alerts that hold, and what each step did.
        """
        return monitor.monitor(self._at, model, as_of=_instant(as_of), **self._told)


def _instant(moment: Moment | None) -> datetime | None:
    return instant(moment) if isinstance(moment, str) else moment
