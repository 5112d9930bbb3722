"""`headrace dashboard list|show|pull|push|delete|refresh|export`: saved queries on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, heading, json_option, say, table, wrong
from headrace.cli.parameters import texts
from headrace.cli.report_file import output_option, write_report
from headrace.core.extras import need
from headrace.core.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.operations.dashboard_files import DashboardFile
    from headrace.operations.dashboards import DashboardReport

ROWS = 10  # of each tile that people are shown
draft_option = click.option(
    "--draft", is_flag=True, help="The draft, where the project has a dashboard of this name, too."
)
value_option = click.option(
    "--param", multiple=True, metavar="NAME=VALUE", help="A value that tiles leave open; can be given several times."
)


@click.group(name="dashboard", cls=Commands)
def command() -> None:
    """Dashboards: saved queries on a grid, as files of the project or as drafts of an environment."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """The dashboards of the project and the drafts, by name."""
    from headrace.operations.dashboards import list_dashboards
    from headrace.operations.operation import At

    found = list_dashboards(At(env=env))
    if as_json:
        emit(found)
        return
    rows = [
        {
            "dashboard": each.name,
            "title": each.title,
            "origin": each.origin,
            "tiles": each.tiles,
            "refresh": each.refresh,
            "refreshed": each.refreshed,
            "saved_by": each.saved_by,
        }
        for each in found
    ]
    table(rows, empty="there is no dashboard. The console makes one, and so does a file dashboards/NAME.toml.")
    for each in found:
        if each.error:
            wrong(each.error)
        elif each.differs is not None:
            say(f"The draft {each.name} has {', '.join(each.differs) or 'what the project has'}.")


@command.command()
@click.argument("name")
@value_option
@draft_option
@env_option
@json_option
def show(name: str, param: tuple[str, ...], draft: bool, env: str | None, as_json: bool) -> None:
    """A dashboard with its stored answers; with --param, those of now."""
    from headrace.operations.dashboards import ask_dashboard, show_dashboard
    from headrace.operations.operation import At

    at = At(env=env)
    found = ask_dashboard(at, name, texts(param), draft=draft) if param else show_dashboard(at, name, draft=draft)
    if as_json:
        emit(found)
        return
    _show(found)


@command.command()
@click.argument("name", required=False)
@env_option
@json_option
def pull(name: str | None, env: str | None, as_json: bool) -> None:
    """Write the draft NAME, or all drafts, as dashboards/NAME.toml into the project."""
    from headrace.operations.dashboard_files import pull_dashboards
    from headrace.operations.operation import At

    _tell(pull_dashboards(At(env=env), name), as_json, nothing="there is no draft.")


@command.command()
@click.argument("name", required=False)
@click.option("--replace", "replace_drafts", is_flag=True, help="Also over a draft that differs.")
@env_option
@json_option
def push(name: str | None, replace_drafts: bool, env: str | None, as_json: bool) -> None:
    """Make drafts of dashboards/NAME.toml, or of all files there, to change them in the console."""
    from headrace.operations.dashboard_files import push_dashboards
    from headrace.operations.operation import At

    made = push_dashboards(At(env=env), name, replace_drafts=replace_drafts)
    _tell(made, as_json, nothing="there is no file dashboards/*.toml.")


@command.command()
@click.argument("name")
@env_option
def delete(name: str, env: str | None) -> None:
    """Delete a draft. A dashboard of the project goes with its file."""
    from headrace.operations.dashboards import delete_dashboard
    from headrace.operations.operation import At

    delete_dashboard(At(env=env), name)
    say(f"the draft {name!r} is deleted.")


@command.command()
@click.argument("name")
@draft_option
@env_option
def refresh(name: str, draft: bool, env: str | None) -> None:
    """Ask every tile now, and store the answers for whoever looks. A tile that fails says why; the others are stored."""
    from headrace.operations.dashboards import refresh_dashboard
    from headrace.operations.operation import At

    found = refresh_dashboard(At(env=env), name, draft=draft)
    failed = [each for each in found.tiles if each.error is not None]
    say(f"{name} is refreshed: {counted(len(found.tiles), 'tile')}, {len(failed)} failed.")
    for each in failed:
        wrong(f"{each.title}: {each.error}")
    if failed:
        raise SystemExit(1)


@command.command()
@click.argument("name")
@output_option
@value_option
@draft_option
@env_option
def export(name: str, output: Path | None, param: tuple[str, ...], draft: bool, env: str | None) -> None:
    """Write a dashboard into one HTML file that opens anywhere: no script, nothing from elsewhere, good to print."""
    need("jinja2", "console", "a report")
    need("starlette", "console", "a report")
    from headrace.console.dashboard_report import dashboard_report
    from headrace.operations.operation import At

    made = dashboard_report(At(env=env), name, texts(param), draft=draft)
    write_report(made.name, made.html, output)


def _show(found: DashboardReport) -> None:
    of = f", draft version {found.version} by {found.saved_by}" if found.origin == "draft" else ""
    heading(f"{found.title} ({found.name}{of})")
    if found.description:
        say(found.description)
    if found.differs:
        say(f"The draft has {', '.join(found.differs)}.")
    for each in found.tiles:
        at = f"as of {each.refreshed:%Y-%m-%d %H:%M:%S}Z" if each.refreshed else "not asked yet"
        heading(f"{each.title} ({at})")
        if each.error is not None:
            wrong(each.error)
        elif each.result is not None:
            table(each.result.rows(ROWS), empty="no rows", data=True)
            if each.count > ROWS:
                say(f"{ROWS} of {each.count:,} rows.")
    if any(each.refreshed is None for each in found.tiles):
        say(f"Next: headrace dashboard refresh {found.name}")


def _tell(made: list[DashboardFile], as_json: bool, *, nothing: str) -> None:
    if as_json:
        emit(made)
        return
    rows = [
        {"dashboard": each.name, "result": each.result, "version": each.version, "file": str(each.file)}
        for each in made
    ]
    table(rows, empty=nothing)
