"""Where the servers of an environment look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.environments.config import Environment


def home(environment: Environment, model: str | None, *, declared: Callable[[], Sequence[str]]) -> Path:
    """The folder of a model's copies; of the only model when none is named.

    A model that was never deployed has none yet: its server waits for it.

    Args:
        environment: where it is served.
        model: its name.
        declared: names of the models that the project deploys; asked only when there is no such folder.

    Raises:
        NotFoundError: there is no such model here; or none is named, and there is not exactly one.
    """
    parent = environment.root / "serving"
    known = sorted(each.name for each in parent.iterdir() if each.is_dir()) if parent.is_dir() else []
    if model is None and len(known) == 1:
        return parent / known[0]
    if model is not None and model in known:
        return parent / model
    known = sorted({*known, *declared()})
    if model is None and len(known) == 1:
        return parent / known[0]
    if model is not None and model in known:
        return parent / model
    if model is None and known:
        raise DeclarationError(
            f"{len(known)} models can be served in {environment.name}: which one?",
            hint=f"headrace serve {known[0]}, or {', '.join(known[1:])}",
        )
    raise NotFoundError(
        f"model to serve in {environment.name}," if model is None else "model to serve",
        model or "any",
        known,
        hint="A model that has an hr.Deployment can be served.",
    )
