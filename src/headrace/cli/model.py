"""`headrace model list|show|card|search|predict|history|compare|comparisons|import|promote|rollback|export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.hits import show_hits
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.cli.output import show as show_value
from headrace.cli.pipeline_story import PipelineStory, release_option
from headrace.cli.report_file import output_option, write_report
from headrace.core.clock import instant
from headrace.core.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.operations.answer_comparison import AnswersComparison
    from headrace.operations.comparison import SliceComparison, VersionComparison
    from headrace.operations.export import ExportKind
    from headrace.operations.models import HistoryEntry, SliceReport, VersionReport
    from headrace.operations.search import ModelHit, StageVersion

COMPARISON = (
    "version",
    "champion",
    "metric",
    "challenger_value",
    "champion_value",
    "value",
    "low",
    "high",
    "rows",
    "result",
)


@click.group(name="model", cls=Commands)
def command() -> None:
    """Models and their versions."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Every version of every model: stage, main metric, code."""
    from headrace.operations.models import list_versions
    from headrace.operations.operation import At

    listing = list_versions(At(env=env))
    if as_json:
        emit(listing.versions)
        return
    table(
        [{**vars(report), "fitted_on": _fitted_on(report)} for report in listing.versions],
        ("model", "version", "stage", "metrics", "fitted_on", "created"),
        empty=f"no versions yet. Next: headrace run train --env {listing.env}",
    )


@command.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), default=None, help="Its number; defaults to the newest.")
@env_option
@json_option
def show(name: str, version: int | None, env: str | None, as_json: bool) -> None:
    """One version: stage and its history, metrics, slices, code and data it came from."""
    from headrace.operations.models import show_version
    from headrace.operations.operation import At

    details = show_version(At(env=env), name, version=version)
    if as_json:
        emit(details)
        return
    facts({key: value for key, value in vars(details).items() if key not in ("stages", "rejected", "slices")})
    if details.slices:
        put()
        heading("Slices of the test rows")
        table([_slice(report) for report in details.slices])
    put()
    table([vars(stage) for stage in details.stages])
    if details.rejected:
        put()
        heading("Rejected")
        table([vars(rejection) for rejection in details.rejected])


@command.command()
@click.argument("name")
@click.option(
    "--version",
    type=click.IntRange(1),
    default=None,
    help="Its number; defaults to the one in Production, else the newest.",
)
@output_option
@env_option
def card(name: str, version: int | None, output: Path | None, env: str | None) -> None:
    """Write the card of a version into one HTML file: purpose, data, metrics, gates, approvals, limits."""
    need("jinja2", "console", "a model card")
    need("starlette", "console", "a model card")
    from headrace.console.reports import model_card
    from headrace.operations.operation import At

    made = model_card(At(env=env), name, version=version)
    write_report(made.name, made.html, output)


@command.command()
@click.argument("name")
@click.argument("rows", metavar="ROWS")
@click.option("--version", type=click.IntRange(1), default=None, help="Its number; defaults to the one in Production.")
@click.option(
    "--at", type=instant, default=None, metavar="MOMENT", help="The moment of every decision, for rows that have none."
)
@env_option
@json_option
def predict(name: str, rows: str, version: int | None, at: datetime | None, env: str | None, as_json: bool) -> None:
    """Predict ROWS (a file, a table or a SELECT) in this process, and print the outputs. Nothing is stored.

    They are full rows, with every input of the model, or decisions, whose features are looked up as of their moment.
    """
    from headrace.operations.operation import At
    from headrace.operations.predict import predict_rows

    found = predict_rows(At(env=env), name, rows, version=version, at=at)
    emit(found.to_json()["rows"]) if as_json else table(found.rows(), data=True)


@command.command()
@click.argument("text", nargs=-1)
@click.option("--owner", default="", help="A part of the owner.")
@click.option("--project", default="", help="The name of a project.")
@click.option(
    "--stage",
    type=click.Choice(("None", "Staging", "Production", "Archived"), case_sensitive=False),
    default=None,
    help="Of a version; the highest environment with a version in that stage is shown.",
)
@env_option
@json_option
def search(text: tuple[str, ...], owner: str, project: str, stage: str | None, env: str | None, as_json: bool) -> None:
    """Models of all projects that share the catalog and have every word of TEXT, the best match first."""
    from headrace.operations.operation import At
    from headrace.operations.search import search_models

    found = search_models(At(env=env), " ".join(text), owner=owner, project=project, stage=stage or "")
    if as_json:
        emit(found)
        return
    show_hits(found.hits, _show_hit, catalog=found.catalog, empty="no model matches")


