"""`headrace demo`: the shipped example, a year of flights, in a real project folder, run in prod from its release tag."""

from __future__ import annotations

import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Story, bold, emit, say, table
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from headrace.demo.replay import Plan

EXAMPLES = Path(__file__).parent.parent / "examples"


@click.command(name="demo")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("flights"),
    show_default=True,
    help="The project folder.",
)
@click.option("--fresh", is_flag=True, help="Remove the folder that an earlier demo made, and start over.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout at the end.")
def command(folder: Path, fresh: bool, as_json: bool) -> None:
    """A year of New York flights through the whole loop: train, gates, serve, score, monitor, alert, retrain, roll back.

    All of it in prod, from a release tag, after a smoke run in staging.

    Run again it continues where it was stopped, and doubles nothing.
    """
    show = tomllib.loads((EXAMPLES / "flights.toml").read_text(encoding="utf-8"))
    _check(show["needs"])

    from headrace.demo.findings import findings
    from headrace.demo.project_folder import RELEASE, lay_out
    from headrace.demo.replay import Replay, smoke
    from headrace.operations.operation import At

    lay_out(EXAMPLES / "flights", folder, fresh=fresh)
    story, plan = Story(), _plan(show)
    say(f"{bold('Headrace demo')} in {folder}, prod, release {RELEASE}")
    story.begin(f"smoke run in staging, {show['sample']} of the decisions")
    smoke(At(env="staging", folder=folder), plan, story.tell)
    prod = At(env="prod", folder=folder)
    replay = Replay(prod, folder / ".headrace" / "bootstrap.token", plan, story.begin, story.note, story.tell)
    replay.run()
    found = findings(prod, show, replay, story.seconds)
    if as_json:
        emit(found)
    else:
        close(found, show, folder)


def _plan(show: dict[str, Any]) -> Plan:
    from headrace.demo.replay import Plan

    return Plan(
        model=show["model"],
        into=show["into"],
        train_as_of=instant(show["train"]["as_of"]),
        since=instant(show["score"]["from"]),
        until=instant(show["score"]["to"]),
        as_of=instant(show["as_of"]),
        ask_as_of=instant(show["ask_as_of"]),
        approver=show["approver"],
    )


def _check(needs: list[str]) -> None:
    for module in needs:
        if find_spec(module) is None:
            raise MissingExtraError(module, "demo", "The demo")
    if shutil.which("git") is None:
        raise ConfigError("The demo needs git: prod runs a release, and a release is a git tag.", hint="Install git.")


def close(found: dict[str, Any], show: dict[str, Any], folder: Path) -> None:
    """The closing table and what to type next."""
    metric = show["metric"]
    say()
    table(
        [
            {
                "month": month["month"],
                show["label_mean"].replace("_", " "): month[show["label_mean"]],
                f"{metric} v1": month[metric],
                "estimated": month[f"{metric}_estimated"],
                "retrained": month[f"{metric}_retrained"],
                "worst drift": f"{month['psi_column']} {month['psi']:.2f}" if month["psi"] is not None else None,
            }
            for month in found["months"]
        ]
    )
    served = found["served"]
    say()
    say(
        f"{served['requests']:,} served answers, {served['mismatches']} unlike the batch scores; "
        f"{len(found['alerts'])} {'alert' if len(found['alerts']) == 1 else 'alerts'}; version {_current(found)} is in Production."
    )
    say(f"{sum(found['seconds'].values()):.0f} s, {found['peak_rss_mb']:,} MB at most. Next:")
    say(f"  cd {folder}")
    for step in show["next"]:
        say(f"  {step['type']}{'   # ' + step['reason'] if 'reason' in step else ''}")


def _current(found: dict[str, Any]) -> str:
    return next((str(each["version"]) for each in found["versions"] if each["stage"] == "Production"), "none")
