"""Feedback on answers: what people said, the rates of each version, and data sets that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DeclarationError
from headrace.operations.in_use import at_work
from headrace.operations.job import one_deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.reserved_tables import check_load

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.llm.feedback.dataset import Layout
    from headrace.llm.feedback.declarations import Feedback
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace

LATEST = 20


@dataclass(frozen=True, kw_only=True)
class FeedbackEntry(Record):
    """What one person said of one answer, in one kind.

    Attributes:
        feedback_id: the id of its row in `metrics.feedback`.
        prediction_id: the id of the answer.
        version: the number of the version that answered; None where it is not known.
        kind: `thumbs`, `score`, `correction`, `text`, `retry`, `copy` or `handover`.
        value: 1 for thumbs up and what people do, 0 for thumbs down, or the score; None for texts.
        text: the correction or the comment; None for other kinds.
        user: the pseudonym of the person; None where none was sent.
        source: `api`, `widget`, `sdk` or `simulated`.
        at: when the server took it.
        requested_at: when the answer was asked for; None where the log does not have it.
        matched: whether the log has the answer.
        late: whether it came later than the deployment declares with `within`.
    """

    feedback_id: str
    prediction_id: str
    version: int | None
    kind: str
    value: float | None
    text: str | None
    user: str | None
    source: str
    at: datetime
    requested_at: datetime | None
    matched: bool
    late: bool


@dataclass(frozen=True, kw_only=True)
class FeedbackRate(Record):
    """What people said of the answers of a version, in one kind, without what came late.

    Attributes:
        version: the number of the version; None where it is not known.
        kind: of the feedback.
        count: the number of last words: of each person on each answer.
        mean: of the values; None for texts.
        share: of thumbs: the share that is up. Of `retry`, `copy` and `handover`: the share of the answers. None for others.
        low: the lower end of the 95 % interval of the share.
        high: its upper end.
        answers: the number of answers of the version in the log.
        delay_seconds: the median time from an answer to the feedback; None where no answer is known.
        lag_seconds: the median time from the feedback to its row in the table.
    """

    version: int | None
    kind: str
    count: int
    mean: float | None
    share: float | None
    low: float | None
    high: float | None
    answers: int
    delay_seconds: float | None
    lag_seconds: float


@dataclass(frozen=True, kw_only=True)
class FeedbackSummary(Record):
    """The feedback on the answers of a model.

    Attributes:
        env: the environment.
        model: its name.
        within: how long after an answer feedback counts, as declared.
        rows: the number of last words: of each person on each answer, in each kind.
        matched: those whose answer is in the log.
        unmatched: those whose answer is not, or not yet.
        late: those that came later than `within`; no rate has them.
        simulated: those that no person gave.
        rates: by version, then by kind.
    """

    env: str
    model: str
    within: str
    rows: int
    matched: int
    unmatched: int
    late: int
    simulated: int
    rates: tuple[FeedbackRate, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetReport(Record):
    """A data set that was made of feedback.

    Attributes:
        table: its name.
        env: the environment.
        model: the name of the model.
        version: the number of the table's version that holds these examples.
        rows: the number of examples of the model.
        added: the number of those that were not there before.
        changed: the number of those whose question or reference was another one.
        removed: the number of those that feedback no longer supports.
    """

    table: str
    env: str
    model: str
    version: int
    rows: int
    added: int
    changed: int
    removed: int


@operation("feedback list", of="name")
def list_feedback(workspace: Workspace, name: str, *, limit: int = LATEST, texts: bool = False) -> list[FeedbackEntry]:
    """What people said last of the answers of a model.

    Args:
        workspace: the environment.
        name: of the model.
        limit: how many; at least 1.
        texts: comments and corrections alone.

    Raises:
        NotFoundError: the project has no deployment of such a model.
        DeclarationError: its deployment declares no feedback, or fewer than one is asked for.
    """
    if limit < 1:
        raise DeclarationError(f"{limit} rows cannot be shown.", hint=f"Ask for 1 or more; {LATEST} is the default.")
    model, declared = _declared(workspace, name)
    return [
        FeedbackEntry(
            feedback_id=row["feedback_id"],
            prediction_id=row["prediction_id"],
            version=row["model_version"],
            kind=row["kind"],
            value=row["value"],
            text=row["text"],
            user=row["user"],
            source=row["source"],
            at=row["at"],
            requested_at=row["requested_at"],
            matched=row["matched"],
            late=row["late"],
        )
        for row in reversed(_said(workspace, model, declared, limit=limit, only_texts=texts))
    ]


@operation("feedback summary")
def feedback_models(workspace: Workspace) -> tuple[str, ...]:
    """The names of the models whose deployment takes feedback, sorted."""
    from headrace.deployment.declarations import Deployment

    return tuple(sorted(each.name for each in workspace.project.all(Deployment) if each.feedback is not None))


@operation("feedback summary", of="name")
def summarize_feedback(workspace: Workspace, name: str) -> FeedbackSummary:
    """The rates of feedback for each version of a model, with intervals.

    Args:
        workspace: the environment.
        name: of the model.

    Raises:
        NotFoundError: the project has no deployment of such a model.
        DeclarationError: its deployment declares no feedback.
    """
    from headrace.monitoring import feedback

    model, declared = _declared(workspace, name)
    said = _said(workspace, model, declared)
    found = feedback.rates(said, feedback.answers_of(workspace.lakehouse, model))
    return FeedbackSummary(
        env=workspace.environment.name,
        model=model,
        within=declared.within,
        rows=len(said),
        matched=sum(row["matched"] for row in said),
        unmatched=sum(not row["matched"] for row in said),
        late=sum(row["late"] for row in said),
        simulated=sum(row["source"] == "simulated" for row in said),
        rates=tuple(
            FeedbackRate(
                version=each.version,
                kind=each.kind,
                count=each.count,
                mean=each.mean,
                share=None if each.rate is None else each.rate.value,
                low=None if each.rate is None else each.rate.low,
                high=None if each.rate is None else each.rate.high,
                answers=each.answers,
                delay_seconds=each.delay,
                lag_seconds=each.lag,
            )
            for each in found
        ),
    )


@operation("feedback to-dataset", of="name")
def feedback_to_dataset(
    workspace: Workspace, name: str, into: str, *, answers_of: int | None = None, liked: bool = False
) -> DatasetReport:
    """Makes an evaluation or tuning set of the feedback: each question with the answer that people say is right.

    Repeated, it writes a version of the table where feedback has changed, and none otherwise. The table may be the data set of a
    model with `predict=`: `hr.Evaluate(dataset="gold.examples")`.

    Args:
        workspace: the environment.
        name: of the model.
        into: the table, `schema.table`; made when it is not there.
        answers_of: a version, whose answers in the log are taken as right, one for each different question; None takes what
            people say is right.
        liked: of these, only answers with thumbs up, and nobody's thumbs down.

    Raises:
        NotFoundError: the project has no deployment of such a model, or the model no such version.
        DeclarationError: its deployment declares no feedback that makes references, or `into` is not a table name, or `liked`
            comes without `answers_of`.
        RefusedError: the project or Headrace makes this table itself.
        DataError: the table holds something else, or an input has the name of a column that every data set has.
        BusyError: something is being taken away from the environment.
    """
    from headrace.lakehouse.declarations import check_name
    from headrace.llm.feedback import dataset

    deployment = one_deployment(workspace.project, name)
    model = deployment.name
    if liked and answers_of is None:
        raise DeclarationError("liked answers of no version.", hint="Name it: --answers-of 2 --liked")
    declared = None if answers_of is not None and not liked else _declared(workspace, name)[1]
    if answers_of is None and declared is not None and not declared.references:
        raise DeclarationError(
            f"the feedback on {model} says no right answer: {', '.join(declared.takes)}.",
            hint='hr.Feedback("correction") does, and hr.Feedback("thumbs") of answers with thumbs up.',
        )
    check_name(into)
    layout = _layout(deployment.model)
    said = [] if declared is None else _said(workspace, model, declared, answers=True)
    with at_work(workspace):
        check_load(workspace, into, dataset=True)
        if answers_of is None:
            assert declared is not None, "checked above"
            given = dataset.examples(said, declared.references, model=model, layout=layout)
        else:
            workspace.registry.get(model, answers_of)
            logged = _logged(workspace, model, answers_of)
            given = dataset.answers(logged, dataset.liked(said) if liked else None, model=model, layout=layout)
        written = dataset.write(workspace.lakehouse, into, model, given, layout=layout)
    return DatasetReport(table=into, env=workspace.environment.name, model=model, **vars(written))


def _layout(model: Model) -> Layout:
    """The columns of the data sets of a model: those by which one with `predict=` is evaluated."""
    from headrace.chains.declarations import check_predict
    from headrace.llm.feedback.dataset import Layout
    from headrace.training.tasks.base import PREDICTION

    if model.predict is None:
        return Layout()
    inputs = check_predict(model.name, model.predict)
    return Layout(inputs=inputs, reference=model.task.label_columns[0], output=PREDICTION)


def _logged(workspace: Workspace, model: str, version: int) -> list[dict[str, Any]]:
    from headrace.monitoring import feedback

    found = feedback.logged(workspace.lakehouse, model, version)
    return [] if found is None else found.to_pylist()


def _declared(workspace: Workspace, name: str) -> tuple[str, Feedback]:
    deployment = one_deployment(workspace.project, name)
    if deployment.feedback is None:
        raise DeclarationError(
            f"the deployment of {deployment.name} declares no feedback.",
            hint='hr.Deployment(…, feedback=hr.Feedback("thumbs")) and headrace run deploy',
        )
    return deployment.name, deployment.feedback


def _said(
    workspace: Workspace,
    model: str,
    declared: Feedback,
    *,
    answers: bool = False,
    only_texts: bool = False,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """What was said, by its moment.

    Args:
        workspace: the environment.
        model: its name.
        declared: the feedback that is taken.
        answers: whether the texts of the questions and answers are in it.
        only_texts: comments and corrections alone.
        limit: the latest rows; None for all.
    """
    from headrace.monitoring import feedback

    texts = feedback.OF_ANSWER if answers else {}
    found = feedback.joined(workspace.lakehouse, model, within=declared.within, of_answer=texts)
    if found is None:
        return []
    if only_texts:
        found = found.filter(found["text"].is_valid())
    return found.slice(0 if limit is None else max(found.num_rows - limit, 0)).to_pylist()
