"""The steps of a deployment that find something out: the copy that servers start from, checks, the comparison."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment import comparison, serving_bundle
from headrace.deployment.gates.base import of_phase
from headrace.deployment.gates.evidence import Evidence, HeldOutRows
from headrace.pipelines.model_inputs import descriptions, tables
from headrace.pipelines.outputs.deploy import EvaluatedGates, StagedCopy
from headrace.training.training_set import LABEL, PART, table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from headrace.deployment.findings import GateFinding
    from headrace.jobs.run import StepContext
    from headrace.pipelines.candidate import Candidate
    from headrace.training.chain_estimator import ChainEstimator


@dataclass(frozen=True)
class GateSteps:
    """What the gates of a deployment find out about a candidate."""

    candidate: Candidate

    def copy(self) -> serving_bundle.Staged:
        """The copy that servers start from, with what MLflow's pyfunc answers on rows of the training set."""
        candidate, made = self.candidate, dict[str, serving_bundle.Staged]()

        def stage() -> serving_bundle.Staged:
            samples = self._test_rows().head(serving_bundle.SAMPLES)
            staged = serving_bundle.stage(
                candidate.tracking,
                candidate.current,
                candidate.home,
                samples=samples,
                serve=candidate.deployment.serve,
                feedback=candidate.deployment.feedback,
                origin=candidate.origin,
            )
            candidate.registry.seal_copy(candidate.version, staged.copy_hash, by=candidate.by)
            return staged

        def do(_: StepContext) -> StagedCopy:
            staged = made["copy"] = stage()
            return StagedCopy(samples=staged.samples, mismatches=staged.mismatches)

        def is_whole(_: StagedCopy) -> bool:
            folder = candidate.home / serving_bundle.folder_name(candidate.version)
            return serving_bundle.is_whole(folder, candidate.current)

        key = {**candidate.key, "serve": repr(candidate.deployment.serve)}
        if candidate.deployment.feedback is not None:
            key["feedback"] = repr(candidate.deployment.feedback)
        candidate.run.step(f"copy {candidate.name}", key, do, output=StagedCopy, holds=is_whole)
        return made.get("copy") or stage()

    def check(self, staged: serving_bundle.Staged) -> list[GateFinding]:
        """The gates that look at the version alone."""
        candidate = self.candidate
        described = descriptions(candidate.deployment.model, candidate.lakehouse)
        gates = of_phase(candidate.deployment.gates, "check")

        def do(step: StepContext) -> EvaluatedGates:
            with ExitStack() as loaded:
                chain = self._chain(loaded)
                evidence = Evidence(
                    model=candidate.deployment.model,
                    version=candidate.version,
                    plan=staged.plan,
                    descriptions=described,
                    champion=candidate.champion,
                    staged=staged,
                    answer=None if chain is None else _answers(chain),
                    instructions=() if chain is None else _instructions(chain),
                    load_held_out=self._held_out,
                )
                return _logged(step, [gate.evaluate(evidence) for gate in gates])

        key = {**candidate.key, "gates": repr(tuple(gates)), "described": described}
        return candidate.run.step(f"check {candidate.name}", key, do, output=EvaluatedGates).output.of_gates()

    def compare(self) -> list[GateFinding]:
        """The gates that look at the version beside the champion."""
        candidate = self.candidate
        model, champion, lakehouse = candidate.deployment.model, candidate.champion, candidate.lakehouse
        gates = of_phase(candidate.deployment.gates, "compare")
        if not gates:
            return []

        def do(step: StepContext) -> EvaluatedGates:
            with ExitStack() as loaded:
                challenger = loaded.enter_context(candidate.load(candidate.version))
                compared = comparison.gather(
                    lakehouse,
                    model,
                    (candidate.version, challenger),
                    (champion, loaded.enter_context(candidate.load(champion))) if champion else None,
                    as_of=candidate.as_of,
                )
            evidence = Evidence(
                model=model,
                version=candidate.version,
                plan=challenger.plan,
                descriptions=descriptions(model, lakehouse),
                champion=champion,
                compared=compared,
                must_help=champion is not None and candidate.version.alert is not None,
                load_held_out=self._held_out,
            )
            findings = [gate.evaluate(evidence) for gate in gates]
            comparison.keep(lakehouse, candidate.version, findings, id=step.key)
            return _logged(step, findings)

        key = {
            **candidate.key,
            "champion": champion.artifact_hash if champion else None,
            "gates": repr(gates),
            "inputs": {name: lakehouse.snapshot(name).content for name in tables(model)},
            "as_of": candidate.as_of.isoformat(),
        }
        return candidate.run.step(f"compare {candidate.name}", key, do, output=EvaluatedGates).output.of_gates()

    def _chain(self, loaded: ExitStack) -> ChainEstimator | None:
        """How the version answers, for as long as it is loaded; None where it has no chain."""
        candidate = self.candidate
        if candidate.deployment.model.predict is None:
            return None
        chain = loaded.enter_context(candidate.load(candidate.version)).chain
        assert chain is not None, "of such a model"
        return chain

    def _held_out(self) -> HeldOutRows:
        """The test rows of the version's training set, with what it answers to them."""
        rows = self._test_rows()
        with self.candidate.load(self.candidate.version) as loaded:
            outputs = loaded.predict(rows)
        return HeldOutRows(rows=rows.drop(columns=[LABEL, PART]), labels=rows[LABEL], outputs=outputs)

    def _test_rows(self) -> pd.DataFrame:
        candidate = self.candidate
        kept = candidate.lakehouse.snapshot(table_name(candidate.deployment.model), candidate.version.training_set)
        rows = kept.to_arrow().to_pandas()
        return rows[rows[PART] == "test"]


def _logged(step: StepContext, findings: Sequence[GateFinding]) -> EvaluatedGates:
    for finding in findings:
        step.log(f"{finding.gate}: {finding.result}: {finding.reason}")
    return EvaluatedGates(findings=[finding.to_json() for finding in findings])


def _answers(chain: ChainEstimator) -> Callable[[str, Sequence[str]], str]:
    """A question and documents → the answer."""
    first, *others = chain.chain.inputs

    def answer(question: str, documents: Sequence[str]) -> str:
        return chain.answer({first: question, **dict.fromkeys(others, "")}, planted=documents).text

    return answer


def _instructions(chain: ChainEstimator) -> tuple[str, ...]:
    """The sentences of what the system sections of its prompts say, each once."""
    prompts = chain.chain.prompts.values()
    return tuple(dict.fromkeys(sentence for each in prompts for sentence in each.system_sentences))
