"""`headrace demo`: the shipped example, a year of flights, in a real project folder, run in prod from its release tag."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Story, bold, emit, say, table
from headrace.core import processes
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, MissingExtraError, RefusedError

if TYPE_CHECKING:
    from headrace.monitoring.alerts import Alert
    from headrace.operations.demo import Plan, Replay
    from headrace.workspace.workspace import Workspace

EXAMPLES = Path(__file__).parent.parent / "examples"
RELEASE = "v0.1.0"
MARK = ".headrace/demo"  # this folder was made by the demo, so the demo may remove it
AUTHOR = ("-c", "user.name=Headrace demo", "-c", "user.email=demo@headrace.invalid", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")  # fmt: skip


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
    lay_out(EXAMPLES / "flights", folder, fresh=fresh)

    from headrace.operations.demo import Replay, smoke
    from headrace.workspace.workspace import open_workspace

    story, plan = Story(), _plan(show)
    say(f"{bold('Headrace demo')} in {folder}, prod, release {RELEASE}")
    with open_workspace("staging", folder=folder) as workspace:
        story.begin(f"smoke run in staging, {workspace.environment.sample:.0%} of the decisions")
        smoke(workspace, plan, story.tell)
    with open_workspace("prod", folder=folder) as workspace:
        replay = Replay(workspace, plan, story.begin, story.tell)
        replay.run()
        found = report(workspace, show, replay, story)
    if as_json:
        emit(found)
    else:
        close(found, show, folder)


def _plan(show: dict[str, Any]) -> Plan:
    from headrace.operations.demo import Plan

    return Plan(
        model=show["model"],
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


def lay_out(example: Path, folder: Path, *, fresh: bool) -> None:
    """Makes the project folder: the example's files in a git repository with one commit and one release tag.

    The folder appears whole or not at all.

    Raises:
        RefusedError: something else is there.
    """
    if folder.exists() and fresh:
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise RefusedError(
                f"{str(folder)!r} was not made by the demo; it is left alone.",
                hint="Choose another folder: headrace demo --dir DIR.",
            )
        _remove(folder)
    if (folder / MARK).exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise RefusedError(
            f"{str(folder)!r} is there already and is not a demo.",
            hint="Choose another folder: headrace demo --dir DIR.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.copytree(example, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _git(made, "init", "--quiet", "--initial-branch=main")
    _git(made, "add", "--all")
    _git(made, "commit", "--quiet", "--no-verify", "--message", "Flights: the whole loop")
    _git(made, "tag", RELEASE)
    (made / MARK).parent.mkdir(exist_ok=True)
    (made / MARK).touch()
    if folder.exists():
        folder.rmdir()
    made.rename(folder)


def _git(folder: Path, *arguments: str) -> None:
    done = processes.run(["git", *AUTHOR, *arguments], folder=folder)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(
            f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}",
            hint="The demo needs a working git.",
        )


def _remove(folder: Path) -> None:
    for each in (folder / ".headrace" / "code").rglob("*"):  # archived code is read-only
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
    shutil.rmtree(folder)


def report(workspace: Workspace, show: dict[str, Any], replay: Replay, story: Story) -> dict[str, Any]:
    """What the demo found, from the ledger, the registry and the tables."""
    registry, metric = workspace.registry, show["metric"]
    refreshed = workspace.ledger.runs("refresh", limit=1)[0]
    steps = [step.output or {} for step in workspace.ledger.steps(refreshed.id)]
    rss = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    months = [_month(show, replay, month) for month in replay.quality["months"]]
    return {
        "model": show["model"],
        "versions": [
            {
                "version": version.version,
                "stage": version.stage,
                "fit": {"from": version.fit_from, "to": version.fit_to},
                f"test_{metric}": version.metrics.get(metric),
                "run_id": version.run_id,
                "code_commit": version.code,
                "inputs": version.inputs,
            }
            for version in registry.versions(show["model"])
        ],
        "months": months,
        "batch": {"rows": sum(month["rows"] for month in months)},
        "served": replay.served,
        "alerts": [_alert(alert) for alert in reversed(workspace.alerts.list(model=show["model"]))],
        "decisions": _decisions(workspace, show["model"]),
        "stages": [
            {
                "version": change.version,
                "stage": change.stage,
                "at": change.at,
                "by": change.by,
                "reason": change.reason,
                "decision": change.decision,
            }
            for change in registry.history(show["model"])
        ],
        "quarantined": {output["table"]: output["quarantined"] for output in steps if output.get("quarantined")},
        "seconds": story.seconds,
        "peak_rss_mb": round(rss / (2**20 if sys.platform == "darwin" else 2**10)),
    }


def _month(show: dict[str, Any], replay: Replay, month: dict[str, Any]) -> dict[str, Any]:
    metric = show["metric"]
    drifted = [window for window in replay.windows if window["start"] == month["start"]]
    columns = [each for each in drifted[0]["columns"] if each["verdict"] != "not judged"] if drifted else []
    worst = max(columns, key=lambda each: each["psi"], default=None)
    return {
        "month": month["month"],
        "rows": month["rows"],
        "labelled": month["labelled"],
        show["label_mean"]: month["label_mean"],
        metric: month["metrics"][metric],
        f"{metric}_interval": month["intervals"][metric],
        f"{metric}_estimated": month["estimated"].get(metric),
        f"{metric}_retrained": (replay.backtested.get(month["month"]) or {}).get(metric),
        "psi": worst["psi"] if worst else None,
        "psi_column": worst["column"] if worst else None,
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.id,
        "version": alert.version,
        "rule": alert.rule,
        "window": alert.window,
        "status": alert.status,
        "evidence": alert.evidence,
    }


def _decisions(workspace: Workspace, model: str) -> list[dict[str, Any]]:
    requests = workspace.registry.requests
    found: list[dict[str, Any]] = []
    for request in reversed(requests.list(model=model)):
        decision = requests.decision(request.id)
        if decision is not None:
            found.append(
                {
                    "request": request.id,
                    "version": request.version,
                    "to": request.to,
                    "by": request.by,
                    "approved": decision.approved,
                    "approved_by": list(decision.by),
                    "evidence": {"hash": request.evidence_hash, **request.evidence},
                    "spent": decision.spent is not None,
                }
            )
    return found


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
