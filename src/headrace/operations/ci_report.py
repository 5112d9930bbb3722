"""The report of an integration test as one comment on the merge request of a job. It opens no environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.ci_hosts.comment import comment, marker
from headrace.ci_hosts.known import HOSTS, host_of
from headrace.ci_hosts.publish import publish
from headrace.ci_hosts.report import read_report
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PostedReport(Record):
    """What became of a report.

    Attributes:
        result: `created` or `updated`: the comment on the merge request; `printed`: there is nothing to comment on.
        host: the host of the job; None where it is not the job of a known one.
        request: the merge request; None where the job is not about one, or nothing was to be posted.
        passed: whether the test passed.
        text: the comment, in Markdown.
    """

    result: Literal["created", "updated", "printed"]
    host: str | None
    request: str | None
    passed: bool
    text: str


def post_report(file: Path, *, dry_run: bool = False, variables: Mapping[str, str] | None = None) -> PostedReport:
    """Posts a report as one comment, in place of that of an earlier run.

    Args:
        file: the JSON report of `headrace test integration`.
        dry_run: nothing is posted, and no host is asked.
        variables: of the job; default: the environment of this process. Tokens are read from the process itself.

    Raises:
        ConfigError: the report cannot be read, or a variable of the job is missing.
        DataError: it is no such report.
        HeadraceError: the host did not take the comment.
    """
    report, variables = read_report(file), os.environ if variables is None else variables
    host = host_of(variables)
    text = comment(report, limit=host.limit if host else max(each.limit for each in HOSTS))
    request = None if host is None or dry_run else host.open(variables)
    result = "printed" if request is None else publish(request, marker(report), text)
    return PostedReport(
        result=result,
        host=host.name if host else None,
        request=request.request if request else None,
        passed=report.passed,
        text=text,
    )
