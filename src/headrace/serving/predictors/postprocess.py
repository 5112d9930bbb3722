"""From the numbers of a model's library to the task's output, as in `training.output`, without pandas."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import UserCodeError
from headrace.serving.predictors.base import UnfitError
from headrace.training.tasks.base import HIGHEST, LOWEST
from headrace.training.tasks.known import TASKS, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.serving.predictors.base import Answer, Numbers
    from headrace.training.tasks.base import Scalar


class Postprocess:
    """The last step of a task.

    Args:
        spec: of the package.
        outputs: how many numbers a row gets from the library.

    Attributes:
        columns: of the output.
        one: the output of one row, from its numbers.
        many: of several, from rows by numbers.

    Raises:
        UnfitError: the task needs another number of them.
    """

    one: Callable[[list[float]], Answer]
    many: Callable[[Numbers], list[Answer]]

    def __init__(self, spec: Mapping[str, Any], outputs: int) -> None:
        task: str = spec["task"]
        scalar = check_fast(task)
        self._classes: list[Any] = spec["classes"]
        wanted: Mapping[Scalar, set[int]] = {
            "number": {1},
            "probability": {1, 2},
            "classes": {len(self._classes)} | ({1} if len(self._classes) == 2 else set[int]()),
        }
        if outputs not in wanted[scalar]:
            raise UnfitError(f"the library gives {outputs} numbers a row for {task}")
        self._halved = bool(self._classes) and outputs == 1  # one probability for two classes
        order: list[int] | None = spec["settings"]["order"]
        self._order = order or list(range(len(self._classes)))
        self._straight = order is None
        self.columns = tuple(resolve(task).columns(self._classes))
        stored = spec["calibration"]
        self._calibration = None if stored is None else ScalarCalibration(stored["points"], stored["rates"])
        ways: Mapping[Scalar, tuple[Callable[[list[float]], Answer], Callable[[Numbers], list[Answer]]]] = {
            "number": (self._number, self._numbers),
            "probability": (self._probability, self._probabilities),
            "classes": (self._class, self._of_classes),
        }
        self.one, self.many = ways[scalar]

    def _number(self, numbers: list[float]) -> Answer:
        if numbers[0] - numbers[0] != 0:  # NaN and the infinities
            raise _no_numbers(np.asarray(numbers))
        return numbers

    def _numbers(self, numbers: Numbers) -> list[Answer]:
        if not np.isfinite(numbers).all():
            raise _no_numbers(numbers)
        return numbers.tolist()

    def _probability(self, numbers: list[float]) -> Answer:
        value = numbers[-1]
        if not LOWEST <= value <= HIGHEST:
            raise _no_probabilities(np.asarray(numbers))
        if not self._straight:
            value = 1.0 - value if self._halved else numbers[0]
        return [value if self._calibration is None else self._calibration.one(value)]

    def _probabilities(self, numbers: Numbers) -> list[Answer]:
        _check(numbers)
        values = numbers[:, -1]
        if not self._straight:
            values = 1.0 - values if self._halved else numbers[:, 0]
        if self._calibration is not None:
            values = self._calibration.many(values)
        return [[value] for value in values.tolist()]

    def _class(self, numbers: list[float]) -> Answer:
        values = [1.0 - numbers[0], numbers[0]] if self._halved else numbers
        if not self._straight:
            values = [values[place] for place in self._order]
        highest = max(values)
        if not all(LOWEST <= value <= HIGHEST for value in values):
            raise _no_probabilities(np.asarray(numbers))
        return [self._classes[values.index(highest)], *values]

    def _of_classes(self, numbers: Numbers) -> list[Answer]:
        _check(numbers)
        if self._halved:
            numbers = np.column_stack([1.0 - numbers[:, 0], numbers[:, 0]])
        if not self._straight:
            numbers = numbers[:, self._order]
        classes = self._classes
        return [
            [classes[place], *values]
            for place, values in zip(numbers.argmax(axis=1).tolist(), numbers.tolist(), strict=True)
        ]


class ScalarCalibration:
    """The map of `training.calibration`; for a single number without the cost of an array, where the bits are the same."""

    def __init__(self, points: Sequence[float], rates: Sequence[float]) -> None:
        self._points, self._rates = np.asarray(points), np.asarray(rates)
        self._at, self._to = list(points), list(rates)
        self.one = self._line if self._same() else self._alone

    def many(self, values: Numbers) -> Numbers:
        """Of an array."""
        return np.interp(values, self._points, self._rates)

    def _alone(self, value: float) -> float:
        return float(np.interp(value, self._points, self._rates))

    def _line(self, value: float) -> float:
        """The formula of `numpy.interp`, in its order."""
        at, to = self._at, self._to
        place = bisect_right(at, value) - 1
        if place < 0:
            return to[0]
        if place >= len(at) - 1 or at[place] == value:
            return to[place]
        slope = (to[place + 1] - to[place]) / (at[place + 1] - at[place])
        return slope * (value - at[place]) + to[place]

    def _same(self) -> bool:
        """Whether the formula rounds here as NumPy was compiled to: some machines multiply and add in one step."""
        if np.any(np.diff(self._points) <= 0):
            return False
        tried = np.concatenate([self._points, np.linspace(-0.1, 1.1, 997)])
        return [self._line(value) for value in tried.tolist()] == self.many(tried).tolist()


def check_fast(task: str) -> Scalar:
    """What is made of the numbers of a task, by the name that its package keeps.

    Raises:
        UnfitError: nothing is known by that name, or it has no fast way.
    """
    scalar = TASKS[task].scalar if task in TASKS else None
    if scalar is None:
        fast = [name for name, each in TASKS.items() if each.scalar is not None]
        raise UnfitError(f"the task {task!r} has no fast way; {', '.join(fast)} have one")
    return scalar


def _check(numbers: Numbers) -> None:
    if not (numbers.min() >= LOWEST and numbers.max() <= HIGHEST):
        raise _no_probabilities(numbers)


def _no_probabilities(numbers: Numbers) -> UserCodeError:
    if not np.isfinite(numbers).all():
        return _no_numbers(numbers)
    return UserCodeError(f"the estimator gives probabilities from {numbers.min():g} to {numbers.max():g}.")


def _no_numbers(numbers: Numbers) -> UserCodeError:
    count = int((~np.isfinite(numbers)).sum())
    return UserCodeError(f"the estimator gives {count} values that are no finite numbers.")
