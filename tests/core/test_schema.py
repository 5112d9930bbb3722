import pytest

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.core.schema import TYPES, Schema


def test_a_schema_keeps_its_columns_in_order():
    schema = Schema(hour="int32", origin="string", at="timestamp_utc")
    assert list(schema) == ["hour", "origin", "at"]
    assert schema.columns["at"] == "timestamp_utc"


def test_the_order_and_the_types_tell_schemas_apart():
    assert Schema(a="int32", b="int64") == Schema(a="int32", b="int64")
    assert hash(Schema(a="int32")) == hash(Schema(a="int32"))
    assert Schema(a="int32", b="int64") != Schema(b="int64", a="int32")
    assert Schema(a="int32") != Schema(a="int64")
    assert Schema(a="int32") != {"a": "int32"}


def test_every_type_is_taken_and_shown_as_it_was_written():
    schema = Schema(**{f"c{n}": each for n, each in enumerate(TYPES)})
    assert eval(repr(schema), {"Schema": Schema}) == schema


def test_a_schema_without_columns_shows_one():
    with pytest.raises(DeclarationError, match="at least one column"):
        Schema()


@pytest.mark.parametrize(("wrong", "says"), [("int46", "'int64'"), ("str", "'string'"), (int, "there is|did you mean")])
def test_a_type_that_is_not_there_suggests_one(wrong, says):
    with pytest.raises(NotFoundError, match=says):
        Schema(a=wrong)
