"""`headrace feedback list|summary|to-dataset`."""

from __future__ import annotations

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, heading, json_option, say, show, table
from headrace.core.text import counted


@click.group(name="feedback", cls=Commands)
def command() -> None:
    """What people say of served answers: rates by version, and data sets of corrections."""


@command.command(name="list")
@click.argument("model")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the latest first.")
@click.option("--texts", is_flag=True, help="Comments and corrections alone.")
@env_option
@json_option
def list_(model: str, limit: int, texts: bool, env: str | None, as_json: bool) -> None:
    """What people said last: the last word of each person on each answer."""
    from headrace.operations.feedback import list_feedback
    from headrace.operations.operation import At

    found = list_feedback(At(env=env), model, limit=limit, texts=texts)
    if as_json:
        emit(found)
        return
    table(
        [
            {
                "at": each.at,
                "prediction": each.prediction_id,
                "version": each.version,
                "kind": each.kind,
                "said": each.text if each.text is not None else each.value,
                "source": each.source,
                "matched": each.matched,
            }
            for each in found
        ],
        empty="there is no feedback yet; servers take it at POST /models/<model>/feedback",
    )


@command.command()
@click.argument("model")
@env_option
@json_option
def summary(model: str, env: str | None, as_json: bool) -> None:
    """The rates of each version, with 95 % intervals, and how many have no answer in the log."""
    from headrace.operations.feedback import summarize_feedback
    from headrace.operations.operation import At

    found = summarize_feedback(At(env=env), model)
    if as_json:
        emit(found)
        return
    heading(f"{found.model}: {counted(found.rows, 'piece')} of feedback, within {found.within} of the answer")
    table(
        [
            {
                "version": each.version,
                "kind": each.kind,
                "count": each.count,
                "share": None if each.share is None else f"{each.share:.1%} ({each.low:.1%} to {each.high:.1%})",
                "mean": each.mean,
                "answers": each.answers,
                "delay": None if each.delay_seconds is None else f"{show(each.delay_seconds)} s",
                "lag": f"{show(each.lag_seconds)} s",
            }
            for each in found.rates
        ],
        empty="there is no feedback yet; servers take it at POST /models/<model>/feedback",
    )
    if found.unmatched:
        say(f"{found.unmatched} without an answer in the log, or not yet: `headrace run ingest-log` takes it over")
    if found.late:
        say(f"{found.late} came later than {found.within} after the answer, and count in no rate")
    if found.simulated:
        say(f"{found.simulated} simulated: no person gave them")


@command.command(name="to-dataset")
@click.argument("model")
@click.argument("table_", metavar="TABLE")
@click.option(
    "--answers-of",
    type=click.IntRange(1),
    metavar="VERSION",
    default=None,
    help="Take the answers of a version in the log as right, instead of what people say is right.",
)
@click.option("--liked", is_flag=True, help="Of these, only those with thumbs up and nobody's thumbs down.")
@env_option
@json_option
def to_dataset(model: str, table_: str, answers_of: int | None, liked: bool, env: str | None, as_json: bool) -> None:
    """Make a table of questions with their right answers, from corrections or thumbs up as declared, or from the log."""
    from headrace.operations.feedback import feedback_to_dataset
    from headrace.operations.operation import At

    made = feedback_to_dataset(At(env=env), model, table_, answers_of=answers_of, liked=liked)
    if as_json:
        emit(made)
        return
    changes = f"{made.added} added, {made.changed} changed, {made.removed} removed"
    say(f"{made.table} version {made.version}: {counted(made.rows, 'example')} of {made.model} ({changes})")
