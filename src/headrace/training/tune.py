"""The search for parameters: seeded, one trial after the other, and repeatable from recorded values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.core.extras import need
from headrace.training.declarations import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.training.declarations import Space, Tune
    from headrace.training.metrics.base import Direction

Values = dict[str, bool | int | float | str]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of parameters, and how it was judged."""

    number: int
    params: Mapping[str, bool | int | float | str]
    value: float


@dataclass(frozen=True, kw_only=True)
class Search:
    """All trials in order; `best` is the first of the best."""

    trials: tuple[Trial, ...]
    best: Trial


def search(tune: Tune, judge: Callable[[int, Values], float], *, direction: Direction, seed: int = 0) -> Search:
    """Tries parameters, each chosen in view of the values so far.

    A trial depends only on the seed and on the values of the trials before it. A caller whose `judge` remembers values
    (a job whose steps are recorded) therefore continues exactly where it was interrupted.

    Args:
        tune: the space and the number of trials.
        judge: number and parameters of a trial → its value.
        direction: whether a high value is good.
        seed: of the sampler.

    Raises:
        MissingExtraError: optuna is not installed.
        DataError: a trial's value is not a number.
    """
    optuna = need("optuna", "train", "tuning")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.TPESampler(seed=seed))
    trials: list[Trial] = []
    for number in range(tune.trials):
        asked = study.ask()
        params = {name: _suggest(asked, name, space) for name, space in tune.space.items()}
        value = float(judge(number, params))
        if not math.isfinite(value):
            raise DataError(f"trial {number} was judged {value}, which cannot be compared.", findings=[str(params)])
        study.tell(asked, value)
        trials.append(Trial(number=number, params=params, value=value))
    best = (max if direction == "maximize" else min)(trials, key=lambda trial: trial.value)
    return Search(trials=tuple(trials), best=best)


def _suggest(asked: Any, name: str, space: Space) -> bool | int | float | str:
    if isinstance(space, Choice):
        return asked.suggest_categorical(name, list(space.values))
    if space.integer:
        return asked.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return asked.suggest_float(name, space.low, space.high, log=space.log)