def _show_hit(hit: ModelHit) -> None:
    heading(f"{hit.model}  {hit.project}, {hit.environment}")
    facts(
        {
            **{name: getattr(hit, name) for name in ("description", "owner", "task", "label", "features")},
            "versions": "\n".join(map(_stage_version, hit.versions)) or "none yet",
        }
    )


def _stage_version(version: StageVersion) -> str:
    quality = f", {version.metric} {show_value(version.value)}" if version.metric else ""
    stage = f", {version.stage}" if version.stage != "None" else ""
    return f"version {version.version}{stage}{quality}, {version.created:%Y-%m-%d} by {version.registered_by}"


def _fitted_on(report: VersionReport) -> str:
    """The days that a version was fitted on, which nobody knows of an imported one."""
    return "imported: unknown" if report.imported_from else f"{report.fit_from[:10]} to {report.fit_to[:10]}"


def _slice(report: SliceReport) -> dict[str, object]:
    """A slice as a row: a column for each metric."""
    return {"slice": f"{report.key} {report.value}", "rows": report.rows, **report.metrics}


@command.command()
@click.argument("name")
@env_option
@json_option
def history(name: str, env: str | None, as_json: bool) -> None:
    """Every stage that a version of this model came to, and what was rejected: when, by whom, why, by which decision."""
    from headrace.operations.models import show_model_history
    from headrace.operations.operation import At

    entries = show_model_history(At(env=env), name)
    if as_json:
        emit(entries)
        return
    rows = [
        {
            **_entry(entry),
            "stage": entry.stage or f"not {entry.rejected}",
            "by": [person.label for person in entry.by],
            "decided by": [person.label for person in entry.decided_by],
        }
        for entry in entries
    ]
    table(rows, ("at", "version", "stage", "by", "reason", "decision", "decided by"))


def _entry(entry: HistoryEntry) -> dict[str, object]:
    """An entry as a row."""
    return {
        "at": entry.at,
        "version": entry.version,
        "stage": entry.stage,
        "by": ", ".join(person.name for person in entry.by),
        "reason": entry.reason,
        "decision": entry.decision,
        "rejected": entry.rejected,
    }


@command.command()
@click.argument("name")
@click.argument("a", type=click.IntRange(1))
@click.argument("b", type=click.IntRange(1))
@env_option
@json_option
def compare(name: str, a: int, b: int, env: str | None, as_json: bool) -> None:
    """Versions A and B side by side: stage, parameters, features, tables, metrics, comparisons on the same rows, slices."""
    from headrace.operations.comparison import compare_versions
    from headrace.operations.operation import At

    compared = compare_versions(At(env=env), name, a, b)
    if as_json:
        emit(compared)
        return
    first, second = f"version {a}", f"version {b}"
    table([{"": label, first: mine, second: theirs} for label, mine, theirs in _sides(compared)])
    _part(
        "Parameters, those that differ first",
        [
            {"parameter": each.name, first: each.a, second: each.b, "differs": each.differs}
            for each in compared.parameters
        ],
    )
    if compared.features is not None:
        put()
        heading("Features")
        facts(
            {
                f"only in version {b}": compared.features.added,
                f"only in version {a}": compared.features.removed,
                "in both": compared.features.same,
            }
        )
    _part(
        "Tables, and the Delta version of each that the version was trained on",
        [{"table": each.table, first: each.a, second: each.b} for each in compared.tables],
    )
    _part(
        "Metrics, each version on its own test rows",
        [{"metric": each.metric, first: each.a, second: each.b} for each in compared.metrics],
    )
    _part("Compared on the same rows", [vars(each) for each in compared.same_rows], COMPARISON)
    if not compared.same_rows and compared.answers is None:
        put()
        say(f"these two were never compared on the same rows. See: {bold(f'headrace model comparisons {name}')}")
    _part("Slices of the test rows, each version on its own", [_compared_slice(each, a, b) for each in compared.slices])
    if compared.answers is not None:
        _show_answers(compared.answers, first, second)


