"""`headrace demo`: the shipped example, a year of flights, in a real project folder, run in prod from its release tag."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Story, bold, emit, say, table
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, MissingExtraError, RefusedError

if TYPE_CHECKING:
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
    """A year of New York flights: refresh, train as of May, score May to December, all in prod from a release tag.

    Run again it continues where it was stopped, and doubles nothing.
    """
    show = tomllib.loads((EXAMPLES / "flights.toml").read_text(encoding="utf-8"))
    _check(show["needs"])
    lay_out(EXAMPLES / "flights", folder, fresh=fresh)

    from headrace.workspace import start
    from headrace.workspace.workspace import open_workspace

    story = Story()
    say(f"{bold('Headrace demo')} in {folder}, prod, release {RELEASE}")
    with open_workspace("prod", folder=folder) as workspace:
        story.begin("refresh")
        refreshed = start.refresh(workspace, listen=story.tell)
        story.begin("train")
        start.train(workspace, as_of=instant(show["train"]["as_of"]), listen=story.tell)
        story.begin("score")
        since, until = instant(show["score"]["from"]), instant(show["score"]["to"])
        scored = start.score(workspace, version=1, since=since, until=until, listen=story.tell)
        found = report(workspace, show, (refreshed.id, scored.id), story)
    if as_json:
        emit(found)
    else:
        close(found, show, folder)


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
    _git(made, "commit", "--quiet", "--no-verify", "--message", "Flights: from raw flights to scored flights")
    _git(made, "tag", RELEASE)
    (made / MARK).parent.mkdir(exist_ok=True)
    (made / MARK).touch()
    if folder.exists():
        folder.rmdir()
    made.rename(folder)


def _git(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["git", *AUTHOR, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"git {arguments[0]} failed: {done.stderr.strip()}", hint="The demo needs a working git.")


def _remove(folder: Path) -> None:
    for each in (folder / ".headrace" / "code").rglob("*"):  # archived code is read-only
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
    shutil.rmtree(folder)


def report(workspace: Workspace, show: dict[str, Any], runs: tuple[str, ...], story: Story) -> dict[str, Any]:
    """What the demo found, from the ledger, the registry and the tables."""
    steps: dict[str, Any] = {step.name: step.output or {} for run in runs for step in workspace.ledger.steps(run)}
    metric, months = show["metric"], steps["quality"]["months"]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
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
            for version in workspace.registry.versions(show["model"])
        ],
        "months": [
            {
                "month": month["month"],
                "rows": month["rows"],
                "labelled": month["labelled"],
                show["label_mean"]: month["label_mean"],
                metric: month["metrics"][metric],
            }
            for month in months
        ],
        "batch": {"rows": sum(month["rows"] for month in months)},
        "quarantined": {
            output["table"]: output["quarantined"] for output in steps.values() if output.get("quarantined")
        },
        "seconds": story.seconds,
        "peak_rss_mb": round(rss / (2**20 if sys.platform == "darwin" else 2**10)),
    }


def close(found: dict[str, Any], show: dict[str, Any], folder: Path) -> None:
    """The closing table and what to type next."""
    say()
    table(found["months"])
    say()
    say(f"{sum(found['seconds'].values()):.0f} s, {found['peak_rss_mb']:,} MB at most. Next:")
    say(f"  cd {folder}")
    for step in show["next"]:
        say(f"  {step['type']}{'   # ' + step['why'] if 'why' in step else ''}")
