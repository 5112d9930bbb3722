"""A version of a model that answers: its prompts, its routes, and how far its judges agree with people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.operations.operation import operation
from headrace.operations.prompts import packaged_prompts
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.workspace.workspace import Workspace

LABELS = "_labels"


@dataclass(frozen=True, kw_only=True)
class JudgeReport(Record):
    """A judge against people, as it was measured when the version was trained.

    Attributes:
        judge: its name.
        labels: the number of answers that people scored.
        agreement: the share of answers that got the same score from both; None with fewer than 20 labels.
        kappa: Cohen's, with quadratic weights; None where it has no value.
        low: the lower end of its 95 % interval.
        high: its upper end.
    """

    judge: str
    labels: float | None
    agreement: float | None
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class LanguageVersion(Record):
    """What a version of a model that answers is made with, and what its evaluation is worth.

    Attributes:
        prompts: name → digest of its text; None where the package is gone or cannot be read.
        routes: name → the model behind it when the version was evaluated, and its address.
        judges: those that people were asked about, too.
    """

    prompts: Mapping[str, str] | None
    routes: Mapping[str, str]
    judges: tuple[JudgeReport, ...]


@operation("model show", of="name")
def show_language_version(workspace: Workspace, name: str, version: int) -> LanguageVersion | None:
    """What a version of a model that answers is made with; None for one that calls no language model.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number.

    Raises:
        NotFoundError: there is no such model or version.
    """
    found = workspace.registry.get(name, version)
    if not found.routes:
        return None
    try:
        prompts = {each.name: each.digest for each in packaged_prompts(workspace, found).values()}
    except HeadraceError:
        prompts = None
    metrics = found.metrics
    return LanguageVersion(
        prompts=prompts,
        routes={route: f"{behind['model']} at {behind['url']}" for route, behind in sorted(found.routes.items())},
        judges=tuple(
            JudgeReport(
                judge=judge,
                labels=metrics[each],
                agreement=metrics[f"{judge}_agreement"],
                kappa=metrics.get(f"{judge}_kappa"),
                low=metrics.get(f"{judge}_kappa_low"),
                high=metrics.get(f"{judge}_kappa_high"),
            )
            for each in metrics
            if each.endswith(LABELS) and f"{(judge := each.removesuffix(LABELS))}_agreement" in metrics
        ),
    )
