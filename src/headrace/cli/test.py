"""`headrace test integration`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, json_option, put, say

if TYPE_CHECKING:
    from headrace.operations.integration.steps import IntegrationStep

MARKS = {"passed": "✓", "failed": "✗", "skipped": "·"}


@click.group(name="test", cls=Commands)
def command() -> None:
    """Tests of a project, in stores of their own."""


@command.command()
@env_option
@click.option("--key", default=None, metavar="NAME", help="The key of headrace.toml that signs the attestation.")
@click.option("--push", "remote", default=None, metavar="REMOTE", help="Push the attestation to this remote: origin.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write the report as JSON."
)
@click.option("--steps", type=int, default=None, hidden=True, help="Run the steps, for the process of this id.")
@json_option
@click.pass_context
def integration(
    ctx: click.Context,
    env: str | None,
    key: str | None,
    remote: str | None,
    output: Path | None,
    steps: int | None,
    as_json: bool,
) -> None:
    """Run every pipeline of the committed code in a temporary environment; exit 1 when a step fails.

    The environment's policy and sample hold; its stores and channels are not touched. Where a signing key is here, a test that
    passed is attested in a git note of the commit.
    """
    from headrace.operations.integration.commit_test import push_attestations, run_integration_test, run_steps
    from headrace.operations.operation import At

    if steps is not None:
        ctx.exit(0 if run_steps(At(env=env), lambda line: put(json.dumps(line)), parent=steps) else 1)
    if output is not None:  # a place that cannot be written is told before the test
        output.parent.mkdir(parents=True, exist_ok=True)
        output.unlink(missing_ok=True)
    report = run_integration_test(At(env=env), key=key, listen=(lambda _: None) if as_json else _tell)
    if output is not None:
        part = output.with_name(f".{output.name}.{os.getpid()}")
        part.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
        part.replace(output)
    if remote is not None and report.signed_by:  # after the report, which is there when the remote is not
        push_attestations(At(env=env), remote)
    if as_json:
        emit(report)
    else:
        code = report.commit[:8] if report.commit else "the working tree"
        failed = sum(step.result == "failed" for step in report.steps)
        say(
            f"{code} passed in {report.environment}."
            if report.passed
            else f"{code} failed: {failed} of {len(report.steps)} steps."
        )
        if report.uncommitted:
            say("· this folder has uncommitted edits, which were not tested")
        if report.signed_by:
            say(f"attested by {report.signed_by}. Next: headrace release cut VERSION")
        elif report.passed and report.commit:
            say("not attested: no signing key is here. headrace release keygen NAME makes one.")
    ctx.exit(0 if report.passed else 1)


def _tell(step: IntegrationStep) -> None:
    say(f"  {MARKS[step.result]} {step.step:<34} {step.summary or step.reason}  {step.seconds:.1f} s")
    if step.result == "failed":
        for line in step.log.splitlines():
            say(f"      {line}")
