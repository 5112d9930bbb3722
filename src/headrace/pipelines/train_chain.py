"""Train, for a model that answers by itself: its chain is packaged, answers the evaluation data, and is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from headrace.chains.answer_trace import ENVIRONMENT, ORIGIN, VERSION
from headrace.chains.gateways import current
from headrace.chains.opening import open_chain
from headrace.chains.pacing import PATIENCE, Pace
from headrace.core.clock import now
from headrace.pipelines.answer_traces import trace_answers
from headrace.pipelines.endpoint_notes import endpoint_notes
from headrace.pipelines.judge_calibration import calibrated
from headrace.pipelines.model_inputs import modules, origin
from headrace.pipelines.outputs.train import AnsweredRows, HeldOutMetrics, JudgeAgreement, LoggedModel, WrittenTraces
from headrace.pipelines.paid_work import journal_of, remove_journal
from headrace.pipelines.planned_step import PlannedStep
from headrace.pipelines.train import Training
from headrace.scoring.version import load
from headrace.training import evaluated_answers, evaluation
from headrace.training.chain_estimator import ChainEstimator
from headrace.training.fit_and_log import HASH
from headrace.training.generated import CALLS
from headrace.training.package_and_log import package_and_log
from headrace.training.package_content import answering_digest
from headrace.training.training_set import table_name
from headrace.training.verdicts import judge_routes, with_verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.chains.chain import Chain
    from headrace.core.ids import Json
    from headrace.jobs.run import StepContext
    from headrace.llm.evaluation.judge import Judge
    from headrace.llm.prompts.version import PromptVersion
    from headrace.scoring.version import LoadedVersion
    from headrace.training.declarations import Model

AT_ONCE = 20  # rows that are answered in one step


def outline(model: Model) -> list[PlannedStep]:
    """What such a run does, for a dry run."""
    made = table_name(model)
    return [
        PlannedStep(step="training set", reads=model.decisions.table.name, writes=made),
        PlannedStep(step="package", reads=made, writes="an MLflow run"),
        *(PlannedStep(step=f"calibrate {judge.name}", reads=judge.labels) for judge in model.judges if judge.labels),
        PlannedStep(step="answers", reads=made),
        PlannedStep(step="evaluate", reads=made, writes=f"{evaluation.TABLE}, {evaluated_answers.TABLE}"),
        PlannedStep(step="register", writes=f"a version of {model.name}, stage None"),
        PlannedStep(step="traces", reads="answers", writes="MLflow traces"),
    ]


@dataclass(frozen=True)
class ChainTraining(Training):
    """The steps of such a run.

    Attributes:
        cache: the folder of opened indexes.
        paid: the folder of journals: answers and verdicts are kept as they come, so that a run that dies, or one row that
            fails, pays for no other again.
        prompts: prompt → the version to take in place of the declared one: a tuned one.
        notes: more that is kept with the MLflow run, by name.
    """

    cache: Path = field(kw_only=True)
    paid: Path = field(kw_only=True)
    prompts: Mapping[str, PromptVersion] = field(default_factory=dict[str, "PromptVersion"], kw_only=True)
    notes: Mapping[str, Json] = field(default_factory=dict[str, "Json"], kw_only=True)
    _answered: list[pd.DataFrame] = field(default_factory=list[pd.DataFrame], init=False, repr=False)
    _paid_work: list[dict[str, Json]] = field(default_factory=list["dict[str, Json]"], init=False, repr=False)

    def train(self) -> int:
        """Packages, evaluates and registers one version; gives its number."""
        _ = self._judging  # a judge without a route is told before answers are paid for
        return self.finish(self.package())

    def finish(self, logged: LoggedModel) -> int:
        """Evaluates and registers what was logged, with a trace of each answer; gives the number of the version."""
        number = super().finish(logged)
        self.trace(logged, number)
        for work in (*self._paid_work, self._judging):
            remove_journal(self.paid, work)
        return number

    @cached_property
    def chain(self) -> Chain:
        """The chain as it is packaged: with the indexes as they are when the run begins."""
        assert self.model.predict is not None, "of such a model alone"
        return open_chain(
            self.model.name,
            self.model.predict,
            self.model.uses,
            self.lakehouse,
            cache=self.cache,
            versions=self.versions,
            replaced=self.prompts,
        )

    @property
    def _uses(self) -> dict[str, Json]:
        """What an answer depends on beside the code and the data: prompts, and the models behind the routes."""
        return {
            "prompts": {name: each.digest for name, each in self.chain.prompts.items()},
            "routes": {name: {**each} for name, each in self.routes.items()},
        }

    @property
    def routes(self) -> Mapping[str, Mapping[str, str]]:
        """The language models that its answers depend on."""
        return self.chain.routes

    def package(self) -> LoggedModel:
        """The package on an MLflow run."""

        def do(step: StepContext) -> LoggedModel:
            with self.tracking.open_run(
                self.model.name,
                step.key,
                name=f"{self.model.name} as of {self.as_of:%Y-%m-%d}",
                tags=self.tags(),
                holds=lambda run: self.stands(run.model_uri or "", run.summary.tags[HASH]),
            ) as tracked:
                tracked.log_inputs(self._datasets())
                logged = package_and_log(
                    tracked,
                    self.model,
                    self.data,
                    ChainEstimator(self.chain, self.model.uses),
                    origin=origin(self.project),
                    by_value=modules(self.project),
                    notes={"training_set": self.made.to_json(), **self._uses, **self.notes},
                )
            return LoggedModel(
                run_id=logged.run_id,
                model_uri=logged.model_uri,
                artifact_hash=logged.artifact_hash,
                logged_hash=self.tracking.digest(logged.model_uri),
                params={},
                searched=(),
            )

        key: dict[str, Json] = {**self._on_set, **self._uses, "notes": dict(self.notes)}
        return self.run.step("package", key, do, output=LoggedModel, holds=self.is_logged).output

    def evaluate(self, logged: LoggedModel) -> Mapping[str, float | None]:
        """What was logged, loaded back: its answers to the evaluation data, some rows a step, and what they are worth.

        The agreement of judges with people is among the metrics.
        """
        agreement: dict[str, float | None] = {}
        for each in self.calibrate():
            agreement.update(each.metrics)
        rows, answers = self._questions, self.answers(logged)

        def do(step: StepContext) -> HeldOutMetrics:
            with journal_of(self.paid, self._judging) as journal:
                output = with_verdicts(self.model, rows, self.data.y.loc[rows.index], answers, journal=journal)
            measured = evaluation.judge(
                self.lakehouse, self.model, self.data, lambda _: output, id=step.key, run_id=logged.run_id
            )
            metrics = {**measured, **{name: agreement[name] for name in agreement if name not in measured}}
            evaluated_answers.keep(
                self.lakehouse,
                self.model,
                rows,
                self.data.y.loc[rows.index],
                output,
                inputs=self.chain.inputs,
                id=step.key,
                run_id=logged.run_id,
            )
            self.tracking.log_metrics(logged.run_id, metrics)
            return HeldOutMetrics(metrics=metrics)

        key: dict[str, Json] = {
            **self._on_set,
            **self._uses,
            **self._judging,
            "run": logged.run_id,
            "metrics": list(self.model.metrics),
            "agreement": {**agreement},
        }
        return self.run.step("evaluate", key, do, output=HeldOutMetrics).output.metrics

    def calibrate(self) -> list[JudgeAgreement]:
        """How far each judge with labels of people agrees with them."""
        return [self._calibrated(judge, judge.labels) for judge in self.model.judges if judge.labels]

    def _calibrated(self, judge: Judge, table: str) -> JudgeAgreement:
        labels = self.lakehouse.snapshot(table)

        def do(_: StepContext) -> JudgeAgreement:
            with journal_of(self.paid, self._judging) as journal:
                return calibrated(self.model, judge, labels, journal=journal)

        key: dict[str, Json] = {
            "judge": judge.content,
            "routes": self._judging["judge_routes"],
            "labels": [table, labels.version, labels.content],
        }
        return self.run.step(f"calibrate {judge.name}", key, do, output=JudgeAgreement).output

    @cached_property
    def _judging(self) -> dict[str, Json]:
        """What verdicts depend on beside the answers."""
        asked: dict[str, Json] = {name: {**each} for name, each in judge_routes(self.model).items()}
        return {"judges": [each.content for each in self.model.judges], "judge_routes": asked}

    def answers(self, logged: LoggedModel) -> pd.DataFrame:
        """The answers of what was logged, loaded back, to the evaluation data: some rows a step."""
        if not self._answered:
            rows = self._questions
            with (
                load(
                    self.tracking, logged.model_uri, model=self.model.name, number=0, artifact_hash=logged.artifact_hash
                ) as version,
                journal_of(self.paid, self._begin_paid_work(version)) as journal,
            ):
                assert version.chain is not None, "it was packaged"
                version.chain.texts, version.chain.pace, version.chain.journal = True, Pace(PATIENCE), journal
                parts = [
                    self._answers(version, logged, rows.iloc[place : place + AT_ONCE], place // AT_ONCE + 1)
                    for place in range(0, len(rows), AT_ONCE)
                ]
            made = pd.concat([pd.DataFrame(part.rows, columns=list(part.columns)) for part in parts])
            self._answered.append(made.set_axis(rows.index))
        return self._answered[0]

    def trace(self, logged: LoggedModel, number: int) -> None:
        """Each answer to the evaluation data as a trace of the MLflow run."""

        def do(_: StepContext) -> WrittenTraces:
            answers = self.answers(logged)
            count = trace_answers(
                self.tracking,
                self.model.name,
                self._questions[list(self.chain.inputs)],
                answers,
                keys=[f"{logged.run_id}/{place}" for place in range(len(answers))],
                ended=[now()] * len(answers),
                tags={VERSION: str(number), ENVIRONMENT: self.lakehouse.env, ORIGIN: "evaluation"},
                run_id=logged.run_id,
            )
            return WrittenTraces(traces=count)

        self.run.step("traces", {"run": logged.run_id, "version": number}, do, output=WrittenTraces)

    @cached_property
    def _questions(self) -> pd.DataFrame:
        """The rows of the evaluation data."""
        return self.data.rows.loc[self.data.part("test")]

    def _begin_paid_work(self, version: LoadedVersion) -> dict[str, Json]:
        """What an answer depends on beside its question; noted, so that its journal goes when the version is registered.

        It is neither the run nor the program's settings: whoever raises a budget there goes on with the answers that are kept.
        """
        assert version.folder is not None, "it was logged"
        gateway = current()
        limits: dict[str, Json] = {name: gateway.token_limit(name) for name in self.routes} if gateway else {}
        work: dict[str, Json] = {"package": answering_digest(version.folder), "token_limits": limits}
        self._paid_work.append(work)
        return work

    def _answers(self, version: LoadedVersion, logged: LoggedModel, rows: pd.DataFrame, number: int) -> AnsweredRows:
        def do(_: StepContext) -> AnsweredRows:
            made = version.predict(rows)
            return AnsweredRows(
                columns=list(made.columns),
                rows=made.astype(object).to_numpy().tolist(),
                notes=endpoint_notes(made[CALLS], self.chain.route.names if self.chain.route else ()),
            )

        key: dict[str, Json] = {**self._on_set, **self._uses, "run": logged.run_id, "number": number}
        return self.run.step(f"answers {number}", key, do, output=AnsweredRows).output