def _show_answers(compared: AnswersComparison, first: str, second: str) -> None:
    """Routes, the lines of prompts that differ, metrics on the same questions, and the answers that differ most."""
    _part("Routes", [{"route": each.name, first: each.a, second: each.b} for each in compared.routes])
    for each in compared.prompts:
        if each.a != each.b:
            put()
            heading(f"Prompt {each.name}")
            only = f"only in {second if each.a is None else first}"
            put(each.diff if None not in (each.a, each.b) else only)
    _part(
        f"On the same {compared.same_questions:,} questions",
        [
            {
                "metric": each.metric,
                first: each.a,
                second: each.b,
                "difference": f"{each.difference:+.4f} ({each.low:+.4f} to {each.high:+.4f})",
                "p": each.p_value,
                "rows": each.rows,
            }
            for each in compared.metrics
        ],
    )
    if compared.answers:
        put()
        heading("Answers that differ most")
    for answer in compared.answers:
        put()
        facts(
            {
                **answer.inputs,
                "right": " / ".join(answer.reference),
                first: f"{answer.a} {_scored(answer.scores_a)}",
                second: f"{answer.b} {_scored(answer.scores_b)}",
            }
        )


def _scored(scores: Mapping[str, float | None]) -> str:
    return f"({', '.join(f'{name} {value:.2f}' for name, value in scores.items() if value is not None)})"


def _sides(compared: VersionComparison) -> list[tuple[str, object, object]]:
    """What each of two versions is: a label and both values."""
    a, b = compared.a, compared.b
    return [
        ("stage", a.stage, b.stage),
        ("fitted on", _fitted_on(a), _fitted_on(b)),
        ("as of", a.as_of[:19], b.as_of[:19]),
        ("code", a.code, b.code),
        ("created", a.created, b.created),
    ]


def _compared_slice(report: SliceComparison, a: int, b: int) -> dict[str, object]:
    """A slice as a row: two columns for the number of rows, and two for each metric."""
    row: dict[str, object] = {
        "slice": f"{report.key} {report.value}",
        f"rows {a}": report.rows_a,
        f"rows {b}": report.rows_b,
    }
    for each in report.metrics:
        row |= {f"{each.metric} {a}": each.a, f"{each.metric} {b}": each.b}
    return row


