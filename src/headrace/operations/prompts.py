"""Prompts: their texts, the model versions that carry each, what these were worth, and what calls with them did cost."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError, HeadraceError, NotFoundError
from headrace.operations.language_models import generation_models
from headrace.operations.llm import llm_cost
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.llm.prompts.version import PromptVersion
    from headrace.operations.llm import CostRow
    from headrace.registry.records import Stage, Version
    from headrace.workspace.workspace import Workspace

LATEST = 20  # versions of a model that are looked at, and those that have a stage
KEPT = 1_000  # packages whose prompts this process remembers
SHORT = 8  # characters of a digest that name a text
LOG = logging.getLogger(__name__)
_packages: dict[tuple[str, str], Mapping[str, PromptVersion]] = {}  # a package never changes


@dataclass(frozen=True, kw_only=True)
class PromptUse(Record):
    """A version of a model that carries a text of a prompt.

    Attributes:
        model: its name.
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        created: when it was registered.
        metrics: metric → its value on the test questions.
    """

    model: str
    version: int
    stage: Stage
    created: datetime
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class PromptText(Record):
    """One text of a prompt.

    Attributes:
        digest: of the text and its inputs: 32 hexadecimal characters.
        text: the template.
        inputs: the names of the values that are put in.
        instructions: those of them that the section `system` may use.
        declared: whether the project has this text now.
        used_by: the versions of models that carry it, the newest first.
        calls: of language models with it, those of evaluations among them.
        cost_per_thousand_dollars: what a thousand of these did cost; None where there was none.
        latency_p95_ms: 95 % of them took no longer; None where no single call is stored any more.
    """

    digest: str
    text: str = field(repr=False)
    inputs: tuple[str, ...]
    instructions: tuple[str, ...]
    declared: bool
    used_by: tuple[PromptUse, ...]
    calls: int
    cost_per_thousand_dollars: float | None
    latency_p95_ms: float | None


@dataclass(frozen=True, kw_only=True)
class PromptReport(Record):
    """A prompt with its texts.

    Attributes:
        name: of the prompt.
        texts: the newest first: by the version that carried each last; one that no version carries yet is the first.
    """

    name: str
    texts: tuple[PromptText, ...]


@dataclass(frozen=True, kw_only=True)
class PromptList(Record):
    """The prompts of an environment.

    Attributes:
        env: the environment.
        prompts: by name.
        unreadable: versions whose package is gone or cannot be read, `assistant/3`: their prompts are not known.
        versions_each: how many of the newest versions of a model are looked at, besides those in Production and Staging.
    """

    env: str
    prompts: tuple[PromptReport, ...]
    unreadable: tuple[str, ...]
    versions_each: int


@dataclass(frozen=True, kw_only=True)
class PromptDifference(Record):
    """What differs between two texts of a prompt.

    Attributes:
        name: of the prompt.
        a: the digest of the earlier text.
        b: the digest of the later one.
        diff: a unified diff; empty where both are the same.
        sections: those that differ: `system`, `user`.
        inputs: the names that only one of the two has.
    """

    name: str
    a: str
    b: str
    diff: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...]


@operation("model show")
def list_prompts(workspace: Workspace) -> PromptList:
    """Every prompt that a version of a model carries, or that the project declares."""
    texts: dict[tuple[str, str], PromptVersion] = {}
    uses: dict[tuple[str, str], list[PromptUse]] = {}
    unreadable: list[str] = []
    for version in _looked_at(workspace):
        try:
            packaged = packaged_prompts(workspace, version)
        except HeadraceError as error:
            LOG.warning("the prompts of %s cannot be read: %s", version.name, error.what)
            unreadable.append(version.name)
            continue
        for each in packaged.values():
            texts.setdefault((each.name, each.digest), each)
            uses.setdefault((each.name, each.digest), []).append(_use(version))
    declared = _declared(workspace)
    for name, each in declared.items():
        texts.setdefault((name, each.digest), each)
    costs = {
        (str(row.by["prompt"]), str(row.by["prompt_version"])): row
        for row in llm_cost(workspace, by=("prompt", "prompt_version")).rows
    }
    found: dict[str, list[PromptText]] = {}
    for (name, digest), each in texts.items():
        now = name in declared and declared[name].digest == digest
        found.setdefault(name, []).append(_text(each, now, uses.get((name, digest), []), costs.get((name, digest))))
    return PromptList(
        env=workspace.environment.name,
        prompts=tuple(
            PromptReport(name=name, texts=tuple(sorted(several, key=_age, reverse=True)))
            for name, several in sorted(found.items())
        ),
        unreadable=tuple(unreadable),
        versions_each=LATEST,
    )


@operation("model show", of="name")
def show_prompt(workspace: Workspace, name: str) -> PromptReport:
    """One prompt with its texts.

    Raises:
        NotFoundError: neither the project nor a version of a model has such a prompt.
    """
    prompts = {each.name: each for each in list_prompts(workspace).prompts}
    if name not in prompts:
        raise NotFoundError("prompt", name, prompts, hint='Declare one: hr.Prompt("answer", file="answer.md", …).')
    return prompts[name]


@operation("model compare", of="name")
def compare_prompt_texts(workspace: Workspace, name: str, a: str, b: str) -> PromptDifference:
    """What differs between two texts of a prompt.

    Args:
        workspace: the environment.
        name: of the prompt.
        a: the digest of the earlier text, or its first eight characters or more.
        b: the same of the later one.

    Raises:
        NotFoundError: there is no such prompt, or no text of it with such a digest.
        DeclarationError: a beginning of a digest is that of several texts.
    """
    from headrace.llm.prompts.version import PromptVersion, diff

    report = show_prompt(workspace, name)
    before, after = (
        PromptVersion(name, text=each.text, inputs=each.inputs, instructions=each.instructions)
        for each in (_of(report, a), _of(report, b))
    )
    found = diff(before, after)
    return PromptDifference(
        name=name, a=before.digest, b=after.digest, diff=found.text, sections=found.sections, inputs=found.inputs
    )


def packaged_prompts(workspace: Workspace, version: Version) -> Mapping[str, PromptVersion]:
    """The prompts of a version of a model that answers, by name. No code of it is loaded, and a package is read once.

    Raises:
        DataError: the package is gone or cannot be read.
    """
    from headrace.llm.prompts.version import load

    key = (version.model_uri, version.logged_hash)
    read = _packages.get(key)
    if read is None:
        with workspace.tracking.logged_folder(version.model_uri) as folder:
            read = load(folder / "estimator")
        if len(_packages) >= KEPT:
            _packages.clear()
        _packages[key] = read
    return read


def _looked_at(workspace: Workspace) -> list[Version]:
    """The newest versions of each model that answers, and those that have a stage, the newest first."""
    models = generation_models(workspace)
    of_model: dict[str, list[Version]] = {}
    for each in workspace.registry.versions():
        if each.model in models:
            of_model.setdefault(each.model, []).append(each)
    chosen = [
        each
        for several in of_model.values()
        for each in several
        if each in several[-LATEST:] or each.stage in ("Production", "Staging")
    ]
    return sorted(chosen, key=lambda each: (each.created, each.version), reverse=True)


def _declared(workspace: Workspace) -> dict[str, PromptVersion]:
    """The prompts of the project; none where its program is broken: those of versions show all the same."""
    from headrace.llm.prompts.declarations import Prompt

    with suppress(HeadraceError):
        return {each.name: each.version for each in workspace.project.all(Prompt)}
    return {}


def _use(version: Version) -> PromptUse:
    return PromptUse(
        model=version.model,
        version=version.version,
        stage=version.stage,
        created=version.created,
        metrics=version.metrics,
    )


def _text(version: PromptVersion, now: bool, uses: list[PromptUse], cost: CostRow | None) -> PromptText:
    return PromptText(
        digest=version.digest,
        text=version.text,
        inputs=tuple(version.inputs),
        instructions=tuple(version.instructions),
        declared=now,
        used_by=tuple(uses),
        calls=0 if cost is None else cost.calls,
        cost_per_thousand_dollars=None if cost is None else 1_000 * cost.cost_dollars / cost.calls,
        latency_p95_ms=None if cost is None else cost.latency_p95_ms,
    )


def _age(text: PromptText) -> tuple[bool, str, bool]:
    """What no version carries yet is the newest."""
    return (not text.used_by, text.used_by[0].created.isoformat() if text.used_by else "", text.declared)


def _of(report: PromptReport, beginning: str) -> PromptText:
    found = [each for each in report.texts if each.digest.startswith(beginning)] if len(beginning) >= SHORT else []
    if len(found) > 1:
        raise DeclarationError(
            f"{beginning!r} is the beginning of {len(found)} texts of {report.name}.", hint="Give more of the digest."
        )
    if not found:
        raise NotFoundError(
            f"text of the prompt {report.name}", beginning, [each.digest[:SHORT] for each in report.texts]
        )
    return found[0]
