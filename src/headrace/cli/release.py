"""`headrace release keygen|fetch|list|verify|bundle|cut|allow|rollback`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, facts, json_option, put, say, table
from headrace.core.text import counted

if TYPE_CHECKING:
    from headrace.operations.operation import At

FOLDER = click.Path(file_okay=False, path_type=Path)
release_env_option = click.option(
    "--env", default=None, help="Environment whose policy counts; default: the highest one."
)
push_option = click.option(
    "--push", "remote", default=None, metavar="REMOTE", help="Push tag and attestations: origin."
)


@click.group(name="release", cls=Commands)
def command() -> None:
    """Releases: tested commits that are tagged, and run where only releases may."""


@command.command()
@click.argument("name")
@json_option
def keygen(name: str, as_json: bool) -> None:
    """Make a pair of keys that attests tests; the private one is shown this once."""
    from headrace.operations.signing import new_key

    made = new_key(name)
    if as_json:
        emit(made.to_json())
        return
    put(made.table)
    say(f"Put this into {made.variable} where tests are signed. It is not shown again:")
    put(made.private)
    say('Then commit the table, and name the key where it counts: [env.prod] attested_by = ["' + name + '"]')


@command.command()
@release_env_option
@click.option("--from", "remote", default="origin", show_default=True, metavar="REMOTE", help="The remote.")
@json_option
@click.pass_context
def fetch(ctx: click.Context, env: str | None, remote: str, as_json: bool) -> None:
    """Bring tags and attestations of a remote here; nothing is applied. Exit 1 when a tag was moved there."""
    from headrace.operations.release.fetch import fetch_releases

    done = fetch_releases(_at(env), remote=remote)
    if as_json:
        emit(done)
        ctx.exit(1 if done.moved else 0)
    for each in done.new:
        say(f"✓ {each.tag} ({each.commit[:8]}) may run" if each.may_run else f"· {each.tag} may not run: {each.reason}")
    for tag in done.moved:
        say(f"✗ {tag} of {remote} is another commit's here, and stays as it is here: a release is never moved")
    if not done.new:
        say(f"· {remote} has no release that is not here")
    say(f"Next: {f'headrace plan --env {done.env}' if done.new else 'headrace release list'}")
    ctx.exit(1 if done.moved else 0)


@command.command(name="list")
@release_env_option
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The most that are listed."
)
@json_option
def list_(env: str | None, limit: int, as_json: bool) -> None:
    """The releases, who attested their test, and which one runs."""
    from headrace.operations.release.evidence import list_releases

    found = list_releases(_at(env), limit=limit)
    if as_json:
        emit(found)
        return
    rows = [
        {
            "release": each.tag,
            "commit": each.commit[:8],
            "may run": ("runs" if each.runs else "yes") if each.may_run else "no",
            "attested by": each.attested_by or (f"allowed by {each.allowed_by}" if each.allowed_by else None),
            "tested": each.attested_at,
            "first run": each.first_run_at,
            "reason": each.reason or None,
        }
        for each in found
    ]
    table(rows, empty="no release; headrace release cut VERSION makes one")


@command.command()
@release_env_option
@click.argument("tag", required=False)
@click.option("--bundle", "folder", type=FOLDER, default=None, help="Check a folder of headrace release bundle.")
@click.option("--base", default=None, help="The image that the bundle has to be built on; default: Python's own.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context, env: str | None, tag: str | None, folder: Path | None, base: str | None, as_json: bool
) -> None:
    """Whether a release may run, and what speaks for it, or whether a bundle is whole; exit 1 when not."""
    from headrace.operations.release.bundle import verify_bundle
    from headrace.operations.release.evidence import verify_release

    if folder is None:
        if tag is None:
            raise click.UsageError("Name a release, or a bundle: --bundle DIR.")
        found = verify_release(_at(env), tag)
        passed = found.may_run
    else:
        found = verify_bundle(_at(env), folder, tag=tag, base=base)
        passed = not found.problems
    if as_json:
        emit(found)
    else:
        facts(vars(found))
    ctx.exit(0 if passed else 1)


@command.command()
@release_env_option
@click.argument("version")
@click.option("--output", type=FOLDER, required=True, help="The folder that is made.")
@click.option(
    "--wheels", type=FOLDER, multiple=True, help="Look for wheels here before they are downloaded; may repeat."
)
@click.option("--no-index", is_flag=True, help="Download nothing.")
@click.option(
    "--base", metavar="IMAGE", help="The image to build on, with a tag or a digest; default: python:X.Y-slim."
)
@click.option("--key", metavar="NAME", help="The key that signs the manifest; default: the only one that is here.")
@json_option
def bundle(
    env: str | None,
    version: str,
    output: Path,
    wheels: tuple[Path, ...],
    no_index: bool,
    base: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Write a release into a folder: code, locked wheels, an image file and a manifest."""
    from headrace.operations.release.bundle import bundle_release

    done = bundle_release(_at(env), version, output=output, wheels=wheels, no_index=no_index, base=base, key=key)
    if as_json:
        emit(done)
        return
    by = f"signed by {done.signed_by}" if done.signed_by else "not signed"
    say(
        f"✓ {done.release} in {done.folder}: {counted(done.wheels, 'wheel')}, {counted(done.files, 'file')}, {done.size / 2**20:,.1f} MiB, {by}"
    )
    say(f"Next: headrace release verify --bundle {done.folder}")