def _part(title: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """A heading and a table below it; nothing where there are no rows."""
    if rows:
        put()
        heading(title)
        table(rows, columns)


@command.command()
@click.argument("name")
@env_option
@json_option
def comparisons(name: str, env: str | None, as_json: bool) -> None:
    """What each version was compared with by its gates, on which decisions, and what came out."""
    from headrace.operations.comparison import list_comparisons
    from headrace.operations.operation import At

    listed = list_comparisons(At(env=env), name)
    if as_json:
        emit(listed)
        return
    rows = [vars(comparison) for comparison in listed]
    table(rows, COMPARISON, empty=f"no comparison yet. Next: headrace run deploy --model {name}")


@command.command(name="import")
@click.argument("name")
@click.argument("source")
@click.option(
    "--tracking-uri",
    default=None,
    metavar="URI",
    help="The MLflow store that knows a models:/ or runs:/ source; defaults to the environment's own.",
)
@click.option("--force", is_flag=True, help="Take an estimator that was pickled by another version of scikit-learn.")
@env_option
@release_option
@json_option
def import_(
    name: str,
    source: str,
    tracking_uri: str | None,
    force: bool,
    env: str | None,
    release: str | None,
    as_json: bool,
) -> None:
    """Make a version of a model that was fitted elsewhere; it goes through the same gates.

    SOURCE is models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH of MLflow, a folder with an MLmodel file, a .joblib
    or .pkl file of a fitted estimator, or an .onnx file. A pickle, and an MLflow model of most flavours, is code: it runs
    with your rights when it is read. Import only what you would run.
    """
    from headrace.operations.import_model import import_model
    from headrace.operations.operation import At

    story = PipelineStory("import", as_json=as_json)
    done = import_model(
        At(env=env, release=release),
        name,
        source,
        tracking_uri=tracking_uri,
        force=force,
        listen=story.tell,
        begin=story.announce,
    )
    if as_json:
        emit(done)
        return
    if done.known:
        say(f"{done.source} is {done.model} version {done.version} already: nothing was registered.")
    else:
        say(f"{done.model} version {done.version} was imported, with stage None.")
        if done.checked != "names":
            what = "their number" if done.checked == "number" else "nothing, because it says neither names nor number"
            say(f"Its inputs were compared by {what}; they are taken in the order of features=.")
    following = (
        f"headrace run deploy --model {name} --version {done.version}" if done.deployed else "headrace model list"
    )
    say(f"run {done.run} done. Next: {bold(f'{following} --env {done.env}')}")


@command.command()
@click.argument("name", required=False)
@click.option(
    "--from", "source", default=None, metavar="ENV", help="Where it comes from; defaults to the one just below."
)
@click.option(
    "--version", type=click.IntRange(1), default=None, help="Its number there; defaults to the one in Production."
)
@env_option
@release_option
@json_option
def promote(
    name: str | None, source: str | None, version: int | None, env: str | None, release: str | None, as_json: bool
) -> None:
    """Copy a version up from a lower environment, unchanged; it goes through the gates of this one.

    For a deployment with pattern='models' or 'hybrid'. NAME may be left out when there is only one that is deployed.
    """
    from headrace.operations.operation import At
    from headrace.operations.promote import promote_model

    story = PipelineStory("promote", as_json=as_json)
    done = promote_model(
        At(env=env, release=release), name, source=source, version=version, listen=story.tell, begin=story.announce
    )
    if as_json:
        emit(done)
        return
    if done.known:
        say(f"{done.source} of {done.model} is version {done.version} here already: nothing was registered.")
    else:
        say(f"{done.model} version {done.version} came up from {done.source}, with stage None and the same files.")
    following = f"headrace run deploy --model {done.model} --version {done.version} --env {done.env}"
    say(f"run {done.run} done. Next: {bold(following)}")


@command.command()
@click.argument("name")
@click.option(
    "--to",
    type=click.IntRange(1),
    default=None,
    help="The version; defaults to the one that was in Production before.",
)
@click.option("--reason", required=True, help="Kept with the decision.")
@env_option
@json_option
def rollback(name: str, to: int | None, reason: str, env: str | None, as_json: bool) -> None:
    """Bring back a version that has been in Production: one command, recorded."""
    from headrace.operations.operation import At
    from headrace.operations.rollback import roll_back

    report = roll_back(At(env=env), name, to=to, reason=reason)
    if as_json:
        emit(report)
        return
    say(f"{name} version {report.version} is in Production. Next: {bold(f'headrace model history {name}')}")
    if report.replaced is not None:
        say(f"Forth again: {bold(f'headrace model rollback {name} --to {report.replaced} --reason …')}")
    if report.previous is not None:
        say(f"Once more goes back to version {report.previous}.")


@command.command()
@click.argument("name")
@click.option(
    "--to", type=click.Choice(["container", "kubernetes", "sagemaker"]), required=True, help="What it is for."
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder of its own; it is created, or an earlier export in it is replaced.",
)
@click.option("--version", type=click.IntRange(1), default=None, help="Its number; defaults to the one in Production.")
@env_option
@json_option
def export(name: str, to: ExportKind, into: Path, version: int | None, env: str | None, as_json: bool) -> None:
    """What is needed to serve a version without this project: a container file and the model, and manifests."""
    from headrace.operations.export import export_model
    from headrace.operations.operation import At

    report = export_model(At(env=env), name, to=to, into=into, version=version)
    if as_json:
        emit(report)
        return
    say(f"{report.model}/{report.version} for {to}: {len(report.files)} files in {into}")
    if report.features:
        say("its features are those of now: a container does not follow `headrace run publish`; a Redis does")
    say("Next:")
    for step in report.steps:
        say(f"  {bold(step)}")
