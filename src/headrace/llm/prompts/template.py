"""A prompt's source, compiled: checked when it is declared, and rendered to messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from headrace.core.errors import DataError, DeclarationError, HeadraceError
from headrace.llm.prompts.budget import Budget
from headrace.llm.prompts.filters import FILTERS
from headrace.llm.prompts.messages import Message, Role
from headrace.llm.prompts.metering import meter
from headrace.llm.prompts.sandbox import BUDGET, TESTS, sandbox
from headrace.llm.prompts.sections import Section, split
from headrace.llm.prompts.syntax import check_syntax, names_in
from headrace.llm.prompts.values import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import jinja2
    from jinja2 import nodes

LONGEST = 100_000  # characters of a source


@dataclass(frozen=True)
class Compiled:
    """One section, ready to be rendered."""

    role: Role
    line: int
    template: jinja2.Template


@lru_cache(maxsize=256)
def compile_prompt(source: str, inputs: tuple[str, ...], instructions: tuple[str, ...]) -> tuple[Compiled, ...]:
    """The sections of a prompt, checked and compiled.

    Args:
        source: of the prompt.
        inputs: the names of the values that are put in.
        instructions: those of them that the section `system` may use.

    Raises:
        DeclarationError: the source is too long, has a mistake, uses what is not declared, or not what is. The message
            begins with `line N:` where there is one.
        MissingExtraError: Jinja is not installed.
    """
    if len(source) > LONGEST:
        raise DeclarationError(f"the prompt has {len(source):,} characters; {LONGEST:,} are possible.")
    compiled: list[Compiled] = []
    used: set[str] = set()
    for section in split(source):
        tree, names = _parsed(section)
        for name, line in names.items():
            used.add(name)
            _check_name(section, section.line + line - 1, name, inputs, instructions)
        compiled.append(Compiled(section.role, section.line, _template(tree, section)))
    if unused := [name for name in inputs if name not in used]:
        raise DeclarationError(
            f"the prompt does not use its input {unused[0]!r}.",
            hint=f"Write {{{{ {unused[0]} }}}} where it belongs, or take it out of inputs=.",
        )
    return tuple(compiled)


def render(
    sections: Sequence[Compiled], inputs: Sequence[str], values: Mapping[str, object], limit: int
) -> tuple[Message, ...]:
    """The messages: as many as the prompt has sections, with their roles, whatever the values are.

    Raises:
        DataError: a value is missing, not an input, or not possible, or the template cannot be applied to it.
        LimitError: the result has more bytes than `limit`, or rendering takes too much.
    """
    if missing := [name for name in inputs if name not in values]:
        raise DataError(f"the prompt needs {_listed(missing)}.", hint=f"Its inputs are {_listed(inputs)}.")
    if extra := [name for name in values if name not in inputs]:
        hint = f"Its inputs are {_listed(inputs)}." if inputs else "It has no inputs."
        raise DataError(f"the prompt has no input {_listed(extra)}.", hint=hint)
    budget = Budget(limit)
    context = {name: clean(values[name], name) for name in inputs} | {BUDGET: budget}
    return tuple(Message(section.role, _content(section, context, budget)) for section in sections)


def _content(section: Compiled, context: Mapping[str, object], budget: Budget) -> str:
    from jinja2 import TemplateError

    parts: list[str] = []
    try:
        for part in section.template.generate(context):
            budget.add(part)
            parts.append(part)
    except HeadraceError as error:
        line = _line(error)
        raise error.at(f"line {section.line + line - 1}") if line else error from None
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        raise DataError(f"line {section.line + (_line(error) or 1) - 1}: {error}.") from None
    return "".join(parts)


def _line(error: BaseException) -> int:
    """The line of the section where rendering stopped; 0 where it is not known."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _parsed(section: Section) -> tuple[nodes.Template, dict[str, int]]:
    """The syntax tree of a section, checked, and the names that it uses with the line of each."""
    from jinja2 import TemplateSyntaxError

    try:
        tree = sandbox().parse(section.text)
        check_syntax(tree)
        names = names_in(tree)
    except TemplateSyntaxError as error:
        raise _mistake(section, error.lineno, error.message or "it cannot be read") from None
    except DeclarationError as error:
        line, _, what = error.what.removeprefix("line ").partition(": ")
        raise DeclarationError(f"line {section.line + int(line) - 1}: {what}", hint=error.hint) from None
    except (RecursionError, ValueError, OverflowError, MemoryError):
        _too_deep(section)
    return tree, names


def _template(tree: nodes.Template, section: Section) -> jinja2.Template:
    from jinja2 import TemplateSyntaxError

    try:
        meter(tree)
        return sandbox().from_string(tree)
    except TemplateSyntaxError as error:
        raise _mistake(section, error.lineno, error.message or "it cannot be compiled") from None
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError):
        _too_deep(section)


def _mistake(section: Section, line: int, what: str) -> DeclarationError:
    hint = ""
    if what.startswith("No filter"):
        hint = f"The filters are {', '.join(FILTERS)}."
    elif what.startswith("No test"):
        hint = f"The tests are {', '.join(TESTS)}."
    return DeclarationError(f"line {section.line + line - 1}: {what.rstrip('.')}.", hint=hint)


def _too_deep(section: Section) -> NoReturn:
    raise DeclarationError(
        f"line {section.line}: the section '# {section.role}' is nested too deeply, or has a number that is too long.",
        hint="Compute the value in Python, and pass it as an input.",
    ) from None


def _check_name(section: Section, line: int, name: str, inputs: Sequence[str], instructions: Sequence[str]) -> None:
    if name not in inputs:
        raise DeclarationError(
            f"line {line}: the prompt uses {name!r}, which is not one of its inputs.",
            hint=f"Its inputs are {_listed(inputs)}." if inputs else f"Declare inputs=[{name!r}].",
        )
    if section.role == "system" and name not in instructions:
        raise DeclarationError(
            f"line {line}: the section '# system' uses the input {name!r}: what a user writes would become an instruction.",
            hint=f"Move it to '# user', or declare instructions=[{name!r}] if nobody outside can decide its value.",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