@command.command()
@release_env_option
@click.argument("version")
@click.option("--commit", default="HEAD", show_default=True, help="The commit that is released.")
@push_option
@json_option
def cut(env: str | None, version: str, commit: str, remote: str | None, as_json: bool) -> None:
    """Tag a tested commit as a release."""
    from headrace.operations.release.cut import cut_release

    done = cut_release(_at(env), version, commit=commit, remote=remote)
    if as_json:
        emit(done)
        return
    by = f"attested by {done.attested_by}" if done.attested_by else "no attestation is asked for"
    say(f"✓ {done.tag} is {done.commit[:8]}, {by}" if done.new else f"· {done.tag} was {done.commit[:8]} already, {by}")
    say(f"Next: {'headrace release list' if done.pushed_to else f'git push origin {done.tag}'}")


@command.command()
@release_env_option
@click.argument("tag")
@click.option("--reason", required=True, help="Why; it stays in the audit record.")
@click.option("--withdraw", is_flag=True, help="Take it back: the release runs only with an attestation.")
@json_option
def allow(env: str | None, tag: str, reason: str, withdraw: bool, as_json: bool) -> None:
    """Let a release run without an attestation of its test, or take that back; an admin's, and audited."""
    from headrace.operations.release.evidence import allow_release, withdraw_allowance

    done = (withdraw_allowance if withdraw else allow_release)(_at(env), tag, reason=reason)
    if as_json:
        emit(done)
    elif withdraw:
        say(f"✓ {done.tag} {'may run: it is attested' if done.may_run else 'may not run'}")
    else:
        who = (
            f"attested by {done.attested_by}: nothing had to be allowed"
            if done.attested_by
            else f"allowed by {done.allowed_by}"
        )
        say(f"✓ {done.tag} may run, {who}")


@command.command()
@release_env_option
@click.argument("tag", required=False)
@click.option("--reason", required=True, help="Why; it stays in the audit record.")
@click.option("--yes", is_flag=True, help="Without asking.")
@json_option
@click.pass_context
def rollback(ctx: click.Context, env: str | None, tag: str | None, reason: str, yes: bool, as_json: bool) -> None:
    """Take the code of an environment back to the release before, or to TAG; versions of models stay where they are."""
    from headrace.cli.apply import asked, finish
    from headrace.cli.pipeline_story import PipelineStory
    from headrace.operations.release.apply import roll_back_release, rollback_target

    at = _at(env)
    target = tag or rollback_target(at)
    story = PipelineStory("rollback", as_json=as_json)
    done = roll_back_release(
        replace(at, release=target),
        reason=reason,
        confirm=None
        if yes or as_json
        else lambda plan: asked(plan, again=f"headrace release rollback {target} --reason … --yes"),
        listen=story.tell,
        begin=story.announce,
    )
    ctx.exit(finish(done, as_json=as_json))


def _at(env: str | None) -> At:
    from headrace.operations.operation import At
    from headrace.operations.release.evidence import releasing

    return releasing(At(env=env))
