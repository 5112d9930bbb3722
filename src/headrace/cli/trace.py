"""`headrace trace list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, facts, heading, json_option, put, say, table
from headrace.operations.operation import At

if TYPE_CHECKING:
    from headrace.operations.trace_details import AnswerDetails
    from headrace.operations.traces import Said


@click.group(name="trace", cls=Commands)
def command() -> None:
    """Answers of models that answer: what was asked, retrieved, sent and answered, and what it took."""


@command.command(name="list")
@click.option("--model", default=None, help="Of this model alone.")
@click.option("--contains", default="", metavar="TEXT", help="With this text in the question or the answer.")
@click.option(
    "--feedback",
    type=click.Choice(["up", "down", "text", "any"]),
    default=None,
    help="With thumbs up, thumbs down, a comment or correction, or any feedback.",
)
@click.option("--before", default=None, help="Before the last one of another list, as that list says.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, the latest first."
)
@env_option
@json_option
def list_(
    model: str | None,
    contains: str,
    feedback: Said | None,
    before: str | None,
    limit: int,
    env: str | None,
    as_json: bool,
) -> None:
    """The latest answers, from the inference log: what a deployment keeps out of its log is not there."""
    from headrace.operations.traces import list_answers

    found = list_answers(At(env=env), model, contains=contains, feedback=feedback, before=before, limit=limit)
    if as_json:
        emit(found)
        return
    table(
        [
            {
                "trace": each.trace,
                "at": each.at,
                "version": f"{each.model}/{each.version}",
                "question": each.question,
                "answer": each.answer,
                "cost": each.cost_dollars,
                "ms": each.latency_ms,
                "feedback": ", ".join(each.feedback),
            }
            for each in found.answers
        ],
        empty="no answer is as asked for."
        if contains or feedback or before
        else "no answer is in the log. `headrace run ingest-log` takes over what servers have answered.",
    )
    if found.before:
        say(f"Those before: headrace trace list --before '{found.before}'")


@command.command()
@click.argument("trace")
@click.option("--model", default=None, help="That answered; default: any.")
@click.option("--request", default=None, help="The id of the request, where the same was answered several times.")
@env_option
@json_option
def show(trace: str, model: str | None, request: str | None, env: str | None, as_json: bool) -> None:
    """One answer: what was asked, retrieved, sent and answered, what it took, and what people said of it."""
    from headrace.operations.trace_details import show_answer

    found = show_answer(At(env=env), trace, model=model, request=request)
    if as_json:
        emit(found)
        return
    _for_people(found)


def _for_people(found: AnswerDetails) -> None:
    facts(
        {
            "trace": found.trace,
            "version": f"{found.model}/{found.version}",
            "role": found.role,
            "at": found.at,
            "finish reason": found.finish_reason,
            "input tokens": found.input_tokens,
            "output tokens": found.output_tokens,
            "cost": found.cost_dollars,
            "latency ms": found.latency_ms,
            **{name: value if value is not None else "left out of the log" for name, value in found.inputs.items()},
            "answer": found.whole_answer if found.whole_answer is not None else "left out of the log",
        }
    )
    for each in found.passages:
        put()
        heading(f"Passage {each.id}, score {each.score:.4g}")
        put(each.text)
    for each in found.calls:
        put()
        heading(
            f"Call of {each.model} by {each.route or 'a function'}, prompt {each.prompt or '-'} {each.prompt_version[:8]}"
        )
        for message in each.messages:
            put(f"{message.role}: {message.text}")
    if not found.texts_kept:
        say("The texts of the calls are not in the log.")
    if found.words:
        put()
        heading("Feedback")
        table([vars(each) for each in found.words], ("at", "kind", "value", "text", "source"))
