"""The comment on a merge request: a verdict, a table of the steps, and the log of the step that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from headrace.ci_hosts.markdown import cell, escaped, plain
from headrace.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.ci_hosts.report import IntegrationReport, StepReport

NAME, LINE, REASON = 80, 200, 400  # characters of a name, of a summary, and of the reason in the verdict
FOR_THE_TABLE = 0.5  # of the room that there is
MARKS = {"passed": "✅ passed", "failed": "❌ failed", "skipped": "⚪ skipped"}
SHORT = 12  # digits of a commit


def marker(report: IntegrationReport) -> str:
    """What a later run finds its comment by: the first line, which is not shown."""
    return f"<!-- headrace:integration:{_quoted(report.project)}:{_quoted(report.environment)} -->"


def _quoted(name: str) -> str:
    """A name without a character that could end a comment of HTML, or the name itself."""
    return quote(name[:NAME], safe="", errors="backslashreplace").replace("--", "-%2D")


def comment(report: IntegrationReport, *, limit: int) -> str:
    """The comment in Markdown.

    Args:
        report: what is told.
        limit: how long it may be, as `length` counts. Of a log the last lines are kept.
    """
    head = "\n".join((marker(report), f"### {_title(report)}", "", _verdict(report), ""))
    foot = f"\n{_foot(report)}\n"
    room = limit - length(head) - length(foot)
    table = _table(report.steps, int(room * FOR_THE_TABLE))
    log = _log(report.failed, room - length(table) - 2)
    return "\n".join(part for part in (head, table, log, foot) if part)


def length(text: str) -> int:
    """How long a text is for a host: characters beyond the Basic Multilingual Plane count twice, as in UTF-16."""
    return len(text.encode("utf-16-le")) // 2


def _title(report: IntegrationReport) -> str:
    return f"Headrace: integration test of {cell(report.project, longest=NAME)} in {cell(report.environment, longest=NAME)}"


def _verdict(report: IntegrationReport) -> str:
    took = _seconds((report.finished_at - report.started_at).total_seconds())
    if report.passed:
        return f"✅ **Passed**: {counted(len(report.steps), 'step')} in {took}."
    failed = report.failed
    if failed is None:
        return f"❌ **Failed** after {took}; no step says why."
    reason = cell(failed.reason or failed.summary, longest=REASON) or "no reason is given"
    return f"❌ **Failed at step {cell(failed.step, longest=NAME)}**: {reason}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s"


def _table(steps: Sequence[StepReport], room: int) -> str:
    """The steps as far as there is room; where some are left out, those that failed come first."""
    head = ("| step | result | time | summary |", "| --- | --- | ---: | --- |")
    rows = [_row(step) for step in steps]
    order = sorted(range(len(rows)), key=lambda at: steps[at].result != "failed")
    left = room - sum(length(line) + 1 for line in head) - 60  # for the line that counts the rest
    kept: set[int] = set()
    for at in order:
        left -= length(rows[at]) + 1
        if left < 0:
            break
        kept.add(at)
    lines = [*head, *(rows[at] for at in sorted(kept))]
    if len(kept) < len(rows):
        lines += ["", f"{counted(len(rows) - len(kept), 'more step')} not shown."]
    return "\n".join(lines)


def _row(step: StepReport) -> str:
    name, told = cell(step.step, longest=NAME), cell(step.summary or step.reason, longest=LINE)
    return f"| {name} | {MARKS[step.result]} | {_seconds(step.seconds)} | {told} |"


def _log(failed: StepReport | None, room: int) -> str:
    """The end of the log of a step, folded; empty where there is none, or no room."""
    if failed is None:
        return ""
    end = failed.log[-room:] if len(failed.log) > room else failed.log
    if len(end) < len(failed.log):  # the first line is cut: what makes a credential known may be missing
        end = end.partition("\n")[2]
    lines = plain(end).strip("\n").split("\n")
    if not any(lines):
        return ""
    name = cell(failed.step, longest=NAME)
    before = f"\n<details><summary>Log of {name}</summary>\n\n<pre>\n"
    after = "\n</pre>\n</details>"
    left = room - length(before) - length(after) - 60  # for the line that says that some was left out
    kept: list[str] = []
    for line in reversed(lines):
        text = escaped(line)
        left -= length(text) + 1
        if left < 0:
            break
        kept.append(text)
    if not kept:
        return ""
    whole = len(kept) == len(lines) and len(end) == len(failed.log)
    told = [] if whole else ["… the beginning of the log was left out"]
    return f"{before}{chr(10).join([*told, *reversed(kept)])}{after}"


def _foot(report: IntegrationReport) -> str:
    commit, tree = (cell(each, longest=SHORT) for each in (report.commit[:SHORT], report.tree[:SHORT]))
    lock = f", lock file {cell(report.lock[:SHORT], longest=SHORT)}" if report.lock else ", no lock file"
    signed = "not signed" if report.signed_by is None else f"signed by {cell(report.signed_by, longest=NAME)}"
    return f"Commit <code>{commit}</code>, tree <code>{tree}</code>{lock}; {signed}; finished {report.finished_at:%Y-%m-%d %H:%M:%S} UTC."
