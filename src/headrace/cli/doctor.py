"""`headrace doctor`."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, put, table


@click.command(name="doctor")
@env_option
@json_option
@click.pass_context
def command(ctx: click.Context, env: str | None, as_json: bool) -> None:
    """Check this installation and this project; exit 1 when something is broken."""
    from headrace.core.ownership import only_reading
    from headrace.operations.doctor import examine
    from headrace.workspace.workspace import open_workspace

    with only_reading(), open_workspace(env) as workspace:
        findings = [vars(finding) for finding in examine(workspace)]
    if as_json:
        emit(findings)
    else:
        table(findings, ("check", "result", "found"))
        for finding in findings:
            if finding["result"] != "ok":
                put(f"\n{finding['check']}: {finding['found']}\n  {finding['way']}")
    if any(finding["result"] == "failed" for finding in findings):
        ctx.exit(1)
