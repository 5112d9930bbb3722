"""`headrace init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.output import ask, emit, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.operations.init import InitGuess, ProjectCreated
    from headrace.operations.init_update import ProjectUpdated

NONE = "-"  # typed for a column that there is not


@click.command(name="init")
@click.argument("name", required=False)
@click.option("--update", is_flag=True, help="Merge what this version's templates make into the project that is here.")
@click.option("--kind", default="tabular", show_default=True, help="The kind of project: tabular, assistant.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="A CSV file, or of an assistant a folder of .md and .txt files, which is copied; default: a sample.",
)
@click.option("--key", help='The column that tells rows or documents apart; "" for none; default: guessed.')
@click.option("--time", help='The column with the moment of each decision; "" for none; default: guessed.')
@click.option("--label", help="The column that is predicted; default: guessed.")
@click.option("--text", help="The column with the texts of an assistant; default: guessed.")
@click.option("--ci", help="Systems to write a file for, comma-separated, or none; default: github,gitlab.")
@click.option(
    "--deploy",
    default="code",
    show_default=True,
    help="What comes into higher environments: code, which trains there; models, unchanged; hybrid.",
)
@click.option("--no-git", is_flag=True, help="Make no git repository.")
@click.option("--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Ask nothing; one JSON document on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    name: str | None,
    update: bool,
    kind: str,
    source: Path | None,
    key: str | None,
    time: str | None,
    label: str | None,
    text: str | None,
    ci: str | None,
    deploy: str,
    no_git: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a new project: a folder with a program that runs, its tests, its CI and a first commit.

    The kind tabular predicts a label of rows; the kind assistant answers questions from documents. With --from, the columns
    are found in the file; what was guessed is listed, and how to change it.
    --update brings a project of an earlier version forward, keeps what you changed, and exits with 1 on conflicts.
    """
    if update:
        _update(ctx, as_json=as_json)
        return
    if name is None:
        raise click.UsageError(
            "Missing argument 'NAME': headrace init shop. A project that is here: headrace init --update"
        )
    from headrace.operations.init import check_init, create_project

    check_init(name, kind=kind, git=not no_git)
    columns = {"key": key, "time": time, "label": label, "text": text}
    if not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty():
        source, columns, ci = _questions(kind, source, columns, ci)
    systems = ("github", "gitlab") if ci is None else tuple(each.strip() for each in ci.split(",") if each.strip())
    made = create_project(
        name,
        kind=kind,
        source=source,
        key=columns["key"],
        time=columns["time"],
        label=columns["label"],
        text=columns["text"],
        ci=() if systems == ("none",) else systems,
        deploy=deploy,
        git=not no_git,
    )
    if as_json:
        emit(made)
    else:
        _report(made)


def _update(ctx: click.Context, *, as_json: bool) -> None:
    from headrace.operations.init_update import update_project

    given = [
        parameter.opts[-1]
        for parameter in ctx.command.params
        if parameter.name not in ("update", "as_json", "yes")
        and ctx.get_parameter_source(str(parameter.name)) == click.core.ParameterSource.COMMANDLINE
        and ctx.params.get(str(parameter.name)) is not None
    ]
    if given:
        raise click.UsageError(
            f"--update takes the project that is here, and no {given[0]}: its answers are in its files."
        )
    done = update_project()
    if as_json:
        emit(done)
    else:
        _report_update(done)
    ctx.exit(1 if done.conflicts else 0)


def _report_update(done: ProjectUpdated) -> None:
    if done.resumed:
        say("Finished the update that was interrupted.")
    if not done.files:
        say(f"· {done.name} has the files of headrace {done.after}: nothing to do")
        return
    table([vars(each) for each in done.files], ("result", "path", "reason"))
    say()
    moved = f"from headrace {done.before} to {done.after}" if done.before != done.after else f"headrace {done.after}"
    if done.conflicts:
        say(f"✗ {done.name}, {moved}: {done.conflicts} to look at. What is yours and what is new is between markers.")
        say("Next: edit them, then git add --all && git commit. git stash takes it all back.")
    else:
        say(f"✓ {done.name}, {moved}")
        say("Next: git diff, ci/run unit, then git add --all && git commit")


def _questions(
    kind: str, source: Path | None, columns: Mapping[str, str | None], ci: str | None
) -> tuple[Path | None, dict[str, str | None], str | None]:
    """At most five, and none that an option has answered."""
    from headrace.operations.init import describe_source, init_questions

    questions, columns = init_questions(kind), dict(columns)
    if source is None and all(each is None for each in columns.values()):
        answer = ask(questions.source)
        source = Path(answer).expanduser() if answer else None
    if source is not None:
        guesses = describe_source(
            source,
            kind=kind,
            key=columns["key"],
            time=columns["time"],
            label=columns["label"],
            text=columns["text"],
        )
        for option, question in questions.columns.items() if source.is_file() else ():
            columns[option] = _column(question, columns[option], _guessed(guesses, option))
    if ci is None:
        ci = ask("CI: github, gitlab or none (Enter: github,gitlab)") or None
    return source, columns, ci


def _guessed(guesses: tuple[InitGuess, ...], about: str) -> str:
    return next((each.value for each in guesses if each.about == about), "")


def _column(question: str, given: str | None, guess: str) -> str | None:
    if given is not None:
        return given
    answer = ask(f"{question} (Enter: {guess or 'none'}{f'; {NONE}: none' if guess else ''})")
    return "" if answer == NONE else answer or guess


def _report(made: ProjectCreated) -> None:
    say(f"{made.name}: {len(made.files)} files" + (f", first commit {made.commit}" if made.commit else ""))
    if made.guesses:
        say()
        say("Guessed of the data:")
        table([vars(each) for each in made.guesses], ("about", "value", "reason", "change"))
    if made.reason:
        say()
        say(f"Not committed: {made.reason}. To commit:")
        say(f"  cd {made.name} && {made.fix}")
    say()
    say("Next:")
    for line in (f"cd {made.name}", *made.next):
        say(f"  {line}")
