"""Jinja with nothing in it but what a prompt needs: no loader, no attributes of objects, no growth out of nothing."""

from __future__ import annotations

from functools import cache, wraps
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import DataError, MissingExtraError
from headrace.llm.prompts.budget import MOST_STEPS, Budget
from headrace.llm.prompts.filters import FILTERS, shown, size
from headrace.llm.prompts.metering import STEPS, WEIGH
from headrace.llm.prompts.syntax import CALLABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment
    from jinja2.runtime import Context

BUDGET = "_budget"  # no template can name them: names with an underscore are refused
TESTS = ("defined", "undefined", "none", "string", "number", "mapping", "sequence", "odd", "even", "divisibleby", "true", "false")  # fmt: skip
BIGGEST = 10**15  # of numbers computed in a prompt


@cache
def sandbox() -> Environment:
    """The environment in which prompts are compiled and rendered.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    try:
        from jinja2 import StrictUndefined, pass_context
        from jinja2.runtime import LoopContext
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "jinja2", "llm", "A prompt") from None

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%"))

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            for side in (left, right):
                if not isinstance(side, int | float):
                    bool(side)  # an undefined value raises, and says its name
                    raise DataError(f"{operator!r} of {side!r:.60}: only numbers are computed with in a prompt.",
                                    hint="Write texts one after the other, or use the filter join.")  # fmt: skip
            if operator in ("/", "//", "%") and right == 0:
                raise DataError("a division by zero.")
            result: float = super().call_binop(context, operator, left, right)
            if abs(result) > BIGGEST:
                raise DataError(f"a result of {operator!r} is larger than {BIGGEST:,}.")
            return result

        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, dict):
                if attribute in obj:
                    return obj[attribute]  # pyright: ignore[reportUnknownVariableType]
                return getattr(obj, attribute) if attribute in CALLABLE else self.undefined(obj=obj, name=attribute)
            if isinstance(obj, LoopContext):
                return super().getattr(obj, attribute)
            bool(obj)  # an undefined value raises, and says its name
            return self.undefined(obj=obj, name=attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            bool(obj)
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return self.undefined(obj=obj, name=argument)

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        @pass_context
        @wraps(function)
        def apply(context: Context, value: object, *arguments: object, **named: object) -> object:
            budget: Budget = context[BUDGET]
            budget.work(size(value) + sum(map(size, arguments)))
            return function(budget, value, *arguments, **named)

        return apply

    @pass_context
    def steps(context: Context, items: Any, inside: int) -> object:
        budget: Budget = context[BUDGET]
        return budget.steps(items, inside)

    @pass_context
    def weigh(context: Context, value: object) -> object:
        budget: Budget = context[BUDGET]
        budget.work(size(value))
        return value

    @pass_context
    def finalize(_context: Context, value: object) -> str:  # with a context: nothing is computed when it is compiled
        return shown(value)

    environment = Sandbox(
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=finalize,
        optimized=False,
        loader=None,
        cache_size=0,
    )
    names, filters, tests = cast(
        "tuple[dict[str, Any], ...]", (environment.globals, environment.filters, environment.tests)
    )
    names.clear()
    names["range"] = _range
    filters.clear()
    filters.update({name: counted(function) for name, function in FILTERS.items()} | {STEPS: steps, WEIGH: weigh})
    for name in set(tests) - set(TESTS):
        del tests[name]
    return environment


def _range(*bounds: int) -> range:
    """`range`, with as many items as loops may have steps.

    Raises:
        DataError: it has more, or a bound is no whole number.
    """
    if not 1 <= len(bounds) <= 3 or not all(isinstance(bound, int) for bound in bounds) or bounds[2:] == (0,):
        raise DataError("range(…) needs one to three whole numbers, and a step other than 0.")
    made = range(*bounds)
    if (made.stop - made.start) // made.step > MOST_STEPS:
        raise DataError(f"range{bounds} has more than {MOST_STEPS:,} items.")
    return made
