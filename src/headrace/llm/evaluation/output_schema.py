"""Answers as JSON by a JSON Schema (Draft 2020-12).

Answers are written by a model and are hostile: their size and depth have limits, a name twice in an object and NaN are no
JSON, and patterns are matched by RE2 (which pyarrow brings), whose time is linear in the text. RE2 has no lookaround and
no back-references; a schema that uses them is refused when it is declared. The schema is the project's own: it may refer
to its own parts (`#/$defs/…`) and to nothing else, so no check reads from the network. `format` is not checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from headrace.core.declaration import check_whole
from headrace.core.errors import DeclarationError, MissingExtraError
from headrace.llm.evaluation.values import is_missing, mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.llm.evaluation.values import Floats

DRAFT = "https://json-schema.org/draft/2020-12/schema"
REFERENCES = ("$ref", "$dynamicRef")
LARGEST_SCHEMA = 100_000  # characters
DEEPEST = 64  # of a schema and of an answer
ERRORS = 3  # of one answer
FINDINGS = 100  # of a report
HINT = "Write a schema of Draft 2020-12 as a dictionary, with references to its own #/$defs alone."


@dataclass(frozen=True, kw_only=True)
class SchemaFinding:
    """What is wrong with an answer.

    Attributes:
        row: of the answer.
        path: where in it, `$.items[2].price`; `$` for the whole.
        message: what is wrong there.
    """

    row: int
    path: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SchemaReport:
    """What came of a check.

    Attributes:
        total: answers.
        valid: those that keep to the schema.
        values: 1 for each answer that does, 0 for each other one.
        findings: the first three errors of an answer, at most 100 of all.
    """

    total: int
    valid: int
    values: Floats
    findings: tuple[SchemaFinding, ...]

    @property
    def share(self) -> float | None:
        """The share of valid answers; None without answers."""
        return mean(self.values)


@dataclass(frozen=True, kw_only=True)
class OutputSchema:
    """What answers have to be.

    Attributes:
        schema: of Draft 2020-12.
        largest: characters of an answer, beyond which it is not valid. Defaults to 200,000.
    """

    schema: Mapping[str, Any]
    largest: int = 200_000

    def __post_init__(self) -> None:
        """Raises DeclarationError for a schema that is none, or refers to something outside; MissingExtraError."""
        check_whole("OutputSchema", 1, 10_000_000, largest=self.largest)
        _validator(_text(self.schema))

    def check(self, answers: Sequence[object]) -> SchemaReport:
        """Holds answers against the schema.

        Args:
            answers: texts of JSON; what is missing or no text is not valid.
        """
        import numpy as np

        validator = _validator(_text(self.schema))
        values = np.ones(len(answers))
        findings: list[SchemaFinding] = []
        for row, answer in enumerate(answers):
            wrong = _errors(validator, answer, self.largest)
            if wrong:
                values[row] = 0
                findings += [SchemaFinding(row=row, path=path, message=message) for path, message in wrong]
                findings = findings[:FINDINGS]
        return SchemaReport(total=len(answers), valid=int(values.sum()), values=values, findings=tuple(findings))


def _text(schema: object) -> str:
    """The schema as JSON, in its own order.

    Raises:
        DeclarationError: it is no JSON object, or too large.
    """
    if not isinstance(schema, Mapping):
        raise DeclarationError(f"OutputSchema(schema={shown(schema)}) is no dictionary.", hint=HINT)
    try:
        text = json.dumps(dict(cast("Mapping[str, object]", schema)), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DeclarationError(f"OutputSchema(schema={shown(schema)}) is no JSON: {error}", hint=HINT) from None
    if len(text) > LARGEST_SCHEMA:
        raise DeclarationError(f"the schema has {len(text):,} characters, more than {LARGEST_SCHEMA:,}.", hint=HINT)
    return text


@lru_cache(maxsize=64)
def _validator(text: str) -> Any:
    try:
        from jsonschema import Draft202012Validator, SchemaError, validators
        from referencing import Registry
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "jsonschema", "llm", "A schema of answers") from None
    schema = json.loads(text)
    if _depth(schema) > DEEPEST:
        raise DeclarationError(f"the schema is deeper than {DEEPEST} levels.", hint=HINT)
    _refuse_outside(schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = error.json_path
        raise DeclarationError(f"the schema is not possible at {path}: {error.message[:300]}", hint=HINT) from None
    kind = validators.extend(
        Draft202012Validator,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            "uniqueItems": _unique_items,
        },
    )
    validator = kind(schema, registry=Registry())  # an empty registry retrieves nothing
    for probe in (None, "", 0, [], {}):  # a reference that leads nowhere, or in a circle, shows on any value
        try:
            next(iter(validator.iter_errors(probe)), None)
        except RecursionError:
            raise DeclarationError("the schema refers to itself in a circle.", hint=HINT) from None
    return validator


def _refuse_outside(schema: object) -> None:
    """Raises DeclarationError for references out of the schema, names of other drafts, and patterns that RE2 has not."""
    for node in _nodes(schema):
        if not isinstance(node, dict):
            continue
        for key in REFERENCES:
            if isinstance(node.get(key), str):
                _need_own(schema, key, node[key])
        draft = node.get("$schema", DRAFT)
        if isinstance(draft, str) and draft.rstrip("#") != DRAFT:
            raise DeclarationError(f'the schema is of "$schema": {shown(draft)}.', hint=HINT)
        if isinstance(node.get("$id"), str) and node is not schema:
            raise DeclarationError(f'a part of the schema has an "$id": {shown(node["$id"])}.', hint=HINT)
        if "unevaluatedProperties" in node and "patternProperties" in str(schema):
            raise DeclarationError(
                "the schema has unevaluatedProperties beside patternProperties.", hint="Write additionalProperties."
            )
        patterns = node.get("patternProperties")
        texts = [*patterns] if isinstance(patterns, dict) else []
        texts += [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        for pattern in texts:
            _need_pattern(pattern)


def _need_own(schema: object, key: str, reference: str) -> None:
    if not reference.startswith("#"):
        raise DeclarationError(f'the schema refers to something else: "{key}": {shown(reference)}.', hint=HINT)
    node = schema
    if reference[1:].startswith("/"):
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            elif isinstance(node, dict) and name in node:
                node = node[name]
            else:
                raise DeclarationError(f'"{key}": {shown(reference)} leads nowhere in the schema.', hint=HINT)
    elif reference != "#" and not any(
        isinstance(each, dict) and reference[1:] in (each.get("$anchor"), each.get("$dynamicAnchor"))
        for each in _nodes(schema)
    ):
        raise DeclarationError(f'"{key}": {shown(reference)} leads nowhere in the schema.', hint=HINT)


def _need_pattern(pattern: str) -> None:
    import pyarrow as pa

    try:
        _matches(pattern, "")
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise DeclarationError(
            f"the pattern {shown(pattern)} of the schema is not possible: {str(error)[:200]}",
            hint="Patterns are those of RE2: no lookaround, no back-references.",
        ) from None


def _matches(pattern: str, text: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    cell = pa.scalar(text.encode("utf-8", "replace").decode())
    return bool(cast("Any", pc).match_substring_regex(cell, pattern=pattern).as_py())


def _pattern(_: Any, pattern: str, instance: object, __: object) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{shown(instance)} does not match {shown(pattern)}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], instance: object, _: object) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for key, value in instance.items():
                if _matches(pattern, key):
                    yield from validator.descend(value, part, path=key, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: object, schema: dict[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    declared, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [key for key in instance if key not in declared and not any(_matches(each, key) for each in patterns)]
    if isinstance(rule, dict):
        for key in more:
            yield from validator.descend(instance[key], rule, path=key)
    elif not rule and more:
        yield ValidationError(f"it has other names than those declared: {', '.join(map(shown, more[:5]))}")


def _unique_items(_: Any, unique: object, instance: object, __: object) -> Iterator[Any]:
    from jsonschema import ValidationError

    if unique and isinstance(instance, list) and len({_comparable(each) for each in instance}) < len(instance):
        yield ValidationError("it has equal items")


def _comparable(value: Any) -> object:
    """Equal for what JSON Schema calls equal: 1 and 1.0, but not 1 and true."""
    if isinstance(value, list):
        return ("list", *map(_comparable, value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, _comparable(each)) for key, each in value.items()))
    return ("bool", value) if isinstance(value, bool) else ("plain", value)


def _errors(validator: Any, answer: object, largest: int) -> list[tuple[str, str]]:
    if not isinstance(answer, str):
        return [("$", "there is no answer" if is_missing(answer) else "it is no text")]
    if len(answer) > largest:
        return [("$", f"it has {len(answer):,} characters, more than {largest:,}")]
    try:
        value = json.loads(answer, object_pairs_hook=_object, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return [("$", f"it is no JSON: {error.msg} at character {error.pos:,}")]
    except ValueError as error:
        return [("$", f"it is no JSON: {str(error)[:200]}")]
    except RecursionError:
        return [("$", f"it is deeper than {DEEPEST} levels")]
    if _depth(value) > DEEPEST:
        return [("$", f"it is deeper than {DEEPEST} levels")]
    try:
        return [
            (_line(error.json_path, 200), _line(error.message, 300))
            for error in islice(validator.iter_errors(value), ERRORS)
        ]
    except (ArithmeticError, RecursionError) as error:
        return [("$", f"it cannot be held against the schema: {type(error).__name__}")]


def _line(text: str, most: int) -> str:
    short = text[:most]
    return short if short.isprintable() else ascii(short)[1:-1]


def _nodes(value: object) -> Iterator[Any]:
    left = [value]
    while left:
        node = left.pop()
        yield node
        left += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            member
            for node in level
            if isinstance(node, dict | list)
            for member in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")
