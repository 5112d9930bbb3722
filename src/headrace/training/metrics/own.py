"""A project's own metric."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, cast

from headrace.core.declaration import caller
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest
from headrace.environments.function_digest import function_digest
from headrace.environments.user_code import running
from headrace.training.metrics.base import Metric
from headrace.training.metrics.known import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FunctionType

    import pandas as pd

    from headrace.training.metrics.base import Direction

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def metric(
    function: Callable[[pd.Series, pd.DataFrame], float | None],
    *,
    name: str | None = None,
    tasks: Sequence[str | type],
    direction: Direction,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    two_labels: bool = False,
) -> Metric:
    """A metric of one's own: `hr.metric(cost, tasks=[hr.Binary], direction="minimize", bounds=(0, 500))`.

    It can be used wherever the name of a metric can. A model measures it if `hr.Evaluate(metrics=[…])` names it. Its confidence
    intervals come from a bootstrap of 300 draws of rows, each a call of the function.

    Args:
        function: labels (Series) and the task's output (DataFrame, same length) → a number, or None where it has no meaning
            on these rows.
        name: under which it is stored: up to 63 letters from a to z, digits and underscores, no digit first; defaults to
            the function's.
        tasks: which outputs it understands: `[hr.Binary]`, or the names of tasks.
        direction: in which it is good: `"maximize"` or `"minimize"`.
        bounds: the lowest and the highest value that it can have; a value outside of them is an error. Defaults to none.
        two_labels: whether it has a value only where two labels differ. Defaults to no.

    Returns:
        The metric; `.measure(y, output)` returns its value on some rows.

    Raises:
        DeclarationError: one of these is not possible, or the name is that of a built-in metric.

    Example:
        >>> import pandas as pd
        >>> def cost(y, output):  # euros a flight: a missed delay costs 40, a false alarm 5
        ...     late = output["probability"] > 0.5
        ...     return float((40 * (y.eq(1) & ~late) + 5 * (y.eq(0) & late)).mean())
        >>> euros = hr.metric(cost, tasks=[hr.Binary], direction="minimize", bounds=(0, 40))
        >>> euros.measure(pd.Series([1, 1, 0, 0]), pd.DataFrame({"probability": [0.9, 0.2, 0.7, 0.1]}))
        11.25
    """
    called = getattr(function, "__name__", "") if name is None else name
    of = f"{caller()}: metric({called})"
    if not callable(function):
        raise DeclarationError(f"{of}: {function!r} is not a function.", hint="def cost(y, output): return …")
    if not isinstance(called, str) or not NAME.fullmatch(called) or called in BUILT_IN:
        taken = " is built in" if called in BUILT_IN else " is not a name"
        raise DeclarationError(
            f"{of}: {called!r}{taken}.",
            hint='Write name="…": up to 63 letters from a to z, digits and underscores, no digit first.',
        )
    if not isinstance(tasks, list | tuple) or not tasks:
        raise DeclarationError(f"{of}: tasks={tasks!r} is no list of tasks.", hint="Write tasks=[hr.Binary].")
    named = tuple(getattr(task, "name", task) for task in cast("Sequence[object]", tasks))
    if not all(isinstance(each, str) and each for each in named):
        raise DeclarationError(f"{of}: tasks={tasks!r} holds something else.", hint="Write tasks=[hr.Binary].")
    if direction not in ("maximize", "minimize"):
        raise DeclarationError(f"{of}: direction={direction!r} is not possible.", hint="'maximize' or 'minimize'.")
    if not _are_bounds(bounds):
        raise DeclarationError(f"{of}: bounds={bounds!r} are not possible.", hint="Two numbers, the lower one first.")
    if not isinstance(two_labels, bool):
        raise DeclarationError(f"{of}: two_labels={two_labels!r} is not possible.", hint="Write True or False.")

    def value(y: pd.Series, output: pd.DataFrame) -> float | None:
        with running(f"metric {called!r}"):
            return function(y, output)

    return Metric(
        name=called,
        tasks=cast("tuple[str, ...]", named),
        direction=direction,
        bounds=(float(bounds[0]), float(bounds[1])),
        value=value,
        two_labels=two_labels,
        content=digest(f"{_source(function)}\n{bounds}\n{two_labels}"),
    )


def _are_bounds(bounds: object) -> bool:
    if not isinstance(bounds, list | tuple):
        return False
    given = cast("Sequence[object]", bounds)
    numbers = [each for each in given if isinstance(each, int | float) and not isinstance(each, bool)]
    return len(given) == len(numbers) == 2 and numbers[0] < numbers[1]


def _source(function: object) -> str:
    """What the function says, with the helpers and values of its project that it refers to; its name where that cannot be read."""
    try:
        return function_digest(cast("FunctionType", function))
    except (DeclarationError, AttributeError, TypeError):
        return getattr(function, "__qualname__", repr(type(function)))
