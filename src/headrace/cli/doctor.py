"""`headrace doctor`."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, put, table


@click.command(name="doctor")
@env_option
@json_option
@click.pass_context
def command(ctx: click.Context, env: str | None, as_json: bool) -> None:
    """Check this installation and this project; exit 1 when something is broken. Outside of a project: the installation."""
    from headrace.operations.doctor import diagnose
    from headrace.operations.operation import At

    findings = diagnose(At(env=env))
    if as_json:
        emit(findings)
    else:
        table([vars(finding) for finding in findings], ("check", "result", "found"))
        for finding in findings:
            if finding.result != "ok":
                put(f"\n{finding.check}: {finding.found}\n  {finding.way}")
    if any(finding.result == "failed" for finding in findings):
        ctx.exit(1)
