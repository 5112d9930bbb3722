import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DeclarationError, MissingExtraError
from headrace.llm.evaluation.output_schema import OutputSchema, _validator

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[A-Z]"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "patternProperties": {"^x-": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "maxLength": 5}},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0])
    | st.sampled_from(["a", "b", "x-a", "Ab"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "x-a", "city", "tags"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def errors(answer, schema=SCHEMA, **options):
    return [(each.path, each.message) for each in OutputSchema(schema=schema, **options).check([answer]).findings]


def test_valid_answers_and_what_is_wrong_with_others():
    answers = [
        '{"city": "Paris", "tags": ["a", "b"], "x-n": 1}',
        '{"city": "paris", "tags": ["ok", "longer"]}',
        "Paris",
        None,
    ]
    report = OutputSchema(schema=SCHEMA).check(answers)

    assert (report.total, report.valid, report.share) == (4, 1, 0.25)
    assert report.values.tolist() == [1, 0, 0, 0]
    assert [(each.row, each.path) for each in report.findings] == [(1, "$.city"), (1, "$.tags[1]"), (2, "$"), (3, "$")]
    assert "is too long" in report.findings[1].message
    assert OutputSchema(schema=SCHEMA).check([]).share is None


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        {"uniqueItems": True, "items": {"type": ["integer", "array", "object", "null"]}},
        {
            "additionalProperties": {"type": "integer"},
            "properties": {"a": {}},
            "patternProperties": {"^x": {"type": "null"}},
        },
        {"anyOf": [{"pattern": "a"}, {"type": "array", "contains": {"const": 1}}], "not": {"enum": ["x-a"]}},
    ],
)
@settings(max_examples=200, deadline=None)
@given(JSON)
def test_it_says_what_jsonschema_says(schema, value):
    from jsonschema import Draft202012Validator

    assert (errors(json.dumps(value), schema) == []) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("", "it is no JSON"),
        ("```json\n{}\n```", "it is no JSON"),
        ('{"city": "A", "city": "B"}', "a name twice"),
        ("NaN", "NaN is no number of JSON"),
        ("[-Infinity]", "is no number of JSON"),
        ("9" * 5000, "it is no JSON"),
        ("[" * 150_000, "deeper than 64"),
        ("[" * 65 + "]" * 65, "deeper than 64"),
        ("x" * 1_000_000, "1,000,000 characters, more than 200,000"),
        ("\x00\x1b\u202e", "it is no JSON"),
        (5, "it is no text"),
        (float("nan"), "there is no answer"),
        ('{"city": "\\ud800"}', "does not match"),
        ('{"\\u001b[31m": 1, "city": "A"}', "other names"),
    ],
)
def test_hostile_answers_are_not_valid(answer, says):
    found = errors(answer)

    assert says in found[0][1]
    assert all(text.isprintable() and len(text) <= 300 for each in found for text in each)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(.*)*b$", "(x+x+)+y", "^([a-zA-Z]+)*$"])
def test_a_pattern_takes_a_time_linear_in_the_text(pattern):
    """Python's own engine would not end before the sun does."""
    assert "does not match" in errors(json.dumps("a" * 100_000 + "!"), {"pattern": pattern})[0][1]
    assert errors(json.dumps({"a" * 50_000 + "!": 1}), {"patternProperties": {pattern: False}}) == []


def test_many_equal_items_and_many_errors_are_bounded():
    many = json.dumps([1, {}, "x", None] * 10_000)

    assert errors(many, {"uniqueItems": True}) == [("$", "it has equal items")]
    assert len(errors(many, {"items": {"type": "boolean"}})) == 3
    assert len(OutputSchema(schema=SCHEMA).check(["x"] * 1000).findings) == 100
    assert errors("1e308", {"multipleOf": 1e-308}) != []


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "https://example.com/schema.json"}, "refers to something else"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "refers to something else"),
        ({"$dynamicRef": "other.json#x"}, "refers to something else"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "#none"}, "leads nowhere"),
        ({"$ref": "#"}, "in a circle"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "is of"),
        ({"properties": {"a": {"$id": "https://example.com/a"}}}, '"$id"'),
        ({"type": "text"}, "not possible at $.type"),
        ({"pattern": "(?=a)"}, "the pattern '(?=a)'"),
        ({"pattern": r"(a)\1"}, "the pattern"),
        ({"pattern": "("}, "the pattern"),
        ({"patternProperties": {"(?!a)": {}}}, "the pattern"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"const": float("nan")}, "no JSON"),
        ({"const": {1, 2}}, "no JSON"),
        ({"description": "x" * 100_001}, "more than 100,000"),
        ([], "no dictionary"),
        (None, "no dictionary"),
        (True, "no dictionary"),
    ],
)
def test_schemas_that_are_not_possible(schema, says):
    with pytest.raises(DeclarationError) as error:
        OutputSchema(schema=schema)

    assert says in str(error.value)


def test_a_schema_that_is_too_deep():
    schema = {}
    for _ in range(70):
        schema = {"items": schema}
    with pytest.raises(DeclarationError, match="deeper than 64"):
        OutputSchema(schema=schema)
    for _ in range(20_000):
        schema = {"items": schema}
    with pytest.raises(DeclarationError):
        OutputSchema(schema=schema)


def test_anchors_and_recursion_over_the_answer_are_possible():
    tree = {
        "$dynamicAnchor": "node",
        "type": "object",
        "properties": {"child": {"$ref": "#"}},
        "additionalProperties": False,
    }

    assert errors('{"child": {"child": {}}}', tree) == []
    assert errors('{"child": {"child": 5}}', tree)[0][0] == "$.child.child"


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    _validator.cache_clear()
    with pytest.raises(MissingExtraError, match=r"headrace\[llm\]"):
        OutputSchema(schema={"type": "string"})
