"""Tune: a search for better instructions of a model's prompts, and the version that comes of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import pandas as pd

from headrace.chains.gateways import current
from headrace.chains.pacing import PATIENCE, Pace
from headrace.chains.routes import identities
from headrace.core.errors import DeclarationError, LimitError, UnavailableError
from headrace.core.ids import digest
from headrace.environments.function_digest import function_digest
from headrace.llm.evaluation.paired import compare
from headrace.llm.evaluation.text import normalised_words
from headrace.llm.gateway.requests import CallTags, ChatRequest
from headrace.llm.tuning.records import ScoredExample
from headrace.llm.tuning.tune import tune as search
from headrace.pipelines.model_inputs import feature_plan, tables
from headrace.pipelines.outputs.tune import TunedPrompts
from headrace.pipelines.planned_step import PlannedStep
from headrace.pipelines.train_chain import outline as training_outline
from headrace.training import training_set
from headrace.training.generated import references
from headrace.training.splits.hashing import places
from headrace.training.training_set import LABEL, PART
from headrace.training.verdicts import judge_routes, with_verdicts

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime
    from pathlib import Path
    from types import FunctionType

    from headrace.chains.chain import Chain
    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.prompts.version import PromptVersion
    from headrace.llm.tuning.records import HeldOut
    from headrace.training.declarations import Model
    from headrace.training.prompt_tuning import PromptTuning

SYSTEM = "system"


def outline(model: Model) -> list[PlannedStep]:
    """What such a run does, for a dry run."""
    examples = examples_of(model)
    return [PlannedStep(step="search", reads=", ".join(tables(examples)), writes="prompts"), *training_outline(model)]


def tuning_of(model: Model) -> PromptTuning:
    """How a model's prompts are tuned.

    Raises:
        DeclarationError: it says nothing of it.
    """
    if model.prompt_tuning is None:
        raise DeclarationError(
            f"{model.where}: model {model.name!r} does not say how its prompts are tuned.",
            hint='hr.Model(…, tune=hr.PromptTuning("gold.tuning", route="large"))',
        )
    return model.prompt_tuning


def examples_of(model: Model) -> Model:
    """The model with the examples of its tuning in the place of its evaluation data."""
    return model.asked_of(tuning_of(model).dataset)


@dataclass(frozen=True)
class PromptSearch:
    """The step that searches.

    Attributes:
        project: whose code runs.
        lakehouse: the tables.
        run: of the ledger.
        model: as declared.
        chain: as declared, open.
        as_of: examples known by then count.
        folder: below which calls are kept, so that a search that died pays for none twice.
    """

    project: Project
    lakehouse: Lakehouse
    run: Run
    model: Model
    chain: Chain
    as_of: datetime
    folder: Path

    def found(self) -> TunedPrompts:
        """What the search found."""
        tuning, versions = self.tuning, self._versions
        searched = replace(tuning, dataset="")  # its tables are among the inputs

        def do(step: StepContext) -> TunedPrompts:
            learnt, held_out = self._examples()
            evaluated = self._evaluated([*learnt, *held_out])
            step.log(f"{len(learnt)} examples to learn from, {len(held_out)} held out")
            result = search(
                {name: _system(each)[1] for name, each in self.chain.prompts.items()},
                self._score,
                learnt,
                held_out,
                propose=self._propose,
                budget_calls=tuning.calls,
                budget_proposals=tuning.proposals,
                seed=tuning.seed,
                state_folder=self.folder / digest({**key, "tuning": repr(replace(searched, calls=1, proposals=1))}),
                check=self._problem,
                scored_by=digest([self._route, self._metric.name, self._metric.content]),
            )
            low, high = _interval(result.held_out, tuning.seed)
            return TunedPrompts(
                metric=self._metric.name,
                prompts={name: self._with(result.best)[name].text for name in self.chain.prompts},
                improved=result.improved,
                before=result.held_out.seed,
                after=result.held_out.best,
                low=low,
                high=high,
                examples=len(held_out),
                calls=result.calls,
                proposals=result.proposals,
                tried=len(result.trials),
                evaluated=evaluated,
                all_examples=len(learnt) + len(held_out),
            )

        key: dict[str, Json] = {
            "code": self._code,
            "model": self.model.name,
            "metric": [self._metric.name, self._metric.content],
            "accepts": self._text(self.chain.route.accept) if self.chain.route else "",
            "tuning": repr(searched),
            "inputs": cast("Json", versions),
            "prompts": {name: each.digest for name, each in self.chain.prompts.items()},
            "routes": self._routes(),
        }
        return self.run.step("search", key, do, output=TunedPrompts).output

    def prompts(self, found: TunedPrompts) -> dict[str, PromptVersion]:
        """The tuned prompts."""
        return {name: replace(self.chain.prompts[name], text=text) for name, text in found.prompts.items()}

    @property
    def _code(self) -> str:
        """What answers, by its text: a search goes on where a budget was raised, in the settings or in the declaration."""
        return self._text(self.model.predict)

    def _text(self, function: object) -> str:
        """What a function says; all of the project's code where that cannot be read."""
        if function is None:
            return ""
        try:
            return function_digest(cast("FunctionType", function))
        except (DeclarationError, AttributeError, TypeError):
            return self.project.code.tree

    @cached_property
    def tuning(self) -> PromptTuning:
        """How it is searched."""
        return tuning_of(self.model)

    @cached_property
    def _pace(self) -> Pace:
        return Pace(PATIENCE)

    @cached_property
    def _asked(self) -> Model:
        return examples_of(self.model)

    @property
    def _versions(self) -> dict[str, int]:
        return {name: self.lakehouse.snapshot(name).version for name in tables(self._asked)}

    @cached_property
    def _metric(self):  # noqa: ANN202
        return self.model.known_metrics[self.tuning.metric or self.model.metrics[0]]

    @cached_property
    def _route(self) -> str:
        used = self.chain.route.names if self.chain.route else ()
        route = self.tuning.route or (used[-1] if used else None)
        if route is None:
            raise DeclarationError(
                f"{self.model.where}: the tuning of model {self.model.name!r} has no route to the model that proposes.",
                hint='hr.PromptTuning(…, route="large")',
            )
        return route

    def _routes(self) -> dict[str, Json]:
        """The models that answer, the one that proposes, and those that judge."""
        proposing = identities(self.model.name, [self._route], current())
        reached = {**self.chain.routes, **proposing, **judge_routes(self.model)}
        return {name: {**each} for name, each in sorted(reached.items())}

    def _examples(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Those to learn from, and those that are held out by a hash of their inputs; each its inputs and its label.

        The same question is on one side alone, whoever corrected its answer, and examples that are equal count once.
        """
        rows = self._rows(self._asked)[[*self.chain.inputs, LABEL]].astype(str).drop_duplicates()
        out = places(rows[list(self.chain.inputs)], self.tuning.seed) < self.tuning.held_out
        examples = [{str(name): str(value) for name, value in row.items()} for row in rows.to_dict("records")]
        learnt = [each for each, held in zip(examples, out, strict=True) if not held]
        return learnt, [each for each, held in zip(examples, out, strict=True) if held]

    def _evaluated(self, examples: list[dict[str, str]]) -> int:
        """How many examples have the inputs of a row of the evaluation data."""
        names = list(self.chain.inputs)
        rows = self._rows(self.model)
        asked = set(rows.loc[rows[PART] == "test", names].astype(str).itertuples(index=False, name=None))
        return sum(tuple(each[name] for name in names) in asked for each in examples)

    def _rows(self, asked: Model) -> pd.DataFrame:
        """The rows that a model is asked, with their labels, as of the moment of the run."""
        plan = feature_plan(self.project, self.lakehouse, asked)
        versions = {name: self.lakehouse.snapshot(name).version for name in tables(asked)}
        return training_set.assemble(self.lakehouse, asked, plan, versions, as_of=self.as_of).rows.to_pandas()

    def _with(self, texts: Mapping[str, str]) -> dict[str, PromptVersion]:
        return {name: each.with_section(_system(each)[0], texts[name]) for name, each in self.chain.prompts.items()}

    def _problem(self, texts: Mapping[str, str]) -> str | None:
        try:
            self._with(texts)
        except DeclarationError as error:
            return error.what
        return None

    def _score(self, texts: Mapping[str, str], example: Mapping[str, object]) -> ScoredExample:
        chain = replace(self.chain, prompts=self._with(texts))
        inputs = {name: example[name] for name in chain.inputs}
        y, rows = pd.Series([example[LABEL]]), pd.DataFrame([inputs])
        judges = [each for each in self.model.judges if each.name == self._metric.name]
        with _stopping():
            answer = self._pace.call(lambda: chain.answer(inputs, current()))
            output = with_verdicts(self.model, rows, y, pd.DataFrame([answer.row()]), judges=judges)
        score = self._metric.measure(y, output)
        told = "\n".join(f"{name}: {value}" for name, value in inputs.items())
        feedback = f"{told}\nThe answer was: {answer.text}\n{self._metric.name} is {score:.2f}. {_said(answer.text, references(example[LABEL]))}"
        return ScoredExample(score, feedback, answer.text)

    def _propose(self, prompt: str) -> str:
        gateway = current()
        if gateway is None:
            raise DeclarationError(
                f"the tuning of model {self.model.name!r} needs the route {self._route!r}, and no routes are configured here.",
                hint=f"[env.dev.llm.routes.{self._route}] in headrace.toml",
            )
        request = ChatRequest([{"role": "user", "content": prompt}])
        tags = CallTags(application=self.model.name, prompt="tuning")
        with _stopping():
            return self._pace.call(lambda: gateway.complete(request, route=self._route, tags=tags)).text


def _interval(held_out: HeldOut, seed: int) -> tuple[float, float]:
    """Of the difference between the best texts and the declared ones, 95 %; of a single example just the difference."""
    if len(held_out.seed_scores) < 2:
        return held_out.best - held_out.seed, held_out.best - held_out.seed
    compared = compare(held_out.seed_scores, held_out.best_scores, seed=seed)
    return compared.low, compared.high


@contextmanager
def _stopping() -> Generator[None]:
    """A spent budget of dollars stops the search where it is: only that of calls is its regular end."""
    try:
        yield
    except LimitError as error:
        raise UnavailableError(
            error.what, hint=f"{error.hint} What was found is kept: run it again.".strip()
        ) from error


def _said(answer: str, right: list[str]) -> str:
    """What is wrong with an answer, in words, for whoever proposes another instruction."""
    if not right:
        return ""
    ours = normalised_words(answer)
    best = max(right, key=lambda each: len({*ours} & {*normalised_words(each)}))
    theirs = normalised_words(best)
    shared = len({*ours} & {*theirs})
    told = [
        f"A right answer is: {best}",
        f"Precision of its words: {shared / max(len({*ours}), 1):.2f}, recall: {shared / max(len({*theirs}), 1):.2f}.",
    ]
    if len(ours) > 1.5 * len(theirs):
        told.append(f"It is longer than the right answer: {len(ours)} words for {len(theirs)}.")
    if ours != theirs and shared == len({*theirs}):
        told.append("Its wording differs from the reference, with filler around what was asked for.")
    return " ".join(told)


def _system(prompt: PromptVersion) -> tuple[int, str]:
    """The place and the text of a prompt's instructions.

    Raises:
        DeclarationError: it has none.
    """
    for place, section in enumerate(prompt.sections):
        if section.role == SYSTEM:
            return place, section.text
    raise DeclarationError(
        f"the prompt {prompt.name!r} has no section '# system' to tune.", hint="Put its instructions there."
    )
